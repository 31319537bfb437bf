"""`formula-env` and `python -m formula_env`."""

import sys


def main() -> int:
    """The command line; returns its exit code. An interrupt while it is still loading is no traceback either."""
    try:
        from formula_env.distributed import leave
        from formula_env.experiment.cli import main as run

        code = run()
        leave(code)
        return code
    except KeyboardInterrupt:
        print("formula-env: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
