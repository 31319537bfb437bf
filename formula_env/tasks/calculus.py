"""Identities of calculus, `d(x^2)=2*x` and `∫(cos(x))=sin(x)`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers import calculus_forms
from formula_env.checkers.calculus import check, undecided
from formula_env.checkers.calculus_syntax import SYMBOLS
from formula_env.errors import check_range, check_types
from formula_env.tasks import calculus_data
from formula_env.tasks.automaton import CheckedTask, Paths, check_tokens
from formula_env.tasks.calculus_grammar import automaton
from formula_env.vocabulary import Tokens, Vocabulary

BATCH = 256
"""Formulae that are drawn and checked at once."""

_VOCABULARY = Vocabulary(SYMBOLS, variable_length=True)
_SYMBOL = re.compile("|".join(re.escape(symbol) for symbol in sorted(SYMBOLS, key=len, reverse=True)))

_DISTRIBUTIONS = {
    "derivative": (
        "d(f)=g of random unary-binary trees f, of uniform shape with 1 to length/4 operators and functions, and "
        "their simplified derivatives g; out of those that fit and that the checker finds correct"
    ),
    "integral": (
        "∫(f)=F of sums of one or two known integrals, of x or by substitution, with random factors; out of those "
        "that fit and that the checker finds correct"
    ),
}


@dataclass(frozen=True)
class Calculus(CheckedTask):
    """`d(x^2)=2*x` and `∫(cos(x))=sin(x)` are correct: both sides are equal for x > 0, integrals up to a constant.

    The symbols are x, digits, π, e, operators, parentheses, functions and `d(`, the derivative, which include
    their opening parenthesis; a left side may be an integral, `∫(…)`. The checker computes in ball arithmetic at
    random points: what it finds wrong is wrong, and what it can't decide counts as incorrect.
    """

    length: int = 24
    """Number of symbols of the longest formula, without EOS; from 9 to 63."""
    generator: Literal["derivative", "integral"] = "derivative"
    """Source of the formulae that are to be learnt: derivatives of random functions, or known integrals."""

    grammar: ClassVar[str] = (
        'formula = (side | "∫(" side ")") "=" side; side = ["-"] operand {("+" | "-" | "*" | "/" | "^") operand}; '
        'operand = "x" | "π" | "e" | "0" | "1"…"9" {"0"…"9"} | ("(" | function) side ")"; '
        'function = "sin(" | "cos(" | "tan(" | "exp(" | "log(" | "sqrt(" | "d("'
    )
    difficulty: ClassVar[str] = (
        "The right side follows from the whole left side, by rules that nest. How many formulae are correct is "
        "not known, so metrics that need their number are left out."
    )
    is_uniform: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_types(self)
        check_range(9, 63, length=self.length)

    @property
    def vocabulary(self) -> Vocabulary:
        return _VOCABULARY

    def build_well_formed(self) -> Paths:
        next_state, ended = automaton(self.length)
        return Paths(next_state, ended, final=ended)

    @property
    def distribution(self) -> str:
        return _DISTRIBUTIONS[self.generator]

    def check(self, tokens: Tokens) -> NDArray[np.bool_]:
        return check(self.decode(tokens))

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether SymPy proves formulae `(n, T)`: `(n,)`; it does not find every proof that there is."""
        from formula_env.checkers.calculus_proof import prove_all  # not above: it takes long to import SymPy

        proved = self.is_correct(tokens)
        proved[proved] = prove_all(self.decode(tokens[proved]))
        return proved

    def is_undecided(self, tokens: Tokens) -> NDArray[np.bool_]:
        check_tokens(self, tokens)
        found = self.well_formed.final[self.well_formed.states(tokens)]
        found[found] = undecided(self.decode(tokens[found]))
        return found

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        texts: list[str] = []
        candidates = self._candidates(Random(int(rng.integers(2**63))))
        while len(texts) < n:  # it ends: formulae of 9 symbols, the least length, are drawn by each generator
            batch = [next(candidates) for _ in range(BATCH)]
            short = [text for text in batch if len(_SYMBOL.findall(text)) <= self.length]
            texts += [text for text, correct in zip(short, check(short), strict=True) if correct]
        return self.encode(texts[:n])

    def _candidates(self, rng: Random) -> Iterator[str]:
        """Formulae of the generator without end, of any length; a few have no value for any x."""
        while True:
            if self.generator == "integral":
                yield calculus_data.integral(rng)
            elif (text := calculus_data.derivative(rng, self.length)) is not None:
                yield text

    def count(self) -> int | None:
        return None

    def canonical(self, formulae: Sequence[str]) -> list[str]:
        return [calculus_forms.canonical(formula) for formula in formulae]

    def skeleton(self, formulae: Sequence[str]) -> list[str]:
        return [calculus_forms.skeleton(formula) for formula in formulae]

    def to_latex(self, formula: str) -> str:
        return calculus_forms.to_latex(formula)

    def to_sympy(self, formula: str) -> str:
        return calculus_forms.to_sympy(formula)
