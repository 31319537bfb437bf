"""Lines of a command on stderr."""

import os
import sys

from formula_env.experiment.terminal import one_line


def say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes that fail alike, one says so
        print(f"formula-env: {one_line(line)}", file=sys.stderr)
