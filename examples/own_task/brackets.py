"""Balanced brackets, `(()())`: a task of one's own in one class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from formula_env import FormulaError
from formula_env.tasks.automaton import Automaton, AutomatonTask


@dataclass(frozen=True)
class Brackets(AutomatonTask):
    """`(()())` is correct: every bracket is closed, and none before it is opened."""

    length: int = 10
    """Symbols of a formula: even, 2 to 64."""

    symbols: ClassVar[tuple[str, ...]] = ("(", ")")

    def __post_init__(self) -> None:
        if self.length % 2 or not 2 <= self.length <= 64:
            raise FormulaError(f"length must be an even number from 2 to 64, got {self.length}")

    @property
    def max_length(self) -> int:
        return self.length

    def build_automaton(self) -> Automaton:
        """The state is the number of open brackets; one state more for what can't come right again."""
        half = self.length // 2
        depth, lost = np.arange(half + 1), half + 1
        next_state = np.full((self.length, half + 2, 2), lost)
        next_state[:, :lost, 0] = depth + 1  # from `half` this is `lost`: too many to be closed
        next_state[:, 1:lost, 1] = depth[:-1]
        well_formed = np.ones(half + 2, dtype=bool)
        return Automaton(next_state, well_formed, correct=np.arange(half + 2) == 0, ended=~well_formed)
