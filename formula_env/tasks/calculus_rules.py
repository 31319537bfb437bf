"""Symbolic differentiation of trees, with light simplification where each is put together."""

from collections.abc import Callable
from math import gcd, isqrt

from formula_env.checkers.calculus_syntax import NEGATE, Node

X = Node("x")
ZERO, ONE = Node("0"), Node("1")
LARGEST_FOLDED = 999
"""Largest absolute value up to which a power of integers is replaced by its value."""


def integer(value: int) -> Node:
    """The tree of an integer."""
    return Node(str(value)) if value >= 0 else Node(NEGATE, (Node(str(-value)),))


def value_of(node: Node) -> int | None:
    """The integer that a tree is; None if it is none."""
    if node.symbol == NEGATE:
        inner = node.operands[0].symbol
        return -int(inner) if inner.isdigit() else None
    return int(node.symbol) if node.symbol.isdigit() else None


def add(first: Node, second: Node) -> Node:
    """The sum, from left to right, without 0."""
    one, two = value_of(first), value_of(second)
    if one is not None and two is not None:
        return integer(one + two)
    if one == 0:
        return second
    if two == 0:
        return first
    if second.symbol == NEGATE:
        return subtract(first, second.operands[0])
    if first.symbol == NEGATE:
        return subtract(second, first.operands[0])
    if second.symbol in "+-":
        join = add if second.symbol == "+" else subtract
        return join(add(first, second.operands[0]), second.operands[1])
    return Node("+", (first, second))


def subtract(first: Node, second: Node) -> Node:
    """The difference, from left to right, without 0."""
    one, two = value_of(first), value_of(second)
    if one is not None and two is not None:
        return integer(one - two)
    if first == second:
        return ZERO
    if one == 0:
        return negate(second)
    if two == 0:
        return first
    if second.symbol == NEGATE:
        return add(first, second.operands[0])
    if second.symbol in "+-":
        join = subtract if second.symbol == "+" else add
        return join(subtract(first, second.operands[0]), second.operands[1])
    return Node("-", (first, second))


def negate(node: Node) -> Node:
    """The negative."""
    if (value := value_of(node)) is not None:
        return integer(-value)
    if node.symbol == NEGATE:
        return node.operands[0]
    if node.symbol == "-":
        return subtract(node.operands[1], node.operands[0])
    return Node(NEGATE, (node,))


def multiply(first: Node, second: Node) -> Node:
    """The product, from left to right with an integer in front, one fraction, and the sign before it."""
    one, two = value_of(first), value_of(second)
    if one is not None and two is not None:
        return integer(one * two)
    if 0 in (one, two):
        return ZERO
    if one == 1:
        return second
    if two == 1:
        return first
    if first.symbol == NEGATE:
        return negate(multiply(first.operands[0], second))
    if second.symbol == NEGATE:
        return negate(multiply(first, second.operands[0]))
    if first.symbol == "/":
        return divide(multiply(first.operands[0], second), first.operands[1])
    if second.symbol == "/":
        return divide(multiply(first, second.operands[0]), second.operands[1])
    if second.symbol == "*":
        return multiply(multiply(first, second.operands[0]), second.operands[1])
    if two is not None:
        return multiply(second, first)
    if one is not None and first.symbol.isdigit() and second.symbol == "*":
        return multiply(multiply(first, second.operands[0]), second.operands[1])
    return Node("*", (first, second))


def divide(first: Node, second: Node) -> Node:
    """The quotient, with one fraction in lowest terms and the sign before it."""
    one, two = value_of(first), value_of(second)
    if two == 1:
        return first
    if two == 0:
        return Node("/", (first, second))  # it has no value
    if one == 0:
        return ZERO
    if first == second:
        return ONE
    if first.symbol == NEGATE:
        return negate(divide(first.operands[0], second))
    if second.symbol == NEGATE:
        return negate(divide(first, second.operands[0]))
    if second.symbol == "/":
        return divide(multiply(first, second.operands[1]), second.operands[0])
    if first.symbol == "/":
        return divide(first.operands[0], multiply(first.operands[1], second))
    factor = gcd(_coefficient(first), _coefficient(second))
    if factor > 1:
        return divide(_without(first, factor), _without(second, factor))
    return Node("/", (first, second))


