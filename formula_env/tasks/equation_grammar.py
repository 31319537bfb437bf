"""The automaton of well-formed equations."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.expression import DIGITS, OPERATORS
from formula_env.tasks.automaton import DEAD

COMPLETE = -1
"""In `LeftState.written`: nothing can be added to the operand."""


class LeftState(NamedTuple):
    """A state within the left side."""

    integers: int
    """Integers so far, one that is being written included."""
    levels: tuple[bool, ...]
    """Of the side and each open parenthesis: whether an operator stands directly in it."""
    written: int
    """Digits of the integer so far: 0 where an operand is expected, `COMPLETE` behind an operand."""
    order: int
    """Sign of those digits minus the first digits of the largest integer."""


class Grammar:
    """An automaton that reads the symbols of equations and then EOS; its start is state 0.

    next_state: `(S, V)` int64; the state after symbol v in state s, or `DEAD`.
    begins_right: `(S,)` the state behind `=`.
    ended: `(S,)` the state behind EOS.
    """

    def __init__(self, symbols: tuple[str, ...], operands: int, largest: str) -> None:
        """`symbols` are those of the task, `largest` is the largest integer in its base."""
        self.operands = operands
        self.largest = [DIGITS.index(digit) for digit in largest]
        self.right = _right_transitions(symbols)
        states: list[LeftState | str] = [LeftState(0, (False,), 0, 0)]
        number = {states[0]: 0}
        rows = []
        for state in states:  # the list grows meanwhile
            following = [self._next(state, symbol) for symbol in (*symbols, "EOS")]
            for new in following:
                if new is not None and new not in number:
                    number[new] = len(states)
                    states.append(new)
            rows.append([DEAD if new is None else number[new] for new in following])
        self.next_state = np.array(rows)
        self.begins_right: NDArray[np.bool_] = np.array([state == "right" for state in states])
        self.ended: NDArray[np.bool_] = np.array([state == "ended" for state in states])

    def transitions(self, length: int) -> NDArray[np.int64]:
        """The table `(T, S, V)` for sequences of this length."""
        return np.broadcast_to(self.next_state, (length, *self.next_state.shape))

    def _next(self, state: LeftState | str, symbol: str) -> LeftState | str | None:
        if isinstance(state, str):
            return self.right.get((state, symbol))
        if symbol == "=":
            is_complete = state.written and state.integers == self.operands and len(state.levels) == 1
            return "right" if is_complete else None
        new = self._next_left(state, symbol)
        return new if new is not None and self._can_be_finished(new) else None

    def _can_be_finished(self, state: LeftState) -> bool:
        """Whether enough integers are left: one for each operator that has to come, and an operand if expected."""
        return self.operands - state.integers >= state.levels.count(False) + (state.written == 0)

    def _next_left(self, state: LeftState, symbol: str) -> LeftState | None:
        integers, levels, written, _ = state
        if symbol in DIGITS:
            return self._with_digit(state, DIGITS.index(symbol))
        if symbol == "(":
            return LeftState(integers, (*levels, False), 0, 0) if not written else None
        if symbol == ")":
            closes = written and len(levels) > 1 and levels[-1]
            return LeftState(integers, levels[:-1], COMPLETE, 0) if closes else None
        if symbol in OPERATORS and written:
            return LeftState(integers, (*levels[:-1], True), 0, 0)
        return None

    def _with_digit(self, state: LeftState, digit: int) -> LeftState | None:
        integers, levels, written, order = state
        if written == COMPLETE:
            return None
        order = order or int(np.sign(digit - self.largest[written]))
        written += 1
        integers += written == 1
        is_last = written == len(self.largest)
        if is_last and order > 0:
            return None
        is_zero = written == 1 and digit == 0
        return LeftState(integers, levels, *((COMPLETE, 0) if is_last or is_zero else (written, order)))


def _right_transitions(symbols: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """The transitions of the right side, an integer: (state, symbol) -> state."""
    digits = [symbol for symbol in symbols if symbol in DIGITS]
    table = {("right", "0"): "zero", ("zero", "EOS"): "ended", ("number", "EOS"): "ended"}
    table |= {(state, digit): "number" for state in ("right", "minus") for digit in digits[1:]}
    table |= {("number", digit): "number" for digit in digits}
    return table | ({("right", "-"): "minus"} if "-" in symbols else {})
