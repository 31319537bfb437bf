"""Tautologies of propositional logic, `a&b>a`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers import boolean_forms
from formula_env.checkers.batches import Codes
from formula_env.checkers.boolean import ALPHABET, TRUE, VARIABLES, truth_tables
from formula_env.errors import FormulaError, check_range, check_types
from formula_env.tasks.automaton import BLOCK, DEAD, CheckedTask, Paths
from formula_env.tasks.base import ENUMERATION_LIMIT
from formula_env.tasks.boolean_counts import count_tautologies
from formula_env.vocabulary import Tokens, Vocabulary

LISTING_LIMIT = 2**23
"""Well-formed formulae at most that are checked one by one to list the correct ones."""


@dataclass(frozen=True)
class Boolean(CheckedTask):
    """`a&b>a` is correct: it is true whatever the truth values of its variables are.

    `~` (not) binds first, then come `&` (and), `|` (or), `>` (implies, right-associative) and `=` (is equivalent
    to). Parentheses may be around any part. Every tautology of at most `length` symbols is a correct formula.
    """

    length: int = 9
    """Number of symbols of the longest formula, without EOS; from 3 to 63."""
    variables: int = 3
    """Number of variables, from 1 to 5: a, b, c, d and e."""

    grammar: ClassVar[str] = (
        'formula = operand {("&" | "|" | ">" | "=") operand}; operand = variable | "~" operand | "(" formula ")"; '
        'variable = "a"…"e"'
    )
    difficulty: ClassVar[str] = (
        "A tautology is true for all truth values of its variables at once. Most well-formed formulae are not, "
        "and most changes of a symbol leave none."
    )

    def __post_init__(self) -> None:
        check_types(self)
        check_range(3, 63, length=self.length)
        check_range(1, len(VARIABLES), variables=self.variables)

    @property
    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary((*VARIABLES[: self.variables], *"~&|>=()"), variable_length=True)

    def build_well_formed(self) -> Paths:
        next_state, ended = grammar(self.vocabulary.symbols, max_depth=(self.length - 1) // 2)
        return Paths(np.broadcast_to(next_state, (self.max_length, *next_state.shape)), ended, final=ended)

    def check(self, tokens: Tokens) -> NDArray[np.bool_]:
        return truth_tables(self._codes[tokens]) == TRUE

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        return self.is_correct(tokens)

    @cached_property
    def _codes(self) -> Codes:
        """The checker's code of each id, EOS and PAD included."""
        return ALPHABET.codes_of([*self.vocabulary.symbols, "", ""])

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        """n correct formulae `(n, T)`, independent and uniform: those among uniform well-formed formulae."""

        def draw(number: int) -> Tokens:
            formulae = self.well_formed.sample(number, rng)
            return formulae[self.check(formulae)]

        return self.sample_by_rejection(n, draw)

    def count(self) -> int | None:
        return self._count

    @cached_property
    def _count(self) -> int | None:
        if self.variables <= 3:
            return count_tautologies(self.length, self.variables, dtype=object)
        if self.variables == 4 and self.well_formed.count < 2 ** (63 - 2**4):
            return count_tautologies(self.length, self.variables, dtype=np.int64)
        return sum(map(len, self._listing())) if self.well_formed.count <= LISTING_LIMIT else None

    @property
    def enumerable(self) -> bool:
        return self.well_formed.count <= LISTING_LIMIT and super().enumerable

    def enumerate(self) -> Tokens:
        if not self.enumerable:
            raise FormulaError(
                f"{self.well_formed.count:,} well-formed formulae are too many to list the correct ones (at most "
                f"{LISTING_LIMIT:,}, and {ENUMERATION_LIMIT:,} correct ones); use sample()"
            )
        return np.concatenate(self._listing())

    def _listing(self) -> list[Tokens]:
        """All correct formulae, in blocks `(m, T)`."""
        return [block[self.check(block)] for block in self.well_formed.blocks(BLOCK)]

    def canonical(self, formulae: Sequence[str]) -> list[str]:
        return [boolean_forms.canonical(formula) for formula in formulae]

    def skeleton(self, formulae: Sequence[str]) -> list[str]:
        return [boolean_forms.skeleton(formula) for formula in formulae]

    def equal_forms(self, formula: str) -> list[str]:
        return boolean_forms.equal_forms(formula)

    def to_latex(self, formula: str) -> str:
        return boolean_forms.to_latex(formula)

    def to_sympy(self, formula: str) -> str:
        return boolean_forms.to_sympy(formula)


def grammar(symbols: Sequence[str], max_depth: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The automaton of well-formed formulae: the next states `(S, V)`, and whether EOS was read `(S,)`.

    EOS is the last of its symbols. In state 2d an operand is expected within d parentheses, in state 2d + 1 one is
    complete. The last state is that behind EOS.
    """
    ended = 2 * (max_depth + 1)
    next_state = np.full((ended + 1, len(symbols) + 1), DEAD)
    for v, symbol in enumerate(symbols):
        for expected in range(0, ended, 2):
            complete = expected + 1
            if symbol in VARIABLES:
                next_state[expected, v] = complete
            elif symbol == "~":
                next_state[expected, v] = expected
            elif symbol == "(" and expected + 2 < ended:
                next_state[expected, v] = expected + 2
            elif symbol == ")" and expected:
                next_state[complete, v] = complete - 2
            elif symbol in "&|>=":
                next_state[complete, v] = expected
    next_state[1, -1] = ended
    return next_state, np.arange(ended + 1) == ended