def _coefficient(node: Node) -> int:
    """The integer in front of a product; 1 if there is none."""
    while node.symbol == "*":
        node = node.operands[0]
    return value_of(node) or 1


def _without(node: Node, factor: int) -> Node:
    """The product with its coefficient divided by a factor of it."""
    if node.symbol == "*":
        return multiply(_without(node.operands[0], factor), node.operands[1])
    return integer((value_of(node) or 1) // factor)


def power(base: Node, exponent: Node) -> Node:
    """The power, without exponents 0 and 1."""
    one, two = value_of(base), value_of(exponent)
    if two == 0 or one == 1:
        return ONE
    if two == 1:
        return base
    if one is None or two is None or not 0 < two <= LARGEST_FOLDED.bit_length():
        return Node("^", (base, exponent))
    value = one**two
    return integer(value) if abs(value) <= LARGEST_FOLDED else Node("^", (base, exponent))


_KNOWN = {
    ("sin(", ZERO): ZERO,
    ("tan(", ZERO): ZERO,
    ("cos(", ZERO): ONE,
    ("exp(", ZERO): ONE,
    ("exp(", ONE): Node("e"),
    ("log(", ONE): ZERO,
    ("log(", Node("e")): ONE,
}


def apply(function: str, argument: Node) -> Node:
    """The value of a function, where it is an integer or e, or else the function of the argument."""
    if (known := _KNOWN.get((function, argument))) is not None:
        return known
    value = value_of(argument)
    if function == "sqrt(" and value is not None and value >= 0 and isqrt(value) ** 2 == value:
        return integer(isqrt(value))
    return Node(function, (argument,))


BINARY: dict[str, Callable[[Node, Node], Node]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "^": power,
}


def depends_on_x(node: Node) -> bool:
    """Whether x occurs in the tree."""
    return node.symbol == "x" or any(map(depends_on_x, node.operands))


_OUTER: dict[str, Callable[[Node], Node]] = {
    "sin(": lambda u: apply("cos(", u),
    "cos(": lambda u: negate(apply("sin(", u)),
    "tan(": lambda u: divide(ONE, power(apply("cos(", u), integer(2))),
    "exp(": lambda u: apply("exp(", u),
    "log(": lambda u: divide(ONE, u),
    "sqrt(": lambda u: divide(ONE, multiply(integer(2), apply("sqrt(", u))),
}
"""The derivative of each function at u."""


def differentiate(node: Node) -> Node:
    """The derivative with respect to x of a tree without derivatives."""
    if not depends_on_x(node):
        return ZERO
    symbol, operands = node
    if symbol == "x":
        return ONE
    if symbol in _OUTER:
        return multiply(differentiate(operands[0]), _OUTER[symbol](operands[0]))
    if symbol == NEGATE:
        return negate(differentiate(operands[0]))
    u, v = operands
    if symbol == "^":
        return _derivative_of_power(u, v)
    du, dv = differentiate(u), differentiate(v)
    if symbol in "+-":
        return BINARY[symbol](du, dv)
    if symbol == "*":
        return add(multiply(du, v), multiply(u, dv))
    if dv == ZERO:
        return divide(du, v)
    return divide(subtract(multiply(du, v), multiply(u, dv)), power(v, integer(2)))


def _derivative_of_power(u: Node, v: Node) -> Node:
    du, dv = differentiate(u), differentiate(v)
    if dv == ZERO:
        return multiply(multiply(v, power(u, subtract(v, ONE))), du)
    growth = multiply(dv, apply("log(", u))
    if du != ZERO:
        growth = add(growth, divide(multiply(v, du), u))
    return multiply(power(u, v), growth)
