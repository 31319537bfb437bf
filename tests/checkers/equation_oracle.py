"""Equations by recursive descent with fractions: a second, plainer way to the verdicts."""

import random
from fractions import Fraction

DIGITS = "0123456789abcdef"
LIMIT = 2**128


class Malformed(Exception):
    pass


class NoValue(Exception):
    pass


def verdict(formula: str, base: int = 10) -> bool:
    """Whether an equation is correct."""
    try:
        sides = [Reader(side, base).whole() for side in "".join(formula.split()).split("=")]
    except Malformed:
        return False
    if len(sides) != 2:
        return False
    try:
        return value(sides[0]) == value(sides[1])
    except NoValue:
        return False


def value(tree: tuple) -> Fraction:
    """The value of a tree: ("number", n), ("-", operand) or (operator, first, second)."""
    if tree[0] == "number":
        result = Fraction(tree[1])
    elif len(tree) == 2:
        result = -value(tree[1])
    else:
        result = applied(tree[0], value(tree[1]), value(tree[2]))
    if result.denominator != 1 or abs(result) > LIMIT:
        raise NoValue
    return result


def applied(operator: str, first: Fraction, second: Fraction) -> Fraction:
    if operator == "^":
        if second < 0:
            raise NoValue
        return power(first, int(second))
    if operator == "/" and second == 0:
        raise NoValue
    return {"+": first + second, "-": first - second, "*": first * second, "/": first / (second or 1)}[operator]


def power(first: Fraction, exponent: int) -> Fraction:
    if abs(first) <= 1:
        return Fraction(1) if exponent == 0 or (first == -1 and exponent % 2 == 0) else first
    result = Fraction(1)
    for _ in range(exponent):
        result *= first
        if abs(result) > LIMIT:
            raise NoValue
    return result


class Reader:
    """Recursive descent: sum, product, power, atom."""

    def __init__(self, text: str, base: int) -> None:
        self.text, self.at, self.base = text, 0, base

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def whole(self) -> tuple:
        tree = self.sum()
        if self.peek():
            raise Malformed
        return tree

    def sum(self) -> tuple:
        negative = self.peek() == "-" and self.next()
        tree = ("-", self.product()) if negative else self.product()
        while self.peek() in ("+", "-"):
            tree = (self.next(), tree, self.product())
        return tree

    def product(self) -> tuple:
        tree = self.power()
        while self.peek() in ("*", "/"):
            tree = (self.next(), tree, self.power())
        return tree

    def power(self) -> tuple:
        tree = self.atom()
        return (self.next(), tree, self.power()) if self.peek() == "^" else tree

    def atom(self) -> tuple:
        if self.peek() == "(":
            self.next()
            tree = self.sum()
            if self.peek() != ")":
                raise Malformed
            self.next()
            return tree
        number = ""
        while self.peek() and self.peek() in DIGITS[: self.base]:
            number += self.next()
        if not number or (number[0] == "0" and number != "0"):
            raise Malformed
        return ("number", sum(DIGITS.index(d) * self.base**i for i, d in enumerate(reversed(number))))


def in_base(number: int, base: int) -> str:
    text, rest = "", abs(number)
    while rest or not text:
        text, rest = DIGITS[rest % base] + text, rest // base
    return "-" + text if number < 0 else text


def random_expression(rng: random.Random, base: int, operators: int) -> str:
    """A text of that many operators, with parentheses and minus signs here and there."""
    if operators == 0:
        return in_base(rng.choice([rng.randrange(4), rng.randrange(40), rng.randrange(300)]), base)
    first = rng.randrange(operators)
    texts = [random_expression(rng, base, n) for n in (first, operators - 1 - first)]
    texts = [f"({text})" if text[0] == "-" or rng.random() < 0.4 else text for text in texts]
    sign = "-" if rng.random() < 0.1 else ""
    return sign + rng.choice("++--**/^").join(texts)


def random_formula(rng: random.Random, base: int) -> str:
    """A well-formed equation that is often correct."""
    left = random_expression(rng, base, rng.randrange(5))
    try:
        number = int(value(Reader(left, base).whole()))
    except NoValue:
        number = rng.randrange(100)
    if rng.random() < 0.3:
        number += rng.choice([-10, -1, 1, 10])
    if abs(number) < 100 and rng.random() < 0.3:
        other = rng.randrange(100)
        return f"{left}={in_base(number + other, base)}-{in_base(other, base)}"
    return f"{left}={in_base(number, base)}"


def mutated(rng: random.Random, formula: str, symbols: str) -> str:
    """The formula with one symbol replaced, removed or added, or two exchanged."""
    at, other = rng.randrange(len(formula)), rng.randrange(len(formula))
    kind = rng.randrange(4)
    if kind == 3:
        exchanged = list(formula)
        exchanged[at], exchanged[other] = exchanged[other], exchanged[at]
        return "".join(exchanged)
    return formula[:at] + (rng.choice(symbols) if kind else "") + formula[at + (kind < 2) :]
