"""Formula families. A new one is a file in this folder and a line in `TASKS` or `CONTINUOUS_TASKS`.

Another package adds its own through the entry-point group `formula_env.tasks` (name = "module:Class").
"""

from importlib import import_module
from inspect import signature
from typing import Any

from formula_env.errors import FormulaError, unexpected_argument
from formula_env.plugins import with_entry_points
from formula_env.suggestions import unknown
from formula_env.tasks.base import BaseTask, ContinuousTask, SequenceTask

TASKS = {
    "binary-sum": "formula_env.tasks.binary_sum:BinarySum",
    "boolean": "formula_env.tasks.boolean:Boolean",
    "calculus": "formula_env.tasks.calculus:Calculus",
    "equation": "formula_env.tasks.equation:Equation",
    "formula-file": "formula_env.tasks.formula_file:FormulaFile",
    "signed-equation": "formula_env.tasks.signed_equation:SignedEquation",
}
"""Tasks of symbols; each is also a Gymnasium environment."""

CONTINUOUS_TASKS = {
    "integer-sum": "formula_env.tasks.integer_sum:IntegerSum",
}
"""Tasks of numbers; only a generator that is trained through the discriminator's gradient can write them."""


def load_class(table: dict[str, str], kind: str, name: str) -> Any:
    """The class behind a name; raises FormulaError naming what there is."""
    if name not in table:
        raise FormulaError(unknown(kind, name, sorted(table)))
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def symbol_tasks() -> dict[str, str]:
    """Every task of symbols that can be asked for by name, as name -> "module:Class"."""
    return with_entry_points(TASKS, "formula_env.tasks")


def all_tasks() -> dict[str, str]:
    """Every task that can be asked for by name, as name -> "module:Class"."""
    return symbol_tasks() | CONTINUOUS_TASKS


def task_class(name: str) -> type[BaseTask]:
    """The class of the task of this name; raises FormulaError for an unknown one."""
    return load_class(all_tasks(), "task", name)


def make_any_task(name: str, **options: Any) -> BaseTask:
    """The task of this name; raises FormulaError for an unknown name, option or value."""
    cls = task_class(name)
    known = list(signature(cls).parameters)
    for option in options:
        if option not in known:
            raise unexpected_argument(name, option, known)
    return cls(**options)


def make_task(name: str, **options: Any) -> SequenceTask:
    """The task of symbols of this name; raises FormulaError for an unknown name, option or value."""
    task = make_any_task(name, **options)
    if not isinstance(task, SequenceTask):
        known = ", ".join(sorted(symbol_tasks()))
        raise FormulaError(f"{name} is made of numbers, not of symbols; there are: {known}")
    return task


__all__ = [
    "CONTINUOUS_TASKS",
    "TASKS",
    "BaseTask",
    "ContinuousTask",
    "SequenceTask",
    "all_tasks",
    "make_any_task",
    "make_task",
    "symbol_tasks",
    "task_class",
]
