"""The command `list`."""

import json
import shutil
import textwrap
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from inspect import getdoc
from typing import Annotated, Any, Literal

from formula_env.arguments import Positional, parse
from formula_env.experiment.registry import algorithm_class, all_algorithms
from formula_env.experiment.terminal import printable
from formula_env.tasks import all_tasks, task_class


@dataclass(frozen=True)
class ListOptions:
    what: Annotated[Literal["tasks", "algorithms"], Positional]
    """Kind of thing to list."""
    json: bool = False
    """Output as JSON."""


def run_list(arguments: list[str]) -> None:
    """Name the tasks or the algorithms, with their options."""
    options = parse(ListOptions, "list", arguments)
    is_tasks = options.what == "tasks"
    entries = []
    for name in sorted(all_tasks() if is_tasks else all_algorithms()):
        cls: Any = task_class(name) if is_tasks else algorithm_class(name)
        about = " ".join((getdoc(cls) or "").partition("\n\n")[0].split())
        defaults = _defaults(getattr(cls, "Config", cls))
        presets = getattr(cls, "presets", {})
        entries.append({"name": name, "about": about, "options": defaults, "presets": presets})
    if options.json:
        print(json.dumps(entries, default=str))
        return
    width = shutil.get_terminal_size().columns
    print("\n\n".join(_listed(entry, "--task." if is_tasks else "--algo.", width) for entry in entries))


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


def _listed(entry: dict[str, Any], prefix: str, width: int) -> str:
    """The name, and indented under it what it is, its options with their defaults, and its presets."""
    defaults = [f"{name.replace('_', '-')}={value}" for name, value in entry["options"].items()]
    presets = [f"--preset={name}" for name in entry["presets"]]
    paragraphs = [entry["about"], " ".join([f"{prefix}NAME:", *defaults]), " ".join(presets)]
    lines = [
        line
        for paragraph in paragraphs
        for line in textwrap.wrap(
            printable(paragraph), max(width, 20), initial_indent="  ", subsequent_indent="  ",
            break_on_hyphens=False, break_long_words=False,
        )
    ]  # fmt: skip
    return "\n".join([printable(entry["name"]), *lines])
