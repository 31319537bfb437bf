"""Verdicts on identities of calculus, `d(x^2)=2*x`, meant for x > 0.

Both sides are computed in ball arithmetic at a few fixed points, as truncated power series, which hold the
derivatives. Disjoint balls at one point prove that a formula is wrong. Balls that agree to half of all bits at
several points mean that it is correct; this is numerical evidence, not a proof. An integral is correct iff the
derivative of the right side is what is integrated, so a constant of integration does not matter. A point at which
a side is not a finite real number is skipped: a formula is about the points where both sides are defined. One
that is defined at none of them says nothing, which is not the same as undecided.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from random import Random
from threading import Lock

import numpy as np
from flint import arb, arb_series, ctx
from numpy.typing import NDArray

from formula_env.checkers.calculus_syntax import DERIVATIVE, NEGATE, Formula, Postfix, parse
from formula_env.errors import FormulaError


class Verdict(Enum):
    """Verdicts of the checker; only the first counts as correct."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNDEFINED = "undefined"  # no finite value that can be computed
    UNDECIDED = "undecided"


PRECISIONS = (128, 512, 2048)
"""Bits of the computation; the next one is tried where the one before does not decide."""
NUM_AGREEING = 2
"""Points at which both sides have to agree."""
NUM_BRANCHED = 5
"""Points that are tried at least where a formula may hold on a part of x > 0 only, such as `sqrt((x-3)^2)=x-3`."""

_RANDOM = Random(14)
# The first ones are of a moderate size, where values are too; the next ones tell branches apart. The others are
# for formulae with a small domain, and for large powers.
POINTS = tuple(
    _RANDOM.uniform(low, high)
    for low, high in (
        (0.5, 0.7), (1.5, 1.9), (7, 10), (0.01, 0.02), (100, 150), (1.1, 1.4), (2.5, 3.2), (0.2, 0.3), (4, 5),
        (0.08, 0.1), (15, 20), (0.001, 0.002), (30, 40), (5.5, 6.5), (0.97, 0.98), (1.01, 1.02), (200, 300),
        (0.9998, 0.9999), (1.0001, 1.0002),
    )
)  # fmt: skip
"""Random numbers of 53 bits, so that no short formula holds at them by chance."""

Values = list[arb_series]
"""An expression and its parts around a point, in postfix order."""

_BRANCHING = {"sqrt(", "log("}
_LOCK = Lock()


def verdict(text: str) -> Verdict:
    """The verdict on one formula. Raises FormulaError for a text that is not well-formed."""
    formula = parse(text)
    with _arithmetic():
        return _judge(formula)


def verdicts(texts: Sequence[str]) -> list[Verdict | None]:
    """The verdicts on n formulae; None for a text that is not well-formed."""
    with _arithmetic():
        return [_judge_text(text) for text in texts]


