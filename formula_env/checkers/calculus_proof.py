"""Proofs of identities of calculus by SymPy, for formulae that are printed: slow, and not every one is found."""

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from formula_env.checkers.calculus import Verdict, verdict
from formula_env.checkers.calculus_syntax import DERIVATIVE, NEGATE, Postfix, parse

_X = sympy.Symbol("x", positive=True)
_LEAVES = {"x": _X, "π": sympy.pi, "e": sympy.E}
_UNARY: dict[str, Callable[[Any], Any]] = {
    NEGATE: operator.neg,
    "sin(": sympy.sin,
    "cos(": sympy.cos,
    "tan(": sympy.tan,
    "exp(": sympy.exp,
    "log(": sympy.log,
    "sqrt(": sympy.sqrt,
    DERIVATIVE: lambda expression: sympy.diff(expression, _X),
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}


def prove_all(formulae: Sequence[str]) -> NDArray[np.bool_]:
    """Whether SymPy proves each of well-formed formulae: `(n,)`. Formulae that come again are proved once."""
    return np.array([_proved(formula) for formula in formulae], dtype=bool)


@lru_cache(maxsize=2**16)
def _proved(text: str) -> bool:
    return prove(text)


def prove(text: str) -> bool:
    """Whether SymPy finds that both sides are equal for all x > 0; False where it finds no proof.

    Only what the checker finds correct is tried: the values on the way are then moderate, and so is SymPy's work.
    Raises FormulaError for a text that is not well-formed.
    """
    if verdict(text) is not Verdict.CORRECT:
        return False
    formula = parse(text)
    left, right = expression(formula.left), expression(formula.right)
    difference = left - (sympy.diff(right, _X) if formula.is_integral else right)
    return any(attempt(difference) == 0 for attempt in (lambda each: each, sympy.expand, sympy.simplify))


def expression(side: Postfix) -> sympy.Expr:
    """The SymPy object of an expression in postfix order, built part by part; x is positive."""
    stack: list[Any] = []
    for item in side:
        if item in _BINARY:
            second = stack.pop()
            stack.append(_BINARY[item](stack.pop(), second))
        elif item in _UNARY:
            stack.append(_UNARY[item](stack.pop()))
        else:
            stack.append(_LEAVES[item] if item in _LEAVES else sympy.Integer(int(item)))
    return stack[0]
