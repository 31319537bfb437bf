"""Binary sequences whose halves have equal sums: the thesis' formula (chapter 1)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from formula_env.errors import FormulaError, check_types
from formula_env.tasks.automaton import Automaton, AutomatonTask


@dataclass(frozen=True)
class BinarySum(AutomatonTask):
    """`0110 0101` is correct: both halves contain the same number of ones. C(n, n/2) of the 2^n sequences are."""

    length: int = 8
    """Number of symbols of a formula, even, from 2 to 64."""

    grammar: ClassVar[str] = 'formula = digit {digit}; digit = "0" | "1"'
    difficulty: ClassVar[str] = (
        "Every sequence is well-formed, and its verdict depends on all of its symbols: one other symbol anywhere "
        "makes a correct one wrong."
    )
    symbols: ClassVar[tuple[str, ...]] = ("0", "1")

    def __post_init__(self) -> None:
        check_types(self)
        if self.length % 2 or not 2 <= self.length <= 64:
            raise FormulaError(f"length must be an even number from 2 to 64, got {self.length}")

    @property
    def max_length(self) -> int:
        return self.length

    def build_automaton(self) -> Automaton:
        """The state is the number of ones that the second half still owes: it goes up, then down."""
        half = self.length // 2
        owed = np.arange(half + 1)
        # Once the second half holds too many it can't come right again: well-formed, but lost.
        lost = half + 1
        next_state = np.full((self.length, half + 2, 2), lost)
        next_state[:, :lost, 0] = owed
        next_state[:half, :lost, 1] = owed + 1
        next_state[half:, 1:lost, 1] = owed[:-1]
        well_formed = np.ones(half + 2, dtype=bool)
        return Automaton(next_state, well_formed, correct=np.arange(half + 2) == 0, ended=~well_formed)

    def to_latex(self, formula: str) -> str:
        half = self.length // 2
        return rf"{formula[:half]}\,{formula[half:]}"

    def to_sympy(self, formula: str) -> str:
        half = self.length // 2
        return f"Eq({'+'.join(formula[:half])}, {'+'.join(formula[half:])})"
