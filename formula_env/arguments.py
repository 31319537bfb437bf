"""Arguments of the command line: the forms in which an option can be written, and the errors about wrong ones.

An option is read in each of these forms, so that any of them can be a parameter of a W&B sweep:

    --algo.learning-rate 0.001    --algo.learning-rate=0.001    --algo.learning_rate=0.001
    --track    --track True    --track=True    --keep-samples 10 20    --keep-samples=[10, 20]
    --algo={'learning_rate': 0.001}    algo.learning_rate=0.001 (of `train`)
"""

import ast
import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from formula_env.errors import FormulaError
from formula_env.suggestions import MAX_SUGGESTIONS, edit_distance

T = TypeVar("T")

Positional = tyro.conf.Positional
"""Mark of an argument without a name: `Annotated[Path, Positional]`."""

UNSET: Any = tyro.MISSING_NONPROP
"""Stands in a default for what has the defaults of its own type."""


def option(name: str | None = None, short: str | None = None) -> Any:
    """Mark of an option that the command line calls otherwise than its field, or that has a short name, too.

    A table of options whose name is empty has its options without a prefix.
    """
    return tyro.conf.arg(name=name, aliases=[short] if short else None)


def parse(
    cls: type[T], command: str, arguments: Sequence[str], default: Any = None, description: str | None = None
) -> T:
    """The options of a command, as an instance of their dataclass. Raises FormulaError for wrong ones.

    Help shows the description above the options.
    """
    arguments = _canonical(with_flat_tables(arguments), options_of(cls), command)
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(
                cls,
                prog=f"formula-env {command}",
                args=arguments,
                default=default,
                description=description,
                config=(tyro.conf.FlagConversionOff,),
                registry=_registry,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        message = _formula_error(stop) or _without_box(captured.getvalue())
        raise FormulaError(f"{message}; see formula-env {command} --help") from None


def _formula_error(error: BaseException | None) -> str | None:
    """The message of the check of settings that made tyro stop."""
    while error is not None and not isinstance(error, FormulaError):
        error = error.__context__
    return str(error) if error is not None else None


def _without_box(box: str) -> str:
    """The text of tyro's error box, without the box and the help that follows."""
    lines = [line.strip("│╭╰╮╯ ") for line in box.splitlines()]
    text = " ".join(line for line in lines[1:] if line and not re.fullmatch(r"[─ -]+", line))
    text = re.sub(r"^Error parsing (?:(--\S+)|\w+): ", lambda match: f"{match[1]}: " if match[1] else "", text)
    return re.split(r"For full helptext|Argument helptext:|Perhaps you meant:", text)[0].strip(" .─-")


def options_of(cls: Any, prefix: str = "") -> dict[str, Any]:
    """The options that tyro makes of a dataclass, as name without dashes -> type; positional ones are left out."""
    origin = get_origin(cls) or cls
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(cls), strict=False))
    hints = get_type_hints(origin, include_extras=True)
    options: dict[str, Any] = {}
    for field in fields(origin):
        hint, extras = hints[field.name], ()
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
        hint = given.get(hint, hint)
        if tyro.conf.Positional in extras or not field.init:
            continue
        names = [extra.name for extra in extras if getattr(extra, "name", None) is not None]
        name = prefix + next(iter(names), field.name).replace("_", "-")
        options |= options_of(hint, f"{name}." if name else "") if is_dataclass(hint) else {name: hint}
    return options


# --- forms ----------------------------------------------------------------------------------------------------

SHORT = {"-n": "num"}
"""Options with a short name."""

SYNONYMS = {"task.name": "task"}
"""Names that settings have in `config.yaml`, where the command line has others."""


def with_flat_tables(arguments: Sequence[str]) -> list[str]:
    """The arguments with each table of settings, `--algo={'rounds': 3}`, written as options, `--algo.rounds=3`."""
    flat: list[str] = []
    i = 0
    while i < len(arguments):
        name, _, value = arguments[i].partition("=")
        i += 1
        follows = not value and name.startswith("--") and i < len(arguments)
        table = _table(arguments[i] if follows else value)
        if table is None:
            flat.append(arguments[i - 1])
        else:
            flat += [f"--{name.removeprefix('--')}.{key}={entry}" for key, entry in _entries(table)]
            i += follows
    return flat


def _table(text: str) -> dict[Any, Any] | None:
    if not (text.startswith("{") and text.endswith("}")):
        return None
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(text)
        return value if isinstance(value, dict) else None


def _entries(table: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The settings of a table as (name, value); those of a table within it as NAME.SETTING."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", entry) for name, entry in _entries(value))
        else:
            yield str(key), value


def value_of(option: str, arguments: Sequence[str], known: Mapping[str, Any]) -> str | None:
    """Value of an option of text, before all options are known; the last one counts.

    `known` are the options that any task and algorithm has, as in `options_of`. Behind one of text stands its
    value, even if that looks like an option without dashes: `--out task=x` is a folder.
    """
    found = None
    rest = list(arguments)
    while rest:
        name, is_joined, value = rest.pop(0).partition("=")
        plain = _plain_name(name)
        if is_joined:
            values = [value]
        else:
            values = _following(rest, known.get(plain, bool)) if name.startswith("--") else []
        if plain == option and values:
            found = values[0]
    return found


def _plain_name(name: str) -> str:
    """An option's name as in `options_of`."""
    plain = SHORT.get(name) or name.removeprefix("--").replace("_", "-")
    return SYNONYMS.get(plain, plain)


