"""An independent checker of calculus: recursive descent to SymPy objects, whose values mpmath computes.

Derivatives are SymPy's. A difference at any point means wrong; agreement at all points where both sides are real
means correct; no such point, or numbers that are too large, mean that the oracle does not decide.
"""

import re
from typing import Any

import mpmath
import sympy

X = sympy.Symbol("x", positive=True)
POINTS = [sympy.Rational(*pair) for pair in ((13, 17), (31, 19), (1, 29), (61, 21), (97, 16), (88, 7))]
MAX_BITS = 3_000
DIGITS = 60


class UndecidedError(Exception):
    """The oracle has no verdict."""


class Reader:
    """Reads `expression()` from the tokens of one side."""

    def __init__(self, text: str) -> None:
        self.tokens = [*re.findall(r"[0-9]+|[a-z]+\(|.", text), ""]

    def take(self) -> str:
        return self.tokens.pop(0)

    def expression(self) -> Any:
        if self.tokens[0] == "-":
            self.take()
            total = -self.product()
        else:
            total = self.product()
        while self.tokens[0] in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self) -> Any:
        result = self.power()
        while self.tokens[0] in ("*", "/"):
            result = result * self.power() if self.take() == "*" else result / self.power()
        return result

    def power(self) -> Any:
        base = self.atom()
        if self.tokens[0] != "^":
            return base
        self.take()
        return bounded_power(base, self.power())

    def atom(self) -> Any:
        token = self.take()
        if token.isdigit():
            return sympy.Integer(int(token))
        if token in ("x", "e", "π"):
            return {"x": X, "e": sympy.E, "π": sympy.pi}[token]
        inside = self.expression()
        assert self.take() == ")"
        if token == "(":
            return inside
        return sympy.diff(inside, X) if token == "d(" else getattr(sympy, token[:-1])(inside)


def bounded_power(base: Any, exponent: Any) -> Any:
    """The power, which SymPy computes at once where both are rational."""
    if base.is_Rational and exponent.is_Rational:
        bits = max(base.p.bit_length(), base.q.bit_length())
        if bits * abs(exponent) > MAX_BITS:
            raise UndecidedError
    elif exponent.is_Rational and abs(exponent) > MAX_BITS:
        raise UndecidedError
    return base**exponent


def sides(text: str) -> tuple[Any, Any]:
    """Both sides of a well-formed formula as SymPy objects; of an integral, f and the derivative of F."""
    left, _, right = text.partition("=")
    if left.startswith("∫("):
        return Reader(left[2:-1]).expression(), sympy.diff(Reader(right).expression(), X)
    return Reader(left).expression(), Reader(right).expression()


FUNCTIONS = {sympy.sin: mpmath.sin, sympy.cos: mpmath.cos, sympy.tan: mpmath.tan, sympy.log: mpmath.log}


def number(expression: Any, point: Any) -> Any:
    """The value of a SymPy object at a point, complex where it is."""
    if expression == X:
        return mpmath.mpf(point.p) / point.q
    if expression.is_Rational:
        return mpmath.mpf(expression.p) / expression.q
    if expression in (sympy.pi, sympy.E, sympy.I):
        return {sympy.pi: +mpmath.pi, sympy.E: +mpmath.e, sympy.I: mpmath.mpc(0, 1)}[expression]
    parts = [number(part, point) for part in expression.args]
    if not parts or any(abs(part) > 1e30 for part in parts):
        raise UndecidedError  # infinite, or too large
    if expression.is_Add:
        return mpmath.fsum(parts)
    if expression.is_Mul:
        return mpmath.fprod(parts)
    if expression.is_Pow:
        return not_tiny(mpmath.power(*parts))
    if type(expression) is sympy.exp:
        return not_tiny(mpmath.exp(parts[0])) if abs(parts[0]) < 1_000 else undecided()
    return FUNCTIONS[type(expression)](parts[0]) if type(expression) in FUNCTIONS else undecided()


def not_tiny(result: Any) -> Any:
    """A power that is not so small that it is lost beside other numbers, or taken for 0."""
    return undecided() if 0 < abs(result) < 1e-25 else result


def undecided() -> Any:
    raise UndecidedError


def value(expression: Any, point: Any) -> Any:
    """The real value at a point; None where there is none."""
    try:
        result = mpmath.mpc(number(expression, point))
    except (ZeroDivisionError, OverflowError, ValueError, UndecidedError):
        return None
    is_real = abs(result.imag) <= mpmath.mpf(10) ** (-DIGITS // 2) * max(1, abs(result))
    return result.real if is_real and mpmath.isfinite(result) else None


def is_correct(text: str) -> bool | None:
    """The verdict on a well-formed formula; None where the oracle has none."""
    try:
        left, right = sides(text)
    except (UndecidedError, TypeError, ValueError):  # SymPy raises these for infinite values
        return None
    with mpmath.workdps(DIGITS):
        values = [(value(left, point), value(right, point)) for point in POINTS]
        pairs = [(one, two) for one, two in values if one is not None and two is not None]
        margin = mpmath.mpf(10) ** (-DIGITS // 2)
        if any(abs(one - two) > margin * max(1, abs(one), abs(two)) for one, two in pairs):
            return False
    return True if pairs else None
