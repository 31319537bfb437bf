"""Equations between integers, `12+7=19`: an expression of several numbers, and its value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers import equation_forms
from formula_env.checkers.batches import Codes
from formula_env.checkers.equation import ALPHABET, ShiftReduce, check_codes
from formula_env.checkers.expression import DIGITS, OPERATORS, evaluate, parse
from formula_env.errors import FormulaError, check_range, check_types
from formula_env.tasks.automaton import BLOCK, CheckedTask, Paths
from formula_env.tasks.equation_grammar import Grammar
from formula_env.vocabulary import Tokens, Vocabulary

COUNT_LIMIT = 2**24
"""Left sides at most that are evaluated one by one to count the correct formulae."""


@dataclass(frozen=True)
class Equation(CheckedTask):
    """`12+7=19` is correct: left of `=` an expression of a fixed number of integers, right of it its exact value.

    Numbers have no leading zeros. `^` binds first and is right-associative, then come `*` and `/`, then `+` and
    `-`. A division must be exact and an exponent not negative. Each left side has at most one right side.
    Sampling is slow where most left sides have none, as with several `/` between large integers.
    """

    length: int = 9
    """Number of symbols of the longest formula, without EOS; at most 63."""
    operators: str = "+"
    """Operators of the left side, out of `+-*/^`; the right side may be negative if `-` is one of them."""
    parentheses: bool = False
    """Parentheses on the left side, each pair around at least one operator, but not around the whole side."""
    operands: int = 2
    """Number of integers on the left side, from 2 to 6."""
    largest: int = 99
    """Largest integer on the left side, at most 1,000,000."""
    base: int = 10
    """Base of all integers, from 2 to 16."""

    grammar: ClassVar[str] = (
        'formula = left "=" ("0" | ["-"] positive); left = operand operator operand {operator operand}; '
        'operand = "0" | positive | "(" left ")"; operator = "+" | "-" | "*" | "/" | "^"; '
        'positive = "1"…"9" {"0"…"9"}'
    )
    difficulty: ClassVar[str] = (
        "Formulae are written from left to right, but the first digit of the value may depend on all digits of "
        "the left side, by carries from the last one on."
    )

    def __post_init__(self) -> None:
        check_types(self)
        check_range(2, 6, operands=self.operands)
        check_range(2 * self.operands + 1, 63, length=self.length)
        check_range(1, 1_000_000, largest=self.largest)
        check_range(2, 16, base=self.base)
        operators = set(self.operators)
        if not operators or not operators <= set(OPERATORS) or len(operators) < len(self.operators):
            raise FormulaError(f"operators must be different ones of {OPERATORS}, got {self.operators!r}")

    @property
    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        operators = [operator for operator in OPERATORS if operator in self.operators]
        parentheses = "()" if self.parentheses else ""
        return Vocabulary((*DIGITS[: self.base], *operators, *parentheses, "="), variable_length=True)

    @cached_property
    def _grammar(self) -> Grammar:
        largest = np.base_repr(self.largest, self.base).lower()
        return Grammar(self.vocabulary.symbols, self.operands, largest)

    def build_well_formed(self) -> Paths:
        grammar = self._grammar
        return Paths(grammar.transitions(self.max_length), grammar.ended, final=grammar.ended)

    @cached_property
    def _left_sides(self) -> Paths:
        """The left sides with their `=`, for each of which there is a right side that is short enough."""
        grammar = self._grammar
        return Paths(grammar.transitions(self.length - 1), grammar.begins_right, final=grammar.begins_right)

    def check(self, tokens: Tokens) -> NDArray[np.bool_]:
        return check_codes(self._codes[tokens], self.base)

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        return self.is_correct(tokens)

    @cached_property
    def _codes(self) -> Codes:
        """The checker's code of each id, EOS and PAD included."""
        return ALPHABET.codes_of([*self.vocabulary.symbols, "", ""])

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        """n correct formulae `(n, T)`, independent and uniform: uniform left sides that have a value that fits."""
        return self.sample_by_rejection(n, lambda number: self._completed(self._left_sides.sample(number, rng)))

    def count(self) -> int | None:
        return self._count

    @cached_property
    def _count(self) -> int | None:
        if self._left_sides.count > COUNT_LIMIT:
            return None
        return sum(len(self._completed(left)) for left in self._left_sides.blocks(BLOCK))

    def enumerate(self) -> Tokens:
        if not self.enumerable:
            number = "not known how many" if self._count is None else f"{self._count:,}"
            raise FormulaError(f"there are too many correct formulae to list, {number}; use sample()")
        # No left side begins another one, so the formulae come in the order of their left sides.
        return np.concatenate([self._completed(left) for left in self._left_sides.blocks(BLOCK)])

    def _completed(self, left: Tokens) -> Tokens:
        """The correct formulae `(m, T)` with these left sides `(n, t)`, in their order."""
        codes = self._codes[left]
        machine = ShiftReduce(len(left), 2 * self.operands, self.base)
        for column in codes.T:
            machine.read(column)
        values = machine.left
        has_value = ~machine.failed
        if machine.too_large.any():
            values = values.astype(object)
            for row in np.flatnonzero(machine.too_large):
                value = evaluate(parse(f"{ALPHABET.text_of(codes[row])}0", self.base)[0])
                has_value[row] = value is not None
                values[row] = value or 0
        return self._with_right_sides(left[has_value], values[has_value])

    def _with_right_sides(self, left: Tokens, values: NDArray[Any]) -> Tokens:
        """Formulae `(m, T)` of left sides `(n, t)` and their values `(n,)`, without those that are too long."""
        digits, rest = [], np.abs(values)
        while not digits or rest.any():
            digits.append(rest % self.base)
            rest = rest // self.base
        is_written = np.logical_or.accumulate(np.array(digits[::-1]) != 0)[::-1]  # (digits, n), lowest first
        is_written[0] = True
        begins = (left != self.vocabulary.pad).sum(axis=1)
        ends = begins + (values < 0) + is_written.sum(axis=0)
        fits = ends <= self.length
        tokens = np.full((len(left), self.max_length), self.vocabulary.pad)
        tokens[:, : left.shape[1]] = left
        for place, (digit, has_digit) in enumerate(zip(digits, is_written, strict=True)):
            rows = np.flatnonzero(has_digit & fits)
            tokens[rows, ends[rows] - 1 - place] = digit[rows]
        if (negative := np.flatnonzero((values < 0) & fits)).size:
            tokens[negative, begins[negative]] = self.vocabulary.symbols.index("-")
        rows = np.flatnonzero(fits)
        tokens[rows, ends[rows]] = self.vocabulary.eos
        return tokens[fits]

    def canonical(self, formulae: Sequence[str]) -> list[str]:
        return [equation_forms.canonical(formula, self.base) for formula in formulae]

    def skeleton(self, formulae: Sequence[str]) -> list[str]:
        return [equation_forms.skeleton(formula, self.base) for formula in formulae]

    def equal_forms(self, formula: str) -> list[str]:
        return equation_forms.equal_forms(formula, self.base)

    def to_latex(self, formula: str) -> str:
        return equation_forms.to_latex(formula, self.base)

    def to_sympy(self, formula: str) -> str:
        return equation_forms.to_sympy(formula, self.base)
