"""The command `list`."""

import json
import shutil
import textwrap
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal

from formula_env.arguments import Positional, parse
from formula_env.experiment.registry import algorithm_class, all_algorithms
from formula_env.experiment.terminal import printable
from formula_env.tasks import all_tasks, task_class
from formula_env.tasks.facts import TaskFacts, about, fact_lines, task_facts


@dataclass(frozen=True)
class ListOptions:
    what: Annotated[Literal["tasks", "algorithms"], Positional]
    """Kind of thing to list."""
    json: bool = False
    """Output as JSON."""


@dataclass(frozen=True)
class _Entry:
    """A task or an algorithm, as `formula-env list` shows it."""

    name: str
    about: str
    options: dict[str, Any]
    """Options with their defaults."""
    presets: dict[str, Any]
    facts: TaskFacts | None

    def document(self) -> dict[str, Any]:
        """A task or an algorithm as one table for JSON."""
        document = asdict(self)
        return document | (document.pop("facts") or {})

    def text(self, width: int) -> str:
        """The name, and indented under it what it is, its options with their defaults, and its presets."""
        facts = [] if self.facts is None else [f"{name}: {text}" for name, text in fact_lines(self.facts)]
        prefix = "--algo." if self.facts is None else "--task."
        defaults = [f"{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        presets = " ".join(f"--preset={name}" for name in self.presets)
        paragraphs = [self.about, *facts, " ".join([f"{prefix}NAME:", *defaults]), presets]
        lines = [
            line
            for paragraph in paragraphs
            for line in textwrap.wrap(
                printable(paragraph), max(width, 20), initial_indent="  ", subsequent_indent="  ",
                break_on_hyphens=False, break_long_words=False,
            )
        ]  # fmt: skip
        return "\n".join([printable(self.name), *lines])


def run_list(arguments: list[str]) -> None:
    """Name the tasks, with grammar and examples, or the algorithms; and their options."""
    options = parse(ListOptions, "list", arguments)
    if options.what == "tasks":
        entries = [_entry(name, task_class(name), is_task=True) for name in sorted(all_tasks())]
    else:
        entries = [_entry(name, algorithm_class(name), is_task=False) for name in sorted(all_algorithms())]
    if options.json:
        print(json.dumps([entry.document() for entry in entries], default=str))
        return
    width = shutil.get_terminal_size().columns
    print("\n\n".join(entry.text(width) for entry in entries))


def _entry(name: str, cls: Any, is_task: bool) -> _Entry:
    facts = task_facts(cls) if is_task else None
    return _Entry(name, about(cls), _defaults(getattr(cls, "Config", cls)), getattr(cls, "presets", {}), facts)


def _defaults(cls: Any) -> dict[str, Any]:
    """Each option of a dataclass and its default; those of a table within it as TABLE.OPTION."""
    defaults: dict[str, Any] = {}
    for field in fields(cls):
        default = _default(field)
        table = asdict(default) if is_dataclass(default) and not isinstance(default, type) else None
        defaults |= {field.name: default} if table is None else {f"{field.name}.{k}": v for k, v in table.items()}
    return defaults


def _default(field: Field[Any]) -> Any:
    """An option's default; None where another package's task or algorithm has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default
