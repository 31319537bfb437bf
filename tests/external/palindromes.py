"""A task of another package, which knows nothing of this one but the base class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from formula_env.errors import FormulaError
from formula_env.tasks.automaton import Automaton, AutomatonTask


@dataclass(frozen=True)
class Palindrome(AutomatonTask):
    """`0110` is correct: it reads the same from right to left."""

    length: int = 6
    """Number of symbols: even."""
    symbols: ClassVar[tuple[str, ...]] = ("0", "1")

    def __post_init__(self) -> None:
        if self.length % 2 or not 2 <= self.length <= 16:
            raise FormulaError(f"length must be an even number from 2 to 16, got {self.length}")

    @property
    def max_length(self) -> int:
        return self.length

    def build_automaton(self) -> Automaton:
        """The state is a stack of symbols, as the binary number 1b…b: they are pushed, then popped."""
        half = self.length // 2
        stack, lost = np.arange(2 ** (half + 1)), 0
        next_state = np.full((self.length, len(stack), 2), lost)
        for symbol in range(2):
            pushed = 2 * stack + symbol
            next_state[:half, :, symbol] = np.where((stack != lost) & (pushed < len(stack)), pushed, lost)
            next_state[half:, :, symbol] = np.where(stack % 2 == symbol, stack // 2, lost)
        ones = np.ones(len(stack), dtype=bool)
        # The start has to be state 0: swap it with the lost one.
        swap = np.where(stack == 0, 1, np.where(stack == 1, 0, stack))
        return Automaton(swap[next_state][:, swap], well_formed=ones, correct=stack == 0, ended=~ones)
