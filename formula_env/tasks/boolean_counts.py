"""How many Boolean formulae of each length have which truth table.

A truth table of v variables is a number of 2^v bits. There are as many formulae `x|y` with truth table t as there
are pairs of an x and a y whose tables have the union t. Such a convolution over all pairs of tables becomes a
product, table by table, when each number is replaced by the sum over all subsets of a table; `&` and `=` have
transforms of their own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.boolean import TRUTH_TABLES

Counts = NDArray[Any]
"""Numbers of formulae by truth table, `(2^2^v,)`: Python ints or int64."""
Step = Callable[[Counts, Counts], tuple[Counts, Counts]]
"""One bit's part in a transform: from the numbers of tables without the bit, and with it, to those that follow."""


def count_tautologies(length: int, variables: int, dtype: type[object] | type[np.int64]) -> int:
    """The number of tautologies of at most `length` symbols.

    With Python ints (`object`) there is no bound. In int64, all formulae together must be fewer than
    2^63 / 2^2^variables; sums may wrap around on the way, which subtraction undoes.
    """
    return sum(int(counts[-1]) for counts in count_by_table(length, variables, dtype))


def count_by_table(length: int, variables: int, dtype: type[object] | type[np.int64]) -> list[Counts]:
    """The numbers of well-formed formulae of each length from 0 to `length`, by truth table."""
    tables = 2**2**variables
    nothing = np.zeros(tables, dtype=dtype)
    variable = nothing.copy()
    variable[[table % tables for table in TRUTH_TABLES[:variables]]] = 1
    chains = [Chain(_INTERSECTION), Chain(_UNION), Chain(_UNION, negates_operand=True), Chain(_EQUALITY)]
    formulae, literals = [nothing], [nothing]
    for n in range(1, length + 1):
        atoms = variable if n == 1 else formulae[n - 2]  # or a formula in parentheses
        literals.append(atoms + literals[n - 1][::-1])
        counts = literals[n]
        for chain in chains:
            counts = chain.grow(counts)
        formulae.append(counts)
    return formulae


class Convolution(NamedTuple):
    """A transform under which the convolution of an operator is a product, and how to undo it."""

    forward: Step
    backward: Step
    scaled: bool = False
    """Whether undoing it multiplies by the number of tables."""
    negated: bool = False
    """Whether it is the convolution of the operator's negation."""


def _sum_and_difference(low: Counts, high: Counts) -> tuple[Counts, Counts]:
    return low + high, low - high


_UNION = Convolution(lambda low, high: (low, low + high), lambda low, high: (low, high - low))
_INTERSECTION = Convolution(lambda low, high: (low + high, high), lambda low, high: (low - high, high))
_EQUALITY = Convolution(_sum_and_difference, _sum_and_difference, scaled=True, negated=True)


class Chain:
    """Operands joined by one operator, with lengths that grow by 1; an operand alone is a chain, too."""

    def __init__(self, convolution: Convolution, negates_operand: bool = False) -> None:
        """`negates_operand`: for `>`, whose chain is a union of the negated premise and the rest."""
        self.convolution = convolution
        self.order = -1 if negates_operand else 1
        self.operands: list[Counts] = []
        """Transformed numbers of operands of each length from 1."""
        self.chains: list[Counts] = []

    def grow(self, operands: Counts) -> Counts:
        """The numbers of chains of the next length, from those of operands of this length."""
        n = len(self.operands)
        counts = operands
        if n >= 2:
            pairs = sum(self.chains[i] * self.operands[n - 2 - i] for i in range(n - 1))
            counts = operands + self._undone(np.asarray(pairs))
        self.operands.append(_transformed(operands[:: self.order], self.convolution.forward))
        self.chains.append(_transformed(counts, self.convolution.forward))
        return counts

    def _undone(self, pairs: Counts) -> Counts:
        counts = _transformed(pairs, self.convolution.backward)
        if self.convolution.scaled:
            counts = counts // len(counts)
        return counts[::-1] if self.convolution.negated else counts


def _transformed(counts: Counts, step: Step) -> Counts:
    """The numbers after a step for each bit of the truth tables."""
    counts, bit = counts.copy(), 1
    while bit < len(counts):
        halves = counts.reshape(-1, 2, bit)
        low, high = step(halves[:, 0], halves[:, 1])
        counts = np.stack([low, high], axis=1).ravel()
        bit *= 2
    return counts
