"""The command `found`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from formula_env.arguments import Positional, parse
from formula_env.errors import check_at_least
from formula_env.experiment.config import load_config
from formula_env.experiment.found import read_found
from formula_env.experiment.found_table import FoundFormat, Order, found_table, in_order, latex_table


@dataclass(frozen=True)
class FoundOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    top: int = 50
    """Number of formulae."""
    order: Order = "log-prob"
    """Order: the most probable first, the shortest, or the oldest."""
    format: FoundFormat = "text"
    """Form of the output."""
    trust_checker: bool = False
    """Consent to running the checker of the run, where that is code."""


def run_found(arguments: list[str]) -> None:
    """List the correct new formulae that a run has found: formula-env found RUN --top 50 --format html"""
    options = parse(FoundOptions, "found", arguments)
    check_at_least(1, top=options.top)
    rows = in_order(read_found(options.folder), options.order)[: options.top]
    if options.format == "latex":
        task = load_config(options.folder, trust_checker=options.trust_checker).task
        sys.stdout.write(latex_table(task, rows))
    else:
        sys.stdout.write(found_table(rows, options.format))
    sys.stdout.flush()
