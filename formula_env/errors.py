"""The one exception a user is meant to read, and the checks that raise it most."""

from collections.abc import Sequence
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints


class FormulaError(ValueError):
    """Wrong input, said in one line: what is wrong, and what would be right.

    The command line prints it and exits with code 2; a library user catches it as a `ValueError`.
    """


def check_at_least(minimum: int, **values: float) -> None:
    """Raise FormulaError for the first value below the minimum, by its name."""
    for name, value in values.items():
        if not value >= minimum:
            raise FormulaError(f"{name} must be at least {minimum}, got {value}")


def check_above_zero(**values: float) -> None:
    """Raise FormulaError for the first value that is not above 0, by its name."""
    for name, value in values.items():
        if not value > 0:
            raise FormulaError(f"{name} must be above 0, got {value}")


def check_share(**values: float) -> None:
    """Raise FormulaError for the first value outside [0, 1], by its name."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise FormulaError(f"{name} must be from 0 to 1, got {value}")


def check_seed(seed: int) -> None:
    """Raise FormulaError for a seed that not every generator takes."""
    if not 0 <= seed < 2**32:
        raise FormulaError(f"seed must be from 0 to 2^32 - 1, got {seed}")


def check_choice(choices: Sequence[Any], **values: Any) -> None:
    """Raise FormulaError for the first value that is none of the choices, by its name."""
    for name, value in values.items():
        if value not in choices:
            raise FormulaError(f"unknown {name} {value!r}; there are: {', '.join(map(str, choices))}")


def check_types(options: Any) -> None:
    """Raise FormulaError for the first field of a dataclass whose value is not of the type it declares."""
    hints = get_type_hints(type(options))
    for field in fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        if not _is_a(value, hint):
            expected = getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
            raise FormulaError(f"{field.name} must be {expected}, got {value!r}")


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
    if origin is tuple:  # of one type and any length
        return isinstance(value, tuple) and all(_is_a(each, get_args(hint)[0]) for each in value)
    return isinstance(value, origin or hint)
