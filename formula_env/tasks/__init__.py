"""Formula families. A new one is a file in this folder and a line in `TASKS` or `CONTINUOUS_TASKS`.

Another package adds its own through the entry-point group `formula_env.tasks` (name = "module:Class"). A task that
is not packaged is asked for as "module:Class" or "path.py:Class", which is somebody's code: see `is_code`.
"""

import os
import sys
from dataclasses import is_dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from types import ModuleType
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


def is_code(name: str) -> bool:
    """Whether a task of this name is code that no package has announced: `module:Class` or `path.py:Class`."""
    return ":" in name


def task_class(name: str) -> type[BaseTask]:
    """The class of the task of this name; raises FormulaError for an unknown one."""
    return _class_in_code(name) if is_code(name) else load_class(all_tasks(), "task", name)


def _class_in_code(spec: str) -> type[BaseTask]:
    """The class that `module:Class` or `path.py:Class` is; a module may be in the working directory."""
    source, _, attribute = spec.rpartition(":")
    if source.partition(".")[0] == "formula_env":
        raise FormulaError(
            f"task {spec} is one of formula-env's own; ask for it by its name: {', '.join(all_tasks())}"
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = _module_of_file(source) if source.endswith(".py") else import_module(source)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormulaError(f"task {spec}: {source} can't be imported: {reason}") from None
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and issubclass(cls, BaseTask) and is_dataclass(cls)):
        raise FormulaError(
            f"task {spec}: {source} has no class {attribute!r} that is a task: a dataclass, and a SequenceTask"
        )
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise FormulaError(f"task {spec}: the class {attribute} must define {', '.join(missing)}")
    if "name" in signature(cls).parameters:
        raise FormulaError(f"task {spec}: an option can't be called name, which is the task's; call it otherwise")
    return cls


def _module_of_file(path: str) -> ModuleType:
    """The module of a file, imported once."""
    name = f"formula_env_task_{os.path.realpath(path)}"
    if name not in sys.modules:
        found = spec_from_file_location(name, path)
        if found is None or found.loader is None or not os.path.isfile(path):
            raise FormulaError(f"there is no file {path}")
        sys.modules[name] = module = module_from_spec(found)
        try:
            found.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


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
    "is_code",
    "make_any_task",
    "make_task",
    "symbol_tasks",
    "task_class",
]
