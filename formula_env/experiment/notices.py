"""Lines for the user beside a command's output."""

import sys

from formula_env import distributed
from formula_env.experiment.terminal import one_line


def notice(line: str) -> None:
    """Print a line on stderr; of several processes only the first does."""
    if distributed.is_first():
        print(f"formula-env: {one_line(line)}", file=sys.stderr)
