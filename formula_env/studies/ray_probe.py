"""A process that connects to a Ray cluster and ends: `python -m formula_env.studies.ray_probe ADDRESS SECONDS`.

Where something else listens at the address, Ray waits for half a minute or more, prints lines of its own, heeds no
signal meanwhile, and may end the process. So a study lets a probe try it first. Its exit code is 0 if the cluster
answers; if not, it prints the reason in one line, or is killed by SIGALRM when the time is over.
"""

import logging
import signal
import sys


def main() -> int:
    address, seconds = sys.argv[1:]
    signal.alarm(int(seconds))  # ends the process whatever Ray does
    try:
        import ray

        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # whatever Ray raises: it becomes part of one line
        print(" ".join(str(error).split())[:300] or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