def check(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether n formulae are correct, `(n,)`."""
    return np.array([each is Verdict.CORRECT for each in verdicts(texts)], dtype=bool)


def undecided(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the checker can't decide on n formulae, `(n,)`."""
    return np.array([each is Verdict.UNDECIDED for each in verdicts(texts)], dtype=bool)


@contextmanager
def _arithmetic() -> Iterator[None]:
    """Lend the settings of flint, which all threads share, to one caller at a time, and restore them."""
    with _LOCK:
        precision, length = ctx.prec, ctx.cap
        try:
            yield
        finally:
            ctx.prec, ctx.cap = precision, length


def _judge_text(text: str) -> Verdict | None:
    try:
        return _judge(parse(text))
    except FormulaError:
        return None


def _judge(formula: Formula) -> Verdict:
    left, right = formula.left, formula.right
    if formula.is_integral:
        right = [*right, DERIVATIVE]
    num_points = NUM_BRANCHED if _has_branches(left) or _has_branches(right) else NUM_AGREEING
    found = Verdict.UNDEFINED
    for precision in PRECISIONS:
        ctx.prec = precision
        agreeing, is_unclear = 0, False
        for i, point in enumerate(POINTS, start=1):
            if (values := _values_of_both(left, right, point)) is not None:
                if not values[0][-1][0].overlaps(values[1][-1][0]):
                    if _are_finite(values[0]) and _are_finite(values[1]):
                        return Verdict.WRONG
                elif agreeing < NUM_AGREEING:
                    if _are_small(*values) and _is_moderate(left, values[0]) and _is_moderate(right, values[1]):
                        agreeing += 1
                    else:
                        is_unclear |= _are_finite(values[0]) and _are_finite(values[1])
            if agreeing == NUM_AGREEING and i >= num_points:
                return Verdict.CORRECT
        if agreeing == NUM_AGREEING:
            return Verdict.CORRECT
        found = Verdict.UNDECIDED if is_unclear or agreeing else Verdict.UNDEFINED
        if not is_unclear:
            break  # more bits don't make a point defined
    return found


def _has_branches(side: Postfix) -> bool:
    """Whether a side may follow different analytic functions in different ranges of x."""
    if not _BRANCHING.isdisjoint(side):
        return True
    for i, item in enumerate(side):
        if item == "^" and not (side[i - 1].isdigit() or (side[i - 1] == NEGATE and side[i - 2].isdigit())):
            return True
    return False


def _values_of_both(left: Postfix, right: Postfix, point: float) -> tuple[Values, Values] | None:
    """The values of both sides at a point, with those of their parts; None where a side has no finite value."""
    try:
        values = _values(left, point), _values(right, point)
    except (ZeroDivisionError, ValueError):  # flint: a divisor is, or may be, 0
        return None
    is_defined = values[0][-1][0].is_finite() and values[1][-1][0].is_finite()
    return values if is_defined else None


def _are_finite(values: Values) -> bool:
    """Whether an expression and all its parts have a value: `d(log(0))` has none, although flint's series has."""
    return all(value[0].is_finite() for value in values)


def _vanishing(side: Postfix) -> list[bool]:
    """For each part of an expression whether it is a constant term of what is differentiated, or a sum with one.

    Only the derivatives of such parts are used, and those of a constant are exactly 0.
    """
    starts, constant = _subtrees(side)
    vanishing = [False] * len(side)
    for i, item in enumerate(side):
        if item == DERIVATIVE:
            terms = [i - 1]
            while terms:
                last = terms.pop()
                if constant[last]:
                    vanishing[starts[last] : last + 1] = [True] * (last + 1 - starts[last])
                elif side[last] in ("+", "-", NEGATE):
                    vanishing[last] = True
                    terms += [last - 1] if side[last] == NEGATE else [last - 1, starts[last - 1] - 1]
    return vanishing


def _subtrees(side: Postfix) -> tuple[list[int], list[bool]]:
    """For each part of an expression where its own parts begin, and whether it is without x."""
    starts: list[int] = []
    constant: list[bool] = []
    for i, item in enumerate(side):
        start, is_constant = i, item != "x"
        for _ in range(2 if item in _BINARY else 1 if item in _UNARY else 0):
            is_constant = is_constant and constant[start - 1]
            start = starts[start - 1]
        starts.append(start)
        constant.append(is_constant)
    return starts, constant


def _are_small(left: Values, right: Values) -> bool:
    """Whether balls that overlap are so small that both sides are taken to be equal."""
    one, two = left[-1][0], right[-1][0]
    return float(one.rad()) + float(two.rad()) <= 2.0 ** (-ctx.prec // 2) * max(1.0, abs(float(one)))


def _is_moderate(side: Postfix, values: Values) -> bool:
    """Whether no value on the way is very small or large; what vanishes in a derivative may be.

    A small term can hide behind the rounding of a large one.
    """
    largest = 2.0 ** (ctx.prec // 3)
    extreme = [
        i
        for i, value in enumerate(values)
        if not (size := abs(float(value[0]))) <= largest or (size * largest < 1 and not value[0].contains(0))
    ]
    if not extreme:
        return True
    vanishing = _vanishing(side)
    return all(vanishing[i] and values[i][0].is_finite() for i in extreme)


def _sqrt(series: arb_series) -> arb_series:
    return series.sqrt() if len(series) else series  # flint has no series of the square root of 0


_UNARY: dict[str, Callable[[arb_series], arb_series]] = {
    NEGATE: operator.neg,
    "sin(": arb_series.sin,
    "cos(": arb_series.cos,
    "tan(": arb_series.tan,
    "exp(": arb_series.exp,
    "log(": arb_series.log,
    "sqrt(": _sqrt,
    DERIVATIVE: arb_series.derivative,
}
_BINARY: dict[str, Callable[[arb_series, arb_series], arb_series]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}


def _values(side: Postfix, point: float) -> Values:
    """The values of an expression and its parts around a point, in postfix order.

    Raises ZeroDivisionError or ValueError for a division by what is, or may be, 0.
    """
    ctx.cap = 1 + side.count(DERIVATIVE)  # each derivative takes one term of a series away
    leaves = _leaves(point, ctx.prec, ctx.cap)
    values: Values = []
    stack: list[arb_series] = []
    for item in side:
        if (leaf := leaves.get(item)) is not None:
            value = leaf
        elif (binary := _BINARY.get(item)) is not None:
            second = stack.pop()
            value = binary(stack.pop(), second)
        elif (unary := _UNARY.get(item)) is not None:
            value = unary(stack.pop())
        else:
            value = arb_series([arb(int(item))])
        stack.append(value)
        values.append(value)
    return values


@lru_cache(maxsize=256)
def _leaves(point: float, precision: int, length: int) -> dict[str, arb_series]:
    """The series of x, the constants and small integers in the arithmetic that is set."""
    constants = {"π": arb.pi(), "e": arb.const_e()} | {str(number): arb(number) for number in range(100)}
    return {"x": arb_series([arb(point), 1])} | {name: arb_series([value]) for name, value in constants.items()}
