"""Other forms of equations: canonical, skeleton, LaTeX, SymPy.

A text that is not well-formed has no other forms; it comes back as it is, or in a typewriter font.
"""

import re
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from formula_env.checkers.expression import DIGITS, PRECEDENCE, Postfix, parse
from formula_env.errors import FormulaError


class _Form(NamedTuple):
    """An expression as text, with what a sum or product around it needs."""

    precedence: int
    text: str
    parts: tuple[str, ...] = ()
    """Signed terms of a sum, or factors of a product: a quotient among them stands first and is marked by `/`."""


def canonical(formula: str, base: int = 10) -> str:
    """The equation with sorted operands of sums and products, short ones first, and no needless parentheses."""
    try:
        left, right = parse(formula, base)
    except FormulaError:
        return formula
    return f"{_canonical(left, base)}={_canonical(right, base)}"


def skeleton(formula: str, base: int = 10) -> str:
    """The canonical form with `#` in the place of each number."""
    return re.sub(f"[{DIGITS}]+", "#", canonical(formula, base))


def to_latex(formula: str, base: int = 10) -> str:
    """The equation in LaTeX, for mathematical mode."""
    try:
        parse(formula, base)
    except FormulaError:
        return "".join([r"\texttt{", formula.replace("^", r"\^{}"), "}"])
    parts: list[str] = []
    exponents = [0]  # to be closed behind the next operand, for each open parenthesis
    for symbol, following in pairwise([*re.findall(f"[{DIGITS}]+|\\S", formula), ""]):
        if symbol == "^":
            exponents[-1] += 1
        elif symbol == "(":
            exponents.append(0)
        elif symbol == ")":
            exponents.pop()
        parts.append({"*": r"\cdot ", "^": "^{"}.get(symbol, symbol))
        if following != "^" and (symbol == ")" or symbol[0] in DIGITS):
            parts.append("}" * exponents[-1])
            exponents[-1] = 0
    return "".join(parts)


def to_sympy(formula: str, base: int = 10) -> str:
    """The equation as text for SymPy, with decimal numbers."""
    decimal = re.sub(f"[{DIGITS[:base]}]+", lambda number: str(int(number.group(), base)), formula)
    left, _, right = decimal.replace("^", "**").partition("=")
    return f"Eq({left}, {right})"


def equal_forms(formula: str, base: int = 10) -> list[str]:
    """The equation, and what it becomes where operands of sums and products on its left side change places.

    At most `MAX_FORMS`; a text that is not well-formed has itself alone.
    """
    try:
        left, _ = parse(formula, base)
    except FormulaError:
        return [formula]
    right = formula.partition("=")[2]
    return list(dict.fromkeys([formula, *(f"{form.text}={right}" for form in _swapped(left, base))]))


MAX_FORMS = 24


def _swapped(expression: Postfix, base: int) -> list[_Form]:
    operands: list[list[_Form]] = []
    for item in expression:
        if isinstance(item, int):
            operands.append([_Form(4, np.base_repr(item, base).lower())])
        elif item == "negate":
            operands.append([_Form(1, f"-{_inside(form, 2)}") for form in operands.pop()])
        else:
            second, first = operands.pop(), operands.pop()
            pairs = list(product(first, second)) + (list(product(second, first)) if item in "+*" else [])
            operands.append([_joined(item, *pair) for pair in pairs[:MAX_FORMS]])
    return operands[0]


def _joined(operator: str, first: _Form, second: _Form) -> _Form:
    precedence = PRECEDENCE[operator]
    if operator == "^":
        return _Form(precedence, f"{_inside(first, 4)}^{_inside(second, 3)}")
    inner = _inside(second, precedence if operator in "+*" else precedence + 1)
    inner = f"({inner})" if inner.startswith("-") else inner
    return _Form(precedence, f"{_inside(first, precedence)}{operator}{inner}")


def _canonical(expression: Postfix, base: int) -> str:
    operands: list[_Form] = []
    for item in expression:
        if isinstance(item, int):
            operands.append(_Form(4, _digits(item, base)))
        elif item == "negate":
            operands.append(_sum([f"-{_inside(operands.pop(), 2)}"]))
        else:
            second, first = operands.pop(), operands.pop()
            operands.append(_combined(item, first, second))
    return operands[0].text


def _digits(number: int, base: int) -> str:
    return str(number) if base == 10 else np.base_repr(number, base).lower()  # str is much faster


def _combined(operator: str, first: _Form, second: _Form) -> _Form:
    if operator == "+":
        return _sum([*_terms(first), *_terms(second)])
    if operator == "-":
        return _sum([*_terms(first), f"-{_inside(second, 2)}"])
    if operator == "*":
        return _product([*_factors(first), *_factors(second)])
    if operator == "/":
        text = f"{_inside(first, 2)}/{_inside(second, 3)}"
        return _Form(PRECEDENCE["/"], text, (f"/{text}",))
    return _Form(PRECEDENCE["^"], f"{_inside(first, 4)}^{_inside(second, 3)}")


def _inside(form: _Form, lowest: int) -> str:
    """The text as an operand, in parentheses if its precedence is lower."""
    return form.text if form.precedence >= lowest else f"({form.text})"


def _terms(form: _Form) -> Sequence[str]:
    return form.parts if form.precedence == PRECEDENCE["+"] else [f"+{form.text}"]


def _sum(terms: Sequence[str]) -> _Form:
    """Terms that are added come first."""
    ordered = sorted(terms, key=lambda term: (term[0] == "-", len(term), term))
    return _Form(PRECEDENCE["+"], "".join(ordered).removeprefix("+"), tuple(ordered))


def _factors(form: _Form) -> Sequence[str]:
    return form.parts if form.precedence == PRECEDENCE["*"] else [_inside(form, 3)]


def _product(factors: Sequence[str]) -> _Form:
    """A quotient stays one, `6/2*3`, because each division has to be exact; the first needs no parentheses."""
    ordered = sorted(factors, key=lambda factor: (factor[0] != "/", len(factor), factor))
    first, *others = ordered
    rest = [f"({factor[1:]})" if factor[0] == "/" else factor for factor in others]
    return _Form(PRECEDENCE["*"], "*".join([first.removeprefix("/"), *rest]), tuple(ordered))
