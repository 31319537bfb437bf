"""Boolean formulae by recursive descent, evaluated with Python's bools: a second, plainer way to the verdicts."""

import random
from itertools import product

VARIABLES = "abcde"
ASSIGNMENTS = [dict(zip(VARIABLES, values, strict=True)) for values in product([False, True], repeat=5)]


class Malformed(Exception):
    pass


def verdict(formula: str) -> bool:
    """Whether a formula is a tautology."""
    try:
        tree = Reader("".join(formula.split())).whole()
    except Malformed:
        return False
    return all(value(tree, assignment) for assignment in ASSIGNMENTS)


def value(tree: tuple, assignment: dict[str, bool]) -> bool:
    """The truth value of a tree: (variable,), ("~", operand) or (operator, first, second)."""
    operands = [value(operand, assignment) for operand in tree[1:]]
    if tree[0] == "~":
        return not operands[0]
    if tree[0] == "&":
        return all(operands)
    if tree[0] == "|":
        return any(operands)
    if tree[0] == ">":
        return operands[1] if operands[0] else True
    return operands[0] == operands[1] if tree[0] == "=" else assignment[tree[0]]


class Reader:
    """Recursive descent: equivalence, implication, disjunction, conjunction, negation."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def whole(self) -> tuple:
        tree = self.equivalence()
        if self.peek():
            raise Malformed
        return tree

    def equivalence(self) -> tuple:
        tree = self.implication()
        while self.peek() == "=":
            tree = (self.next(), tree, self.implication())
        return tree

    def implication(self) -> tuple:
        tree = self.disjunction()
        return (self.next(), tree, self.implication()) if self.peek() == ">" else tree

    def disjunction(self) -> tuple:
        tree = self.conjunction()
        while self.peek() == "|":
            tree = (self.next(), tree, self.conjunction())
        return tree

    def conjunction(self) -> tuple:
        tree = self.negation()
        while self.peek() == "&":
            tree = (self.next(), tree, self.negation())
        return tree

    def negation(self) -> tuple:
        if self.peek() == "~":
            return (self.next(), self.negation())
        if self.peek() == "(":
            self.next()
            tree = self.equivalence()
            if self.peek() != ")":
                raise Malformed
            self.next()
            return tree
        if not self.peek() or self.peek() not in VARIABLES:
            raise Malformed
        return (self.next(),)


LAWS = [
    "x>x", "x|~x", "x=~~x", "~(x&~x)", "x&y>x", "x>x|y", "x>y>x", "x&y=y&x", "~(x&y)=~x|~y", "~(x|y)=~x&~y",
    "x>y=~y>~x", "x&(x>y)>y", "(x>y)&(y>z)>x>z", "x&(y|z)=x&y|x&z", "(x>y>z)>(x>y)>x>z", "((x>y)>x)>x",
    "(x=y)=z=x=y=z", "(x>y)&(y>x)=x=y", "x>y>z=x&y>z", "x|y>~x>y",
]  # fmt: skip
"""Of any formulae x, y and z."""


def random_formula(rng: random.Random, variables: str = VARIABLES) -> str:
    """A well-formed formula: in half of the cases a law of logic, or one that was broken."""
    if rng.random() < 0.5:
        return random_text(rng, random_tree(rng, rng.randrange(6), variables[: rng.randint(1, len(variables))]))
    law = rng.choice(LAWS)
    for name in "xyz":
        tree = random_tree(rng, rng.randrange(3), variables)
        law = law.replace(name, f"({random_text(rng, tree)})" if tree[1:] else tree[0])
    if rng.random() < 0.2:
        place = rng.choice([i for i, symbol in enumerate(law) if symbol in "&|>="])
        law = law[:place] + rng.choice("&|>=") + law[place + 1 :]
    return law


def random_tree(rng: random.Random, operators: int, variables: str = VARIABLES) -> tuple:
    """A tree with that many operators of two operands."""
    if rng.random() < 0.2:
        return ("~", random_tree(rng, operators, variables))
    if operators == 0:
        return (rng.choice(variables),)
    first = rng.randrange(operators)
    operands = [random_tree(rng, n, variables) for n in (first, operators - 1 - first)]
    return (rng.choice("&|>="), *operands)


def random_text(rng: random.Random, tree: tuple) -> str:
    """A text of the tree, with all the parentheses that it needs and some more."""
    if not tree[1:]:
        return f"({tree[0]})" if rng.random() < 0.05 else tree[0]
    texts = [random_text(rng, operand) for operand in tree[1:]]
    parts = [f"({text})" if operand[1:] else text for operand, text in zip(tree[1:], texts, strict=True)]
    for i in range(len(parts)):  # one after the other, those that change nothing are left out at random
        bare = [*parts[:i], texts[i], *parts[i + 1 :]]
        if rng.random() < 0.6 and Reader(_joined(tree, bare)).whole() == tree:
            parts = bare
    return _joined(tree, parts)


def _joined(tree: tuple, parts: list[str]) -> str:
    return tree[0].join(parts) if len(parts) == 2 else tree[0] + parts[0]


def reordered(rng: random.Random, tree: tuple) -> tuple:
    """The tree with operands of `&`, `|` and `=` exchanged, or grouped otherwise, here and there."""
    operands = [reordered(rng, operand) for operand in tree[1:]]
    if tree[0] in "&|=" and rng.random() < 0.5:
        operands.reverse()
    if tree[0] in "&|=" and operands[0][0] == tree[0] and rng.random() < 0.5:
        operands = [operands[0][1], (tree[0], operands[0][2], operands[1])]
    return (tree[0], *operands)
