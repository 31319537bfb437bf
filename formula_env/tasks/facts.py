"""What is listed of each task: its grammar, lengths, number of correct formulae, examples, and what is hard."""

from dataclasses import dataclass
from inspect import getdoc
from typing import Any

import numpy as np

from formula_env.errors import FormulaError
from formula_env.tasks import CONTINUOUS_TASKS, TASKS, task_class
from formula_env.tasks.base import BaseTask, ContinuousTask, SequenceTask

NUM_EXAMPLES = 5
"""Different examples of a task that are shown at most."""

DRAWS = 20
"""Formulae that these are chosen from."""


@dataclass(frozen=True)
class TaskFacts:
    """Facts about a task with its default options."""

    grammar: str
    """Grammar of the formulae; empty where the task does not state it."""
    lengths: str
    """Lengths of the formulae; empty where they depend on an option without a default, such as a file."""
    count: int | None
    """Number of correct formulae; None where it is not counted."""
    examples: list[str]
    """Different formulae drawn with seed 0, at most `NUM_EXAMPLES`; empty where the lengths are."""
    difficulty: str
    """What is hard to learn about the task; empty where the task does not state it."""


def about(cls: type[Any]) -> str:
    """The first paragraph of a class's docstring, in one line; empty without docstrings (python -OO)."""
    return " ".join((getdoc(cls) or "").partition("\n\n")[0].split())


def task_facts(cls: type[BaseTask]) -> TaskFacts:
    """The facts about a task with its default options."""
    try:
        task = cls()
    except (FormulaError, TypeError):  # an option without a default; of another package's task perhaps no default
        return TaskFacts(cls.grammar, "", None, [], cls.difficulty)
    count = task.count() if isinstance(task, SequenceTask) else None
    drawn = task.decode(task.sample(DRAWS, np.random.default_rng(0)))
    examples = list(dict.fromkeys(drawn))[:NUM_EXAMPLES]
    return TaskFacts(task.grammar, _lengths(task), count, examples, task.difficulty)


def _lengths(task: BaseTask) -> str:
    if isinstance(task, ContinuousTask):
        return f"{task.size} numbers"
    assert isinstance(task, SequenceTask)
    if task.vocabulary.variable_length:
        return f"up to {task.max_length - 1} symbols"
    return f"{task.max_length} symbols"


def fact_lines(facts: TaskFacts) -> list[tuple[str, str]]:
    """The facts that are there, as names and text."""
    count = "not counted" if facts.count is None else f"{facts.count:,}"
    lines = [
        ("grammar", facts.grammar),
        ("lengths", facts.lengths),
        ("correct formulae", count if facts.lengths else ""),
        ("examples", ", ".join(facts.examples)),
        ("hard", facts.difficulty),
    ]
    return [(name, text) for name, text in lines if text]


def tasks_markdown() -> str:
    """A section of Markdown for each task of this package, for `docs/tasks.md`."""
    return "\n\n".join(_section(name) for name in sorted(TASKS | CONTINUOUS_TASKS))


def _section(name: str) -> str:
    cls = task_class(name)
    facts = task_facts(cls)
    shown = dict(fact_lines(facts))
    if facts.grammar:
        shown["grammar"] = f"`{facts.grammar}`"
    if facts.examples:
        shown["examples"] = ", ".join(f"`{example}`" for example in facts.examples)
    return "\n".join([f"## {name}", "", about(cls), "", *(f"- {fact}: {text}" for fact, text in shown.items())])
