"""Integer expressions, `3*(4+1)`: a parser without recursion, and exact values with bounded work.

An expression is made of integers without leading zeros, `+ - * / ^`, parentheses, and a minus sign at its
beginning or after `(`. `^` binds first and is right-associative, then come `*` and `/`, then `+`, `-` and the
minus sign: `-2^2` is -4.
"""

import re
from functools import cache

from formula_env.errors import FormulaError

DIGITS = "0123456789abcdef"
OPERATORS = "+-*/^"
MAX_SYMBOLS = 1_000
"""Symbols of a formula at most, white space included; longer ones are not correct."""
MAX_BITS = 128
"""Absolute values above 2 to this power are not computed; a formula that has one is not correct."""

PRECEDENCE = {"(": 0, "+": 1, "-": 1, "negate": 1, "*": 2, "/": 2, "^": 3}

Postfix = list[int | str]
"""An expression in reverse Polish notation: integers, the operators, and `negate` for a minus sign."""


def parse(formula: str, base: int = 10) -> tuple[Postfix, Postfix]:
    """Both sides of an equation in postfix order; white space is ignored.

    Raises FormulaError for a text that is not well-formed.
    """
    if len(formula) > MAX_SYMBOLS:
        raise FormulaError(f"an equation has at most {MAX_SYMBOLS:,} symbols, this one has {len(formula):,}")
    sides = "".join(formula.split()).split("=")
    if len(sides) != 2:
        raise FormulaError(f"an equation has one =, not {len(sides) - 1}: {formula!r}")
    try:
        return _postfix(sides[0], base), _postfix(sides[1], base)
    except FormulaError as error:
        raise FormulaError(f"{error}: {formula!r}") from None


def evaluate(expression: Postfix) -> int | None:
    """The exact value of an expression; None where it has none, or it would take too large numbers.

    A division that leaves a remainder, a divisor of 0 and a negative exponent have no value; 0^0 is 1.
    """
    operands: list[int] = []
    for item in expression:
        if item == "negate":
            value = -operands.pop()
        elif isinstance(item, str):
            second, first = operands.pop(), operands.pop()
            value = _apply(item, first, second)
        else:
            value = item
        if value is None or abs(value) > 2**MAX_BITS:
            return None
        operands.append(value)
    return operands[0]


def _apply(operator: str, first: int, second: int) -> int | None:
    if operator == "+":
        return first + second
    if operator == "-":
        return first - second
    if operator == "*":
        return first * second
    if operator == "/":
        return first // second if second and first % second == 0 else None
    too_large = abs(first) > 1 and second > MAX_BITS
    return None if second < 0 or too_large else first**second


@cache
def _token_pattern(base: int) -> re.Pattern[str]:
    return re.compile(f"[{DIGITS[:base]}]+|[{re.escape(OPERATORS)}()]")


def _tokens(side: str, base: int) -> list[str]:
    pattern = _token_pattern(base)
    tokens = pattern.findall(side)
    if sum(map(len, tokens)) < len(side):
        unknown = pattern.sub("", side)[0]
        raise FormulaError(f"{unknown!r} is no symbol of equations in base {base}")
    return tokens


def _postfix(side: str, base: int) -> Postfix:
    """Dijkstra's shunting yard: operators wait on a stack until their second operand is complete."""
    output: Postfix = []
    waiting: list[str] = []
    previous = ""
    for token in _tokens(side, base):
        expects_operand = not previous or previous in PRECEDENCE
        if token == "-" and previous in ("", "("):
            waiting.append("negate")
        elif expects_operand != (token == "(" or token[0] in DIGITS):
            raise FormulaError(f"{token} can't " + (f"stand after {previous}" if previous else "begin a side"))
        elif token == "(":
            waiting.append(token)
        elif token == ")":
            _move(waiting, output, lowest=1)
            if not waiting:
                raise FormulaError("a ) closes nothing")
            waiting.pop()
        elif token in PRECEDENCE:
            _move(waiting, output, lowest=PRECEDENCE[token] + (token == "^"))
            waiting.append(token)
        elif token[0] == "0" and len(token) > 1:
            raise FormulaError(f"{token} has a leading zero")
        else:
            output.append(int(token, base))
        previous = token
    if not previous:
        raise FormulaError("a side is empty")
    if previous in PRECEDENCE:
        raise FormulaError(f"a side can't end with {previous}")
    _move(waiting, output, lowest=1)
    if waiting:
        raise FormulaError("a ( is not closed")
    return output


def _move(waiting: list[str], output: Postfix, lowest: int) -> None:
    """Move the operators of at least this precedence from the top of the stack to the output."""
    while waiting and PRECEDENCE[waiting[-1]] >= lowest:
        output.append(waiting.pop())
