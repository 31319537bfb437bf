"""Verdicts on equations between integers, `3*(4+1)=15`.

A formula is two expressions, as in `expression.py`, around one `=`. It is correct iff both have the same value and
no value on the way is beyond 2^128. `is_correct` is the plain reference for one formula. `check` and `check_codes`
give the same verdicts on whole batches, by shift-reduce parsing of all formulae at once.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.batches import Alphabet, Codes, Flags
from formula_env.checkers.expression import DIGITS, MAX_BITS, MAX_SYMBOLS, OPERATORS, evaluate, parse
from formula_env.errors import FormulaError

Integers = NDArray[np.int64]

ALPHABET = Alphabet(f"{DIGITS}{OPERATORS}()=")
"""All symbols of equations."""
PLUS, MINUS, TIMES, OVER, POWER, OPEN, CLOSE, EQUALS, END, UNKNOWN = range(len(DIGITS), len(DIGITS) + 10)
"""Codes of the symbols that are no digits."""

EXACT = 2**61
"""Absolute values up to this are computed in int64, where neither a sum nor a difference of two can overflow."""


def is_correct(formula: str, base: int = 10) -> bool:
    """The verdict on one formula; False for a text that is not well-formed. White space is ignored."""
    try:
        left, right = parse(formula, base)
    except FormulaError:
        return False
    value = evaluate(left)
    return value is not None and value == evaluate(right)


def check(formulae: Sequence[str], base: int = 10) -> Flags:
    """The verdicts `(n,)` of `is_correct` on n formulae."""
    return ALPHABET.check(formulae, lambda codes: check_codes(codes, base), lambda text: is_correct(text, base))


def check_codes(codes: Codes, base: int = 10) -> Flags:
    """The verdicts `(n,)` on formulae as codes `(n, T)`, each filled up with `END`."""
    verdicts = np.zeros(len(codes), dtype=bool)
    if codes.size == 0:
        return verdicts
    rows = np.flatnonzero(well_formed(codes, base))
    columns = np.ascontiguousarray(codes[rows].T)
    is_operator = (columns >= PLUS) & (columns < END)
    machine = ShiftReduce(len(rows), int(is_operator.sum(axis=0).max(initial=0)), base)
    for column in columns:
        machine.read(column)
    machine.reduce_all()
    verdicts[rows] = ~machine.failed & (machine.left == machine.value)
    for row in rows[machine.too_large]:
        verdicts[row] = is_correct(ALPHABET.text_of(codes[row]), base)
    return verdicts


# --- well-formedness ------------------------------------------------------------------------------------------

_KINDS = np.array([0] * 16 + [1, 2, 1, 1, 1, 3, 4, 5, 6, 7], dtype=np.int8)
"""Of each code: digit, operator, minus, (, ), =, end, unknown."""
_MAY_FOLLOW = np.zeros((8, 8), dtype=bool)
for _kinds, _following in (
    ([0], [0, 1, 2, 4, 5, 6]),
    ([1, 2], [0, 3]),
    ([3, 5], [0, 2, 3]),
    ([4], [1, 2, 4, 5, 6]),
):
    _MAY_FOLLOW[np.ix_(_kinds, _following)] = True
_MAY_FOLLOW[6, 6] = True


def well_formed(codes: Codes, base: int) -> Flags:
    """Whether formulae `(n, T)` are well-formed: `(n,)`."""
    n, length = codes.shape
    symbols = np.full((length + 2, n), END, dtype=np.int8)  # framed: a beginning takes what may follow =
    symbols[0] = EQUALS
    symbols[1:-1] = codes.T
    kinds = _KINDS.copy()
    kinds[base : len(DIGITS)] = _KINDS[UNKNOWN]
    kinds = kinds[symbols]
    valid = _MAY_FOLLOW.ravel()[kinds[:-1] * 8 + kinds[1:]].all(axis=0)
    valid &= (symbols[1:] == EQUALS).sum(axis=0) == 1
    is_digit = kinds == 0
    leading_zero = (symbols[1:-1] == 0) & ~is_digit[:-2] & is_digit[2:]
    valid &= ~leading_zero.any(axis=0)
    if (symbols == OPEN).any() or (symbols == CLOSE).any():
        depth = np.cumsum(symbols == OPEN, axis=0) - np.cumsum(symbols == CLOSE, axis=0)
        outside = (symbols == EQUALS) | (symbols == END)
        valid &= (depth >= 0).all(axis=0) & ~(outside & (depth != 0)).any(axis=0)
    return valid & (length <= MAX_SYMBOLS)


# --- values ---------------------------------------------------------------------------------------------------

_PRECEDENCE = np.zeros(END, dtype=np.int8)
_PRECEDENCE[[PLUS, MINUS, TIMES, OVER, POWER]] = 1, 1, 2, 2, 3
_REDUCES = np.ones(END, dtype=np.int8)
"""Of each code: the lowest precedence of operators before it that are applied when it is read."""
_REDUCES[[TIMES, OVER, POWER, OPEN]] = 2, 2, 4, 5
_BOTTOM = EQUALS
"""In a stack of operators: the code below the first one."""


class ShiftReduce:
    """Parsers of n well-formed equations, which read them side by side and compute the values on the way.

    A minus sign needs no rule of its own: it subtracts from `value`, which is 0 where a number may begin.
    """

    value: Integers
    """The number being read, or the value of what has been reduced, `(n,)`."""
    left: Integers
    """The value of the left side `(n,)`, once `=` has been read."""
    failed: Flags
    """The formula has no value `(n,)`."""
    too_large: Flags
    """A value was beyond `EXACT` `(n,)`: the other results mean nothing."""

    def __init__(self, n: int, depth: int, base: int) -> None:
        """n empty formulae; `depth` is the number of symbols at most, in one formula, that are no digits."""
        self.base, self.depth = base, depth + 1
        self.value, self.left = np.zeros((2, n), dtype=np.int64)
        self.failed, self.too_large = np.zeros((2, n), dtype=bool)
        self.top = np.arange(n) * self.depth  # of each formula's stack, which is a slice of the two below
        self.operators = np.full(n * self.depth, _BOTTOM, dtype=np.int8)
        self.operands = np.zeros(n * self.depth, dtype=np.int64)

    def read(self, symbols: Codes) -> None:
        """Read one more symbol `(n,)` of each formula; `END` is nothing."""
        is_digit = symbols < PLUS
        np.copyto(self.value, self.value * self.base + symbols, where=is_digit)
        if self.value.max(initial=0) > EXACT // self.base - 1:
            self._give_up(np.flatnonzero(is_digit & (self.value > EXACT // self.base - 1)))
        rows = np.flatnonzero(~is_digit & (symbols != END))
        if rows.size:
            self._read_operators(rows, symbols[rows])

    def reduce_all(self) -> None:
        """Apply every operator that still waits."""
        rows = np.arange(len(self.value))
        self._reduce(rows, np.ones_like(rows))

    def _read_operators(self, rows: Integers, symbols: Codes) -> None:
        self._reduce(rows, _REDUCES[symbols])
        self.top[rows[symbols == CLOSE]] -= 1
        if (ends := rows[symbols == EQUALS]).size:
            self.left[ends] = self.value[ends]
            self.value[ends] = 0
        is_pushed = symbols < CLOSE
        rows = rows[is_pushed]
        self.top[rows] += 1
        top = self.top[rows]
        self.operators[top] = symbols[is_pushed]
        self.operands[top] = self.value[rows]
        self.value[rows] = 0

    def _reduce(self, rows: Integers, lowest: NDArray[np.integer]) -> None:
        """Apply operators of at least these precedences `(m,)` from the tops of the stacks of these formulae."""
        while rows.size:
            top = self.top[rows]
            operators = self.operators[top]
            waits = _PRECEDENCE[operators] >= lowest
            rows, lowest, top, operators = rows[waits], lowest[waits], top[waits], operators[waits]
            for code, apply in _APPLY.items():
                chosen = np.flatnonzero(operators == code)
                if chosen.size:
                    apply(self, rows[chosen], self.operands[top[chosen]])
            self.top[rows] = top - 1

    def _give_up(self, rows: Integers) -> None:
        self.too_large[rows] = True
        self.value[rows] = 0

    def _add(self, rows: Integers, first: Integers) -> None:
        self._set(rows, first + self.value[rows])

    def _subtract(self, rows: Integers, first: Integers) -> None:
        self._set(rows, first - self.value[rows])

    def _multiply(self, rows: Integers, first: Integers) -> None:
        second = self.value[rows]
        self._set(rows, first * second, np.abs(first.astype(float) * second))

    def _divide(self, rows: Integers, first: Integers) -> None:
        second = self.value[rows]
        divisor = np.where(second == 0, 1, second)
        self.failed[rows[(second == 0) | (first % divisor != 0)]] = True
        self.value[rows] = first // divisor

    def _raise(self, rows: Integers, first: Integers) -> None:
        exponent = self.value[rows]
        with np.errstate(over="ignore"):
            size = np.abs(first.astype(float)) ** np.maximum(exponent, 0)
        # Rounded sizes are wrong by less than 1 in 2^40.
        has_value = (exponent >= 0) & (size <= 2.0**MAX_BITS * (1 + 2.0**-40))
        self.failed[rows[~has_value]] = True
        self._set(rows, first ** np.where(has_value, exponent, 0), np.where(has_value, size, 0))

    def _set(self, rows: Integers, values: Integers, sizes: NDArray[np.number] | None = None) -> None:
        """Set the values, whose absolute values are about `sizes`, or exactly their own."""
        self.value[rows] = values
        too_large = (np.abs(values) if sizes is None else sizes) > EXACT
        if too_large.any():
            self._give_up(rows[too_large])


_APPLY: dict[int, Callable[[ShiftReduce, Integers, Integers], None]] = {
    PLUS: ShiftReduce._add,
    MINUS: ShiftReduce._subtract,
    TIMES: ShiftReduce._multiply,
    OVER: ShiftReduce._divide,
    POWER: ShiftReduce._raise,
}