def _canonical(arguments: Sequence[str], options: Mapping[str, Any], command: str) -> list[str]:
    """The arguments in the one form that tyro is given: `--name=value`, or `--name value value` of a list.

    Raises FormulaError for an unknown option, and for one that lacks its value.
    """
    canonical: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, is_joined, value = argument.partition("=")
        plain = _plain_name(name)
        has_no_dashes = command.split()[0] == "train" and bool(is_joined and canonical) and plain in options
        is_option = name.startswith("--") or name in SHORT or has_no_dashes
        if argument in ("-h", "--help") or not is_option:
            canonical.append(argument)
            continue
        if plain not in options:
            raise FormulaError(f"unknown option {name}; {_suggestion(plain, options, command)}")
        values = [value] if is_joined else _following(rest, options[plain])
        if not values and get_origin(options[plain]) is not tuple:
            raise FormulaError(f"--{plain} needs a value; see formula-env {command} --help")
        canonical += _written(plain, options[plain], values)
    return canonical


def _following(rest: list[str], hint: Any) -> list[str]:
    """Take an option's values from the arguments behind it; a truth value without one is True."""
    if hint is bool or "True" in get_args(hint):
        known = {*TRUTH, *(choice.lower() for choice in get_args(hint))}
        return [rest.pop(0)] if rest and rest[0].lower() in known else ["True"]
    values: list[str] = []
    while rest and not rest[0].startswith("--") and (get_origin(hint) is tuple or not values):
        values.append(rest.pop(0))
    return values


def _written(name: str, hint: Any, values: Sequence[str]) -> list[str]:
    if get_origin(hint) is tuple:
        listed = re.fullmatch(r"[\[(](.*)[\])]", values[0]) if len(values) == 1 else None
        items = [item.strip() for item in listed[1].split(",")] if listed else values
        return [f"--{name}", *(_whole(item) for item in items if item)]
    value = _whole(values[0]) if hint in (int, int | None) else values[0]
    if "True" in get_args(hint):
        value = next((choice for choice in get_args(hint) if choice.lower() == value.lower()), value)
    if hint in READERS:
        try:
            READERS[hint](value)
        except ValueError as error:
            raise FormulaError(f"--{name}: {error}") from None
    return [f"--{name}={value}"]


def _whole(text: str) -> str:
    """Whole numbers as some of W&B's distributions write them: 64.0."""
    return re.sub(r"\.0+$", "", text) if re.fullmatch(r"[+-]?[0-9]+\.0+", text) else text


# --- values ---------------------------------------------------------------------------------------------------

TRUTH = {"true": True, "false": False}

_registry = tyro.constructors.ConstructorRegistry()


@_registry.primitive_rule
def _numbers_and_truth_values(info: Any) -> Any:
    """How tyro reads bool, int and float: as Python writes them, in ASCII."""
    if info.type not in READERS:
        return None
    read = READERS[info.type]
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="True|False" if info.type is bool else info.type.__name__.upper(),
        instance_from_str=lambda texts: read(texts[0]),
        is_instance=lambda value: type(value) is info.type,
        str_from_instance=lambda value: [str(value)],
    )


def _truth(text: str) -> bool:
    if text.lower() not in TRUTH:
        raise ValueError(f"{text!r} is neither True nor False")
    return TRUTH[text.lower()]


def _int(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9][0-9_]{0,100}", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _float(text: str) -> float:
    if not text.isascii():
        raise ValueError(f"{text!r} is not a number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


READERS: dict[Any, Callable[[str], Any]] = {bool: _truth, int: _int, float: _float}


# --- suggestions ----------------------------------------------------------------------------------------------


def _suggestion(wrong: str, options: Mapping[str, Any], command: str) -> str:
    names = nearest(wrong, options)
    if not names:
        return f"see formula-env {command} --help"
    return f"perhaps you meant {' or '.join(f'--{name}' for name in names)}"


def nearest(wrong: str, options: Mapping[str, Any]) -> list[str]:
    """The options that a misspelt name may stand for: those it takes the fewest changes to reach, if few."""
    if members := _members(wrong, options):
        return members[:MAX_SUGGESTIONS]
    group, _, last = wrong.rpartition(".")
    negated = f"{group}.{last.removeprefix('no-')}".removeprefix(".")
    if last.startswith("no-") and options.get(negated) is bool:
        return [f"{negated} False"]
    if not wrong:
        return []
    distances = {name: _changes(wrong, name) for name in options}
    least = min(distances.values(), default=0)
    if least > max(2, len(last) // 3):
        return []
    return [name for name, distance in distances.items() if distance == least][:MAX_SUGGESTIONS]


def _members(table: str, options: Mapping[str, Any]) -> list[str]:
    """The options of a table of this name, which perhaps was an option once; its group may be left out."""
    return [name for name in options if table and f".{name.rpartition('.')[0]}".endswith(f".{table}")]


def _changes(wrong: str, name: str) -> int:
    """How far a name is from an option: edits, where a group left out costs nothing, and words left out one.

    So do tables within a group: `learning-rate` may be that of the discriminator, or any other one.
    """
    group, _, last = wrong.rpartition(".")
    true_group, _, true_last = name.rpartition(".")
    is_group = bool(group) and f".{true_group}".endswith(f".{group}")
    is_table = "." in true_group
    other_group = 0 if is_group or not group else 1
    part = 1 if f"-{last}-" in f"-{true_last}-" else edit_distance(last, true_last)
    distance = 0 if last == true_last and (is_group or not is_table) else part
    return min(edit_distance(wrong, name), distance + other_group)
