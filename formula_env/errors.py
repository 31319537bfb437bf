"""`FormulaError` and the argument checks that raise it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from formula_env.suggestions import unknown


class FormulaError(ValueError):
    """Wrong input; the message is one line that states what is wrong and what would be right.

    The command line prints it and exits with code 2; a library user catches it as a `ValueError`.
    """


class UnexpectedArgument(FormulaError, TypeError):
    """An option that does not exist: a `TypeError`, as for any function, so that callers can probe for options."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


def reason(error: OSError) -> str:
    """The operating system's message of an error, in one line."""
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def unexpected_argument(function: str, name: str, known: Iterable[str]) -> UnexpectedArgument:
    """The error with Python's own wording, which other libraries look for, and the known names."""
    return UnexpectedArgument(
        f"{function} got an unexpected keyword argument {name!r}; there are: {', '.join(known)}"
    )


def whole_number(minimum: int, **value: Any) -> int:
    """The one named value as an int. Raises FormulaError if it is not a whole number of at least `minimum`."""
    ((name, number),) = value.items()
    if isinstance(number, bool | np.bool_) or not isinstance(number, int | np.integer):
        raise FormulaError(f"{name} must be a whole number of at least {minimum}, got {number!r}")
    number = int(number)
    check_at_least(minimum, **{name: number})
    _check_magnitude(name, number)
    return number


LARGEST_INT, LARGEST_FLOAT, SMALLEST_FLOAT = 2**32 - 1, 1e38, 1e-30
"""Bounds of every setting: whole numbers that all generators take as seeds, and what single precision can hold."""

MAX_WIDTH = 4_096
"""Units of a layer at most: networks for formulae need a few hundred, and memory grows with the square."""

MAX_BATCH = 100_000
"""Formulae that are handled at once at most, in a batch or side by side."""

MAX_REPEATS = 10_000
"""Rollouts of a prefix, steps of an episode or updates of a round at most: memory grows with them."""


def check_at_least(minimum: int, **values: float) -> None:
    """Raise FormulaError for the first value below the minimum, by its name."""
    for name, value in values.items():
        if not value >= minimum:
            raise FormulaError(f"{name} must be at least {minimum}, got {value}")


def check_range(minimum: int, maximum: int, **values: float) -> None:
    """Raise FormulaError for the first value that is not from minimum to maximum, by its name."""
    check_at_least(minimum, **values)
    for name, value in values.items():
        if not value <= maximum:
            raise FormulaError(f"{name} must be at most {maximum:,}, got {value}")


def check_positive(**values: float) -> None:
    """Raise FormulaError for the first value that is not above 0, by its name.

    Numbers that would be 0 in single precision, or whose inverse would be infinite, are not.
    """
    for name, value in values.items():
        if not value >= SMALLEST_FLOAT:
            raise FormulaError(f"{name} must be above 0, got {value}")


