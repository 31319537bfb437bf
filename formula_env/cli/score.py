"""The command `score`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic

from formula_env.arguments import Positional, option, options_of, parse, value_of, with_flat_tables
from formula_env.errors import FormulaError
from formula_env.experiment.config import TaskT
from formula_env.experiment.score_report import print_score
from formula_env.experiment.terminal import SafeConsole
from formula_env.reading import read_lines
from formula_env.scoring import score
from formula_env.tasks import SequenceTask, symbol_tasks, task_class


@dataclass(frozen=True)
class ScoreOptions(Generic[TaskT]):
    file: Annotated[Path, Positional]
    """File of formulae, UTF-8, one a line."""
    task: TaskT
    task_name: Annotated[str, option(name="task")]
    """Family of formulae, which `formula-env list tasks` names, or module:Class of your own."""
    training: Path | None = None
    """File of the formulae that novel ones are compared with. Default: those that the task brings, if any."""
    column: str = ""
    """Column of a CSV table that holds the formulae."""
    training_column: str = ""
    """Column of a CSV table that holds the formulae of the training file."""
    json: bool = False
    """Output of the score as JSON."""


def run_score(arguments: list[str]) -> None:
    """Score formulae of any origin: formula-env score FILE --task equation"""
    arguments, known = with_flat_tables(arguments), options_of(ScoreOptions) | {"task": str}
    is_help = not {"-h", "--help"}.isdisjoint(arguments)
    name = value_of("task", arguments, known) or ("binary-sum" if is_help else None)
    if name is None or not issubclass(task_cls := task_class(name), SequenceTask):
        raise FormulaError(f"score needs a task of symbols, --task NAME: {', '.join(sorted(symbol_tasks()))}")
    options = parse(ScoreOptions[task_cls], "score", arguments)
    formulae = read_lines(options.file, options.column).texts
    training = None if options.training is None else read_lines(options.training, options.training_column).texts
    with SafeConsole(stderr=True).status(f"scoring {len(formulae):,} formulae"):
        result = score(formulae, options.task, training)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_score(result)
