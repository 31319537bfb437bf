"""`formula-env` and `python -m formula_env`."""

import os
import sys


def main() -> int:
    """The command line; returns its exit code. An interrupt while it is still loading is no traceback either."""
    _open_standard_streams()
    os.environ["MPLBACKEND"] = "agg"  # one that a notebook names may not be installed here
    try:
        from formula_env.allocator import keep_freed_memory
        from formula_env.cli import main as run
        from formula_env.distributed import leave

        keep_freed_memory()
        code = run()
        _drop_unread_output()
        leave(code)
        return code
    except KeyboardInterrupt:
        print("formula-env: interrupted", file=sys.stderr)
        return 130


def _open_standard_streams() -> None:
    """Connect a standard stream that was closed to nothing, or the next file opened would take its place."""
    for stream in (0, 1, 2):
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _drop_unread_output() -> None:
    """Drop what the reader, such as `head`, has left unread: Python would report it when it ends."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


if __name__ == "__main__":
    sys.exit(main())
