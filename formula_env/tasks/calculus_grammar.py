"""The automaton of well-formed identities of calculus."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.calculus_syntax import INTEGRAL, LEAVES, OPENING, PRECEDENCE, SYMBOLS
from formula_env.tasks.automaton import DEAD

BEGINNING, OPERAND, NUMBER, COMPLETE = range(4)
"""What comes next: an operand or its minus sign, an operand, more digits or an operator, or an operator."""


class State(NamedTuple):
    """A state within a formula."""

    side: str
    """`left`, `integral` for a left side that is one, `closed` behind its parenthesis, or `right`."""
    depth: int
    """Open parentheses, those of functions included."""
    expected: int


START, ENDED = State("left", 0, BEGINNING), State("ended", 0, COMPLETE)


def automaton(length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The automaton that reads formulae of at most this many symbols, and EOS.

    Returns its transitions `(length + 1, S, V)`, and the states `(S,)` in which EOS was read.
    """
    states, rows = [START], []
    number = {START: 0}
    for state in states:  # the list grows meanwhile
        following = [_next(state, symbol) for symbol in (*SYMBOLS, "EOS")]
        row = []
        for new in following:
            if new is not None and new.depth <= length // 2 and new not in number:
                number[new] = len(states)
                states.append(new)
            row.append(DEAD if new is None else number.get(new, DEAD))
        rows.append(row)
    next_state = np.broadcast_to(np.array(rows), (length + 1, len(states), len(SYMBOLS) + 1))
    return next_state, np.array([state == ENDED for state in states])


def _next(state: State, symbol: str) -> State | None:
    if state == ENDED:
        return None
    if state.expected in (BEGINNING, OPERAND):
        return _next_in_operand(state, symbol)
    side, depth, expected = state
    if symbol == "=":
        is_over = side == "closed" or (side == "left" and not depth)
        return State("right", 0, BEGINNING) if is_over else None
    if symbol == "EOS":
        return ENDED if side == "right" and not depth else None
    if symbol == ")" and depth:
        return State("closed" if side == "integral" and depth == 1 else side, depth - 1, COMPLETE)
    if symbol in PRECEDENCE and side != "closed":
        return State(side, depth, OPERAND)
    return state if symbol.isdigit() and expected == NUMBER else None


def _next_in_operand(state: State, symbol: str) -> State | None:
    side, depth, expected = state
    if symbol in OPENING:
        return State(side, depth + 1, BEGINNING)
    if symbol in LEAVES or symbol == "0":
        return State(side, depth, COMPLETE)
    if symbol.isdigit():
        return State(side, depth, NUMBER)
    if symbol == "-" and expected == BEGINNING:
        return State(side, depth, OPERAND)
    return State("integral", 1, BEGINNING) if symbol == INTEGRAL and state == START else None
