"""Random identities of calculus: drawn functions with their derivatives, and integrals put together from rules."""

from collections.abc import Callable
from functools import cache
from random import Random

from formula_env.checkers.calculus_syntax import DERIVATIVE, FUNCTIONS, Node, write_formula
from formula_env.tasks.calculus_rules import (
    BINARY,
    ONE,
    X,
    add,
    apply,
    depends_on_x,
    differentiate,
    divide,
    integer,
    multiply,
    negate,
    power,
    subtract,
)

# --- derivatives ----------------------------------------------------------------------------------------------


def derivative(rng: Random, length: int) -> str | None:
    """`d(f)=g` of a random tree f and its derivative g, both simplified; None if f does not depend on x.

    f has 1 to length/4 operators and functions.
    """
    f = random_tree(rng, rng.randint(1, max(1, length // 4)))
    if not depends_on_x(f):
        return None
    return write_formula(Node(DERIVATIVE, (f,)), differentiate(f))


@cache
def num_trees(empty: int, inner: int) -> int:
    """D(e, n): number of ways to complete e empty places with unary-binary trees of n inner nodes in all."""
    if not inner:
        return 1
    if not empty:
        return 0
    return num_trees(empty - 1, inner) + num_trees(empty, inner - 1) + num_trees(empty + 1, inner - 1)


def random_tree(rng: Random, inner: int) -> Node:
    """A simplified random expression, whose tree has a uniform shape with this number of inner nodes.

    Places are filled from left to right by a leaf, a function or an operator, by the share of trees that go on so.
    """
    return _tree_of(random_prefix(rng, inner))


def random_prefix(rng: Random, inner: int) -> list[str]:
    """Symbols in Polish notation."""
    symbols: list[str] = []
    empty = 1
    while empty:
        u = rng.randrange(num_trees(empty, inner))
        leaf = num_trees(empty - 1, inner)
        if u < leaf:
            symbols.append(_random_leaf(rng))
            empty -= 1
            continue
        is_unary = u < leaf + num_trees(empty, inner - 1)
        symbols.append(rng.choice(FUNCTIONS if is_unary else tuple(BINARY)))
        empty += not is_unary
        inner -= 1
    return symbols


def _random_leaf(rng: Random) -> str:
    u = rng.random()
    if u < 0.6:
        return "x"
    return str(rng.randint(1, 9)) if u < 0.9 else rng.choice("πe")


def _tree_of(prefix: list[str]) -> Node:
    stack: list[Node] = []
    for symbol in reversed(prefix):
        if symbol in BINARY:
            first, second = stack.pop(), stack.pop()
            stack.append(BINARY[symbol](first, second))
        elif symbol in FUNCTIONS:
            stack.append(apply(symbol, stack.pop()))
        else:
            stack.append(Node(symbol))
    return stack[0]


# --- integrals ------------------------------------------------------------------------------------------------

Rule = Callable[[Node, Random], tuple[Node, Node]]
"""A function of u and its integral over u, with random numbers in them."""


def _power_rule(u: Node, rng: Random) -> tuple[Node, Node]:
    n = rng.choice((1, 1, 2, 2, 3, 4, 5, 6, 7, 8))
    return power(u, integer(n)), divide(power(u, integer(n + 1)), integer(n + 1))


def _inverse_power_rule(u: Node, rng: Random) -> tuple[Node, Node]:
    n = rng.randint(1, 7)
    return divide(ONE, power(u, integer(n + 1))), divide(integer(-1), multiply(integer(n), power(u, integer(n))))


def _exponential_rule(u: Node, rng: Random) -> tuple[Node, Node]:
    base = rng.choice((*map(integer, range(2, 10)), Node("π"), Node("e")))
    return power(base, u), divide(power(base, u), apply("log(", base))


def _of(function: str, u: Node) -> Node:
    return apply(function, u)


RULES: tuple[Rule, ...] = (
    _power_rule,
    _inverse_power_rule,
    _exponential_rule,
    lambda u, _: (divide(ONE, u), _of("log(", u)),
    lambda u, _: (_of("sin(", u), negate(_of("cos(", u))),
    lambda u, _: (_of("cos(", u), _of("sin(", u)),
    lambda u, _: (_of("exp(", u), _of("exp(", u)),
    lambda u, _: (_of("tan(", u), negate(_of("log(", _of("cos(", u)))),
    lambda u, _: (divide(ONE, power(_of("cos(", u), integer(2))), _of("tan(", u)),
    lambda u, _: (_of("log(", u), subtract(multiply(u, _of("log(", u)), u)),
    lambda u, _: (_of("sqrt(", u), divide(multiply(multiply(integer(2), u), _of("sqrt(", u)), integer(3))),
    lambda u, _: (divide(ONE, _of("sqrt(", u)), multiply(integer(2), _of("sqrt(", u))),
    lambda u, _: (multiply(u, _of("exp(", u)), multiply(subtract(u, ONE), _of("exp(", u))),
    lambda u, _: (multiply(u, _of("cos(", u)), add(_of("cos(", u), multiply(u, _of("sin(", u)))),
    lambda u, _: (multiply(u, _of("sin(", u)), subtract(_of("sin(", u), multiply(u, _of("cos(", u)))),
)


def integral(rng: Random) -> str:
    """`∫(f)=F`: a sum of one or two terms, each a rule applied to x, or to a function of x by substitution."""
    f, antiderivative = _random_term(rng)
    if rng.random() < 0.4:
        other, its_antiderivative = _random_term(rng)
        join = rng.choice((add, subtract))
        f, antiderivative = join(f, other), join(antiderivative, its_antiderivative)
    return write_formula(f, antiderivative, is_integral=True)


def _random_term(rng: Random) -> tuple[Node, Node]:
    u = _random_inner(rng)
    f, antiderivative = rng.choice(RULES)(u, rng)
    du = differentiate(u)
    if depends_on_x(du):
        f = multiply(du, f)
    else:
        antiderivative = divide(antiderivative, du)
    number = integer(rng.randint(2, 99))
    factor = rng.choice((ONE, ONE, integer(-1), number, number, divide(ONE, number), Node("π"), Node("e")))
    return multiply(factor, f), multiply(factor, antiderivative)


def _random_inner(rng: Random) -> Node:
    """x, a linear function of x, or another simple one."""
    kind = rng.random()
    slope, shift = integer(rng.randint(1, 9)), integer(rng.randint(1, 9))
    if kind < 0.2:
        return X
    if kind < 0.4:
        return multiply(slope, X)
    if kind < 0.6:
        return add(multiply(slope, X), shift)
    if kind < 0.7:
        return subtract(shift, multiply(slope, X))
    if kind < 0.8:
        return divide(X, slope)
    if kind < 0.9:
        return add(power(X, integer(rng.randint(2, 4))), shift)
    return apply(rng.choice(FUNCTIONS), X)
