"""Signed binary equations, `1+0+1+1=0+1+1+1`: the extension drawn in the thesis' Fig 9.1."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from formula_env.errors import FormulaError, check_types
from formula_env.tasks.automaton import DEAD, Automaton, AutomatonTask

PLUS, MINUS, EQUALS = 2, 3, 4


@dataclass(frozen=True)
class SignedEquation(AutomatonTask):
    """Digits at even positions, operators between them, exactly one `=`; correct if both sides are equal."""

    length: int = 15
    """Number of symbols of a formula, odd, from 3 to 63."""

    grammar: ClassVar[str] = 'formula = side "=" side; side = digit {("+" | "-") digit}; digit = "0" | "1"'
    difficulty: ClassVar[str] = (
        "An operator decides how the digit behind it counts, and the place of `=` on which side, so the verdict "
        "depends on all symbols."
    )
    symbols: ClassVar[tuple[str, ...]] = ("0", "1", "+", "-", "=")

    def __post_init__(self) -> None:
        check_types(self)
        if self.length % 2 == 0 or not 3 <= self.length <= 63:
            raise FormulaError(f"length must be an odd number from 3 to 63, got {self.length}")

    @property
    def max_length(self) -> int:
        return self.length

    def build_automaton(self) -> Automaton:
        """A state is (past "=", sign with which the next digit counts, left side minus right side so far)."""
        digits = (self.length + 1) // 2
        differences = range(-digits, digits + 1)
        # Listed with the start first: nothing read, the first digit counts as +.
        states = sorted(product((False, True), (1, -1), differences), key=lambda s: s != (False, 1, 0))
        number = {state: i for i, state in enumerate(states)}
        next_state = np.full((self.length, len(states), len(self.symbols)), DEAD)
        for (right, sign, difference), i in number.items():
            for digit in (0, 1):
                target = number.get((right, sign, difference + sign * digit), DEAD)
                next_state[::2, i, digit] = target
            side = -1 if right else 1
            next_state[1::2, i, PLUS] = number[right, side, difference]
            next_state[1::2, i, MINUS] = number[right, -side, difference]
            if not right:
                next_state[1::2, i, EQUALS] = number[True, -1, difference]
        well_formed = np.array([right for right, _, _ in states])
        correct = np.array([right and difference == 0 for right, _, difference in states])
        return Automaton(next_state, well_formed, correct, ended=np.zeros(len(states), dtype=bool))

    def to_sympy(self, formula: str) -> str:
        left, _, right = formula.partition("=")
        return f"Eq({left}, {right})"
