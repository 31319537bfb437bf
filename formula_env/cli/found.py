"""The command `found`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from formula_env.arguments import Positional, parse
from formula_env.cli.proofs import first_proved
from formula_env.errors import FormulaError, check_at_least
from formula_env.experiment.config import load_config
from formula_env.experiment.found import FoundFormula, read_found
from formula_env.experiment.found_table import FoundFormat, Order, found_table, in_order, latex_table
from formula_env.tasks import BaseTask, SequenceTask


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
    proved: bool = False
    """Restriction to formulae that are proved: by SymPy for calculus, by the checker where it is exact."""
    trust_checker: bool = False
    """Consent to running the checker of the run, or its task, where that is code."""


def run_found(arguments: list[str]) -> None:
    """List the correct new formulae that a run has found: formula-env found RUN --top 50 --format html"""
    options = parse(FoundOptions, "found", arguments)
    check_at_least(1, top=options.top)
    rows = in_order(read_found(options.folder), options.order)
    if options.proved:
        rows = _proved(rows, _task(options), options.top)
    rows = rows[: options.top]
    if options.format == "latex":
        sys.stdout.write(latex_table(_task(options), rows))
    else:
        sys.stdout.write(found_table(rows, options.format))
    sys.stdout.flush()


def _task(options: FoundOptions) -> BaseTask:
    return load_config(options.folder, trust_checker=options.trust_checker).task


def _proved(rows: list[FoundFormula], task: BaseTask, number: int) -> list[FoundFormula]:
    """The first rows whose formulae are proved, at most this number."""
    if not isinstance(task, SequenceTask):
        raise FormulaError("vectors have no proofs; leave out --proved")
    tokens = task.encode([row.formula for row in rows])
    return [rows[i] for i in first_proved(task, tokens, number).tolist()]
