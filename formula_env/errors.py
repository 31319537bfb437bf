"""The one exception a user is meant to read, and the checks that raise it most."""

from collections.abc import Sequence
from typing import Any


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


def check_choice(choices: Sequence[Any], **values: Any) -> None:
    """Raise FormulaError for the first value that is none of the choices, by its name."""
    for name, value in values.items():
        if value not in choices:
            raise FormulaError(f"unknown {name} {value!r}; there are: {', '.join(map(str, choices))}")
