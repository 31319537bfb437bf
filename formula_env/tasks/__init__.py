"""Formula families. A new one is a file in this folder and a line in `TASKS`.

Another package adds its own through the entry-point group `formula_env.tasks` (name = "module:Class").
"""

from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from formula_env.errors import FormulaError
from formula_env.tasks.base import Task

TASKS = {
    "binary-sum": "formula_env.tasks.binary_sum:BinarySum",
    "signed-equation": "formula_env.tasks.signed_equation:SignedEquation",
}


def with_entry_points(table: dict[str, str], group: str) -> dict[str, str]:
    """The table with what installed packages add to it; a name of our own can't be replaced."""
    return {entry.name: entry.value for entry in entry_points(group=group)} | table


def load_class(table: dict[str, str], kind: str, name: str) -> Any:
    """The class behind a name; raises FormulaError naming what there is."""
    if name not in table:
        raise FormulaError(f"unknown {kind} {name!r}; there are: {', '.join(sorted(table))}")
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def all_tasks() -> dict[str, str]:
    """Every task that can be asked for by name, as name -> "module:Class"."""
    return with_entry_points(TASKS, "formula_env.tasks")


def task_class(name: str) -> type[Task]:
    """The class of the task of this name; raises FormulaError for an unknown one."""
    return load_class(all_tasks(), "task", name)


def make_task(name: str, **options: Any) -> Task:
    """The task of this name; raises FormulaError for an unknown name, option or value."""
    cls = task_class(name)
    known = list(signature(cls).parameters)
    for option in options:
        if option not in known:
            raise FormulaError(f"{name} has no option {option!r}; it has: {', '.join(known)}")
    return cls(**options)


__all__ = ["TASKS", "Task", "all_tasks", "make_task", "task_class"]
