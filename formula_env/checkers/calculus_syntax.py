"""Identities of calculus as text and as trees, `d(x^2)=2*x`: a parser without recursion, and a printer.

A formula is two expressions around one `=`. An expression is made of x, integers without leading zeros, π, e,
`+ - * / ^`, parentheses, a minus sign at its beginning or after an opening parenthesis, and the functions
`sin( cos( tan( exp( log( sqrt(` and `d(`, the derivative with respect to x; the opening parenthesis is part of
the symbol. `^` binds first and is right-associative, then come `*` and `/`, then `+`, `-` and the minus sign:
`-x^2` is -(x^2). The left side may be an integral, `∫(…)`, and nothing else beside it.
"""

import re
from typing import NamedTuple

from formula_env.errors import FormulaError

FUNCTIONS = ("sin(", "cos(", "tan(", "exp(", "log(", "sqrt(")
DERIVATIVE, INTEGRAL = "d(", "∫("
SYMBOLS = ("x", *"0123456789", "π", "e", *"+-*/^", *FUNCTIONS, DERIVATIVE, INTEGRAL, "(", ")", "=")
"""All symbols of formulae."""
MAX_CHARACTERS = 256
"""Characters of a formula at most, white space included."""
MAX_NODES = 64
"""Numbers, constants, variables, operators and functions of a formula at most."""

NEGATE = "negate"
"""A minus sign with one operand, in postfix order and in trees."""
PRECEDENCE = {"+": 1, "-": 1, NEGATE: 1, "*": 2, "/": 2, "^": 3}
OPENING = {"(", *FUNCTIONS, DERIVATIVE}
LEAVES = {"x", "π", "e"}

_TOKEN = re.compile(r"[0-9]+|(?:sin|cos|tan|exp|log|sqrt|d|∫)\(|[xπe()*/^+-]")

Postfix = list[str]
"""An expression in reverse Polish notation: integers in digits, and symbols without `(`, `)`."""


class Formula(NamedTuple):
    """Both sides of a formula in postfix order; of an integral, the left side is what is integrated."""

    left: Postfix
    right: Postfix
    is_integral: bool


class Node(NamedTuple):
    """An expression as a tree: a leaf, an operator or a function, with its operands."""

    symbol: str
    operands: tuple["Node", ...] = ()


# --- reading --------------------------------------------------------------------------------------------------


def parse(text: str) -> Formula:
    """Read a formula; white space is ignored. Raises FormulaError for a text that is not well-formed."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"a formula has at most {MAX_CHARACTERS} characters, this one has {len(text):,}")
    sides = "".join(text.split()).split("=")
    if len(sides) != 2:
        raise FormulaError(f"a formula has one =, not {len(sides) - 1}: {text!r}")
    left, right = sides
    is_integral = left.startswith(INTEGRAL) and left.endswith(")")
    try:
        formula = Formula(_postfix(left[2:-1] if is_integral else left), _postfix(right), is_integral)
    except FormulaError as error:
        raise FormulaError(f"{error}: {text!r}") from None
    nodes = len(formula.left) + len(formula.right) + is_integral
    if nodes > MAX_NODES:
        raise FormulaError(
            f"a formula has at most {MAX_NODES} numbers, operators and functions, not {nodes}: {text!r}"
        )
    return formula


def _tokens(side: str) -> list[str]:
    tokens = _TOKEN.findall(side)
    if sum(map(len, tokens)) < len(side):
        unknown = _TOKEN.sub("", side)[0]
        raise FormulaError(f"{unknown!r} is no symbol of calculus; the symbols are {' '.join(SYMBOLS)}")
    return tokens


def _postfix(side: str) -> Postfix:
    """Dijkstra's shunting yard: operators wait on a stack until their last operand is complete."""
    output: Postfix = []
    waiting: list[str] = []
    previous = "("
    expects_operand = True
    for token in _tokens(side):
        if expects_operand:
            if token in OPENING:
                waiting.append(token)
            elif token in LEAVES or token[0] in "123456789" or token == "0":
                output.append(token)
                expects_operand = False
            elif token == "-" and previous in OPENING:
                waiting.append(NEGATE)
            else:
                raise FormulaError(_misplaced(token, previous, bool(output or waiting)))
        elif (precedence := PRECEDENCE.get(token)) is not None:
            _move(waiting, output, precedence + (token == "^"))
            waiting.append(token)
            expects_operand = True
        elif token == ")":
            _move(waiting, output, 1)
            if not waiting:
                raise FormulaError("a ) closes nothing")
            if (opening := waiting.pop()) != "(":
                output.append(opening)
        else:
            raise FormulaError(_misplaced(token, previous, True))
        previous = token
    if expects_operand:
        raise FormulaError(f"a side can't end with {previous}" if output or waiting else "a side is empty")
    _move(waiting, output, 1)
    if waiting:
        raise FormulaError(f"a {waiting[-1]} is not closed")
    return output


def _move(waiting: list[str], output: Postfix, lowest: int) -> None:
    """Move the operators of at least this precedence from the top of the stack to the output."""
    while waiting and PRECEDENCE.get(waiting[-1], 0) >= lowest:
        output.append(waiting.pop())


def _misplaced(token: str, previous: str, has_previous: bool) -> str:
    if token == INTEGRAL:
        return "∫( can only begin the left side, and its ) must end it"
    if token.isdigit() and token[0] == "0" and len(token) > 1:
        return f"{token} has a leading zero"
    return f"{token} can't " + (f"stand after {previous}" if has_previous else "begin a side")


def tree(postfix: Postfix) -> Node:
    """The tree of an expression in postfix order."""
    stack: list[Node] = []
    for item in postfix:
        if item == NEGATE or item in OPENING:
            stack.append(Node(item, (stack.pop(),)))
        elif item in PRECEDENCE:
            second, first = stack.pop(), stack.pop()
            stack.append(Node(item, (first, second)))
        else:
            stack.append(Node(item))
    return stack[0]


# --- printing -------------------------------------------------------------------------------------------------


def write(node: Node) -> str:
    """The expression as text without needless parentheses; `tree` of what `parse` reads in it is the same tree."""
    symbol, operands = node
    if not operands:
        return symbol
    if symbol == NEGATE:
        return f"-{_inside(operands[0], 2)}"
    if symbol in OPENING:
        return f"{symbol}{write(operands[0])})"
    precedence = PRECEDENCE[symbol]
    first, second = operands
    is_power = symbol == "^"
    leading = write(first) if precedence == 1 else _inside(first, precedence + is_power)
    return f"{leading}{symbol}{_inside(second, precedence + (not is_power))}"


def _inside(node: Node, lowest: int) -> str:
    """The expression as text, in parentheses if it binds less than it must at this place."""
    text = write(node)
    return f"({text})" if PRECEDENCE.get(node.symbol, lowest) < lowest else text


def write_formula(left: Node, right: Node, is_integral: bool = False) -> str:
    """The formula as text."""
    return f"{INTEGRAL}{write(left)})={write(right)}" if is_integral else f"{write(left)}={write(right)}"