def check_fraction(**values: float) -> None:
    """Raise FormulaError for the first value outside [0, 1], by its name."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise FormulaError(f"{name} must be from 0 to 1, got {value}")


def check_seed(seed: int) -> None:
    """Raise FormulaError for a seed that not every generator takes."""
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise FormulaError(f"seed must be from 0 to 2^32 - 1, got {seed}")


def check_printable(**texts: str) -> None:
    """Raise FormulaError for the first text with control characters, or with bytes that are not UTF-8."""
    for name, text in texts.items():
        if not text.isprintable():
            raise FormulaError(f"{name} must be printable text, got {text!r}")


def check_pair(**pairs: Sequence[Any]) -> None:
    """Raise FormulaError for the first of these that is neither empty nor two finite numbers."""
    for name, pair in pairs.items():
        numbers = all(type(end) in (int, float) and abs(end) <= LARGEST_FLOAT for end in pair)
        if pair and (len(pair) != 2 or not numbers):
            raise FormulaError(f"{name} must be two numbers, got {pair}")


def check_file_name(**names: str) -> None:
    """Raise FormulaError for the first name that would not be that of a file or folder where it is put."""
    check_printable(**names)
    for kind, name in names.items():
        if not name or name.startswith(".") or "/" in name or len(name.encode()) > 200:
            raise FormulaError(f"the name of a {kind} must be a plain file name, got {name!r}")


def check_choice(choices: Sequence[Any], **values: Any) -> None:
    """Raise FormulaError for the first value that is none of the choices, by its name."""
    for name, value in values.items():
        if value not in choices:
            raise FormulaError(unknown(name, value, choices))


def check_keys(what: str, value: Any, keys: Iterable[str]) -> None:
    """Raise FormulaError if the value is no dictionary, or lacks one of the keys."""
    if not isinstance(value, Mapping):
        raise FormulaError(f"{what} must be a dictionary, got {type(value).__name__}")
    if missing := [key for key in keys if key not in value]:
        raise FormulaError(f"{what} lacks {', '.join(map(repr, missing))}")


def check_no_effect(options: Any, reason: str, *names: str) -> None:
    """Raise FormulaError for the first of these fields of a dataclass that is not at its default.

    For settings that another one, the reason, makes dead; those at their default have merely been left alone. Of a
    field that is a dataclass itself, the setting that differs is named.
    """
    defaults = {field.name: field.default for field in fields(options)}
    for name in names:
        if difference := _first_difference(name, getattr(options, name), defaults[name]):
            setting, default = difference
            raise FormulaError(f"{setting} has no effect with {reason}; leave it at its default, {default}")


def _first_difference(name: str, value: Any, default: Any) -> tuple[str, Any] | None:
    """The innermost setting that is not at its default, and that default; None if all are."""
    if value == default:
        return None
    if is_dataclass(default) and type(value) is type(default):
        for field in fields(default):
            inner = (getattr(each, field.name) for each in (value, default))
            if difference := _first_difference(f"{name}.{field.name}", *inner):
                return difference
    return name, default


def check_methods(value: Any, protocol: type, what: str) -> None:
    """Raise FormulaError if the value lacks a method of the protocol, or is a class of such objects."""
    if isinstance(value, type):
        raise FormulaError(f"give an object as {what}, not the class {value.__name__}")
    wanted = [name for name, member in vars(protocol).items() if callable(member) and not name.startswith("_")]
    missing = [name for name in wanted if not callable(getattr(value, name, None))]
    if missing:
        kind = type(value).__name__
        raise FormulaError(f"a {what} has the methods {', '.join(wanted)}; {kind} lacks {', '.join(missing)}")


def check_types(options: Any) -> None:
    """Raise FormulaError for the first field of a dataclass whose value is not of the type it declares.

    A NumPy scalar becomes the Python value that it stands for. Numbers must be finite, and not so large that torch
    or NumPy can't hold them.
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(options, field.name, value)  # frozen
        check_type(field.name, value, hint)
        for number in value if isinstance(value, tuple) else (value,):
            _check_magnitude(field.name, number)


def check_type(name: str, value: Any, hint: Any) -> None:
    """Raise FormulaError for a value, of this name, that is not of a type."""
    if not _is_a(value, hint):
        is_class = isinstance(hint, type) and not get_args(hint)
        expected = hint.__name__ if is_class else str(hint).replace("typing.", "")
        raise FormulaError(f"{name} must be {expected}, got {value!r}")


def _check_magnitude(name: str, value: Any) -> None:
    if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
        raise FormulaError(f"{name} must be a number up to {LARGEST_FLOAT:g}, got {value}")
    if isinstance(value, int) and not abs(value) <= LARGEST_INT:
        raise FormulaError(f"{name} must be a whole number up to {LARGEST_INT:,}, got a larger one")


def _is_a(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        return _is_a(value, get_args(hint)[0])
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_is_a(value, each) for each in get_args(hint))
    if isinstance(hint, TypeVar) or hint is Any:
        return True
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if origin in (tuple, list):  # of one type and any length
        return isinstance(value, origin) and all(_is_a(each, get_args(hint)[0]) for each in value)
    return isinstance(value, origin or hint)
