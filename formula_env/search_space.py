"""Search spaces: the hyper-parameters of an algorithm that `formula-env tune` varies, and their values.

A config names its own in a method, so that the space fits the settings it is for:

    def search_space(self) -> SearchSpace:
        return {"learning_rate": LogRange(3e-4, 1e-2), "batch_size": Choice(64, 128, 256)}

Settings of a table within the config are written with a dot: `discriminator.learning_rate`. A second method,
`decoding_space`, may name one that acts only when a trained generator writes, a cut of improbable symbols: all its
values are tried on what each trial has trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formula_env.errors import FormulaError


@dataclass(frozen=True)
class LogRange:
    """All numbers between two positive ones, uniform in their logarithm."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}, log scale"


@dataclass(frozen=True, init=False)
class Choice:
    """Some values."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


SearchSpace = Mapping[str, LogRange | Choice]
"""Names of settings to the values that they may have."""


def search_space(algorithm: str, config: Any) -> SearchSpace:
    """The search space of an algorithm with these settings; raises FormulaError if it has none."""
    space: SearchSpace = getattr(config, "search_space", dict)()
    if not space:
        raise FormulaError(f"{algorithm} has no search space; its config needs a method search_space")
    return space


def decoding_space(config: Any) -> Mapping[str, Choice]:
    """The setting, if any, that is chosen after the training of each trial; its first value does nothing."""
    return getattr(config, "decoding_space", dict)()


def values_in(config: Any, space: SearchSpace) -> dict[str, Any]:
    """The values that a config has of the settings of a search space."""
    return {name: _get(config, name) for name in space}


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def as_tables(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with dots in their names as tables within tables."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        table = tables
        for group in groups:
            table = table.setdefault(group, {})
        table[last] = value
    return tables


__all__ = ["Choice", "LogRange", "SearchSpace", "as_tables", "decoding_space", "search_space", "values_in"]
