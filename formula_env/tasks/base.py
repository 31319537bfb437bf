"""What a formula family must offer: the contract every environment, algorithm and evaluator relies on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.vocabulary import Tokens, Vocabulary

ENUMERATION_LIMIT = 2**20
"""How many correct formulae `Task.enumerate` will list at most."""


class Task(ABC):
    """A family of formulae with an exact verdict on each.

    A task is a frozen dataclass whose fields are its options (`--task.length 8` on the command line).
    Tokens are `(n, T)` int64 with T = `max_length`; a formula of variable length ends with EOS, then PAD.
    """

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary: ...

    @property
    @abstractmethod
    def max_length(self) -> int:
        """T: tokens of the longest formula, EOS included."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        """n correct formulae `(n, T)`, independent and uniform over all correct ones."""

    @abstractmethod
    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        """The exact verdict `(n,)` on finished formulae `(n, T)`; what is not well-formed is not correct."""

    @abstractmethod
    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """Which symbols keep each prefix well-formed: `(n, V)`, never all False in a row.

        `prefixes` is `(n, t)`, t ≤ T; shorter ones among them are filled with PAD. Where nothing is legal
        (the prefix is finished, or broken already) every symbol is: it makes no difference any more.
        """

    @abstractmethod
    def count(self) -> int:
        """How many correct formulae there are, exactly."""

    @abstractmethod
    def enumerate(self) -> Tokens:
        """All correct formulae `(count, T)` in lexicographic order of ids.

        Raises FormulaError if there are more than `ENUMERATION_LIMIT`.
        """

    def to_latex(self, formula: str) -> str:
        """The formula for a LaTeX document (without dollar signs)."""
        return formula

    def to_sympy(self, formula: str) -> str:
        """The formula as an expression that `sympy.sympify(..., evaluate=False)` reads."""
        raise FormulaError(f"{type(self).__name__} has no sympy form; use --format text, jsonl, csv or latex")

    @property
    def options(self) -> dict[str, Any]:
        """What recreates this task: the keyword arguments of its class."""
        return asdict(self) if is_dataclass(self) else {}

    @property
    def enumerable(self) -> bool:
        return self.count() <= ENUMERATION_LIMIT

    def encode(self, formulae: Sequence[str]) -> Tokens:
        """Strings to tokens `(n, T)`; raises FormulaError as `Vocabulary.encode`."""
        rows = [self.vocabulary.encode(formula, self.max_length) for formula in formulae]
        return np.stack(rows) if rows else np.zeros((0, self.max_length), dtype=np.int64)

    def decode(self, tokens: Tokens) -> list[str]:
        """Tokens `(n, T)` to strings."""
        return self.vocabulary.decode(tokens)

    def split(self, size: int | float, seed: int, held_out: int | None = None) -> tuple[Tokens, Tokens]:
        """Distinct correct formulae, in two disjoint sets: training and held-out.

        Args:
            size: of the training set; a number of formulae (int), or a share of all of them (float ≤ 1).
            seed: of the shuffle; the same seed gives the same split.
            held_out: size of the other set; by default all the rest, or as many as in the training set
                where there are too many to list.

        Raises FormulaError if there are not that many correct formulae.
        """
        total = self.count()
        if isinstance(size, float) and not 0 < size <= 1:
            raise FormulaError(f"a share of the correct formulae is above 0 and at most 1.0, got {size}")
        train = round(size * total) if isinstance(size, float) else size
        wanted = held_out if held_out is not None else (total - train if self.enumerable else train)
        if train < 1 or wanted < 0 or train + wanted > total:
            raise FormulaError(
                f"cannot split {total} correct formulae into {train} for training and {wanted} held out; "
                f"ask for 1 to {total} in all"
            )
        rng = np.random.default_rng(seed)
        if self.enumerable:
            chosen = rng.permutation(total)[: train + wanted]
            formulae = self.enumerate()[chosen]
        else:
            formulae = self._sample_distinct(train + wanted, rng)
        return formulae[:train], formulae[train:]

    def _sample_distinct(self, n: int, rng: np.random.Generator) -> Tokens:
        formulae = self.sample(n, rng)
        while True:
            _, first = np.unique(formulae, axis=0, return_index=True)
            if len(first) >= n:
                return formulae[np.sort(first)[:n]]
            formulae = np.concatenate([formulae[np.sort(first)], self.sample(n, rng)])
