"""Base classes of tasks, the formula families: what environments, algorithms and evaluators rely on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.vocabulary import Tokens, Vocabulary

Vectors = NDArray[np.float64]

ENUMERATION_LIMIT = 2**20
"""How many correct formulae `SequenceTask.enumerate` will list at most."""

MAX_FRUITLESS = 20
"""Samples without a new formula after which a search for different ones is given up."""


class BaseTask(ABC):
    """Base class of all tasks, of symbols or of numbers: a frozen dataclass whose fields are its options.

    On the command line an option is `--task.length 8`.
    """

    grammar: ClassVar[str] = ""
    """Grammar of the formulae in one line of extended Backus-Naur form, for lists of tasks."""
    difficulty: ClassVar[str] = ""
    """What is hard to learn about the formulae, for lists of tasks."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> NDArray[Any]:
        """n true formulae `(n, …)`, independent, from the distribution that is to be learnt."""

    @abstractmethod
    def decode(self, batch: NDArray[Any]) -> list[str]:
        """Formulae as text."""

    @property
    def notes(self) -> list[str]:
        """Remarks about what the options led to, which a run prints at its start."""
        return []

    @staticmethod
    def code_in(options: dict[str, Any]) -> str | None:
        """The code that a task of these options would run, as its name; None if there is none."""
        return None

    @property
    def code(self) -> str | None:
        """The code that this task runs, as its name; None if there is none."""
        return self.code_in(self.options)

    def to_latex(self, formula: str) -> str:
        """The formula for a LaTeX document (without dollar signs)."""
        return formula

    def to_sympy(self, formula: str) -> str:
        """The formula as an expression that `sympy.sympify(..., evaluate=False)` reads."""
        raise FormulaError(f"{type(self).__name__} has no sympy form; use --format text, jsonl, csv or latex")

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of its class that recreate this task."""
        return asdict(self) if is_dataclass(self) else {}


class SequenceTask(BaseTask):
    """A family of formulae made of symbols, with an exact verdict on each.

    Tokens are `(n, T)` int64 with T = `max_length`; a formula of variable length ends with EOS, then PAD.

    Metrics are exact where the correct formulae can be listed. A task that does not know its `count`, or does not
    draw from the uniform distribution, has fewer metrics.
    """

    is_uniform: ClassVar[bool] = True
    """Whether `sample` draws from the uniform distribution over all correct formulae."""
    default_preset: ClassVar[str | None] = None
    """Preset with which algorithms learn the task by default; those that have none of this name ignore it."""

    @property
    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """The symbols of the task, and their ids."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """T: tokens of the longest formula, EOS included."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        """n correct formulae `(n, T)`, independent, from the distribution that `distribution` states."""

    @property
    def has_checker(self) -> bool:
        """Whether `is_correct` applies a rule, instead of looking formulae up in a list."""
        return True

    @abstractmethod
    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        """The exact verdict `(n,)` on finished formulae `(n, T)`; what is not well-formed is not correct."""

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether each of finished formulae `(n, T)` is proved to be correct: `(n,)`; slow for some tasks.

        Where the verdict of `is_correct` is exact, this is that verdict.

        Raises FormulaError where the task has no proofs.
        """
        raise FormulaError(f"{type(self).__name__} has no proofs of its formulae; leave out --proved")

    @abstractmethod
    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """Masks `(n, V)` of the symbols that keep each prefix well-formed; never all False in a row.

        `prefixes` is `(n, t)`, t ≤ T; shorter ones among them are filled with PAD. Where nothing is legal
        (the prefix is finished, or broken already) every symbol is: it makes no difference any more.
        """

    def is_well_formed(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether each of encoded formulae `(n, T)` has legal symbols only, up to its end: `(n,)`."""
        is_going, well_formed = np.ones((2, len(tokens)), dtype=bool)
        for t, column in enumerate(tokens.T):
            rows = np.flatnonzero(is_going)
            symbols = column[rows]
            legal = np.zeros((len(rows), self.vocabulary.size + 1), dtype=bool)  # PAD ends nothing
            legal[:, :-1] = self.legal_symbols(tokens[rows, :t])
            is_legal = legal[np.arange(len(rows)), symbols]
            well_formed[rows] = is_legal
            is_going[rows] = is_legal & (symbols != self.vocabulary.eos)
        return well_formed

    @property
    def transitions(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
        """The automaton that reads well-formed formulae, from state 0; None where they are not given by one.

        The next states `(T, S, V+1)` at each position, PAD included, and whether each state `(S,)` is final.
        """
        return None

    @abstractmethod
    def count(self) -> int | None:
        """Exact number of correct formulae; None where it is not known."""

    def enumerate(self) -> Tokens:
        """All correct formulae `(count, T)` in lexicographic order of ids.

        Raises FormulaError if there are more than `ENUMERATION_LIMIT`, or not known how many.
        """
        raise FormulaError(f"the correct formulae of {type(self).__name__} can't be listed; use sample()")

    @property
    def enumerable(self) -> bool:
        """Whether `enumerate` lists all correct formulae."""
        total = self.count()
        return total is not None and total <= ENUMERATION_LIMIT

    @property
    def distribution(self) -> str:
        """Description of what `sample` draws from: the distribution that is to be learnt."""
        return "uniform over all correct formulae"

    def target(self) -> tuple[Tokens, NDArray[np.float64]] | None:
        """The distribution that is to be learnt, as formulae `(m, T)` and their probabilities `(m,)`.

        None where it can't be listed, or isn't known.
        """
        if not (self.is_uniform and self.enumerable):
            return None
        formulae = self.enumerate()
        return formulae, np.full(len(formulae), 1 / len(formulae))

    def canonical(self, formulae: Sequence[str]) -> list[str]:
        """Canonical texts of formulae, equal for those that differ only in form, such as `1+2=3` and `2+1=3`."""
        return list(formulae)

    def skeleton(self, formulae: Sequence[str]) -> list[str]:
        """The canonical forms with `#` in the place of each number."""
        return self.canonical(formulae)

    def is_undecided(self, tokens: Tokens) -> NDArray[np.bool_] | None:
        """Whether the checker can't decide on formulae `(n, T)`: `(n,)`; such count as incorrect.

        None where it decides on all formulae.
        """
        return None

    def equal_forms(self, formula: str) -> list[str]:
        """Correct formulae that differ from this one in form only, such as `2+1=3` from `1+2=3`; and itself."""
        return [formula]

    def training_set(self) -> Tokens | None:
        """The training formulae `(n, T)` of a task that brings its own, such as a file; else None."""
        return None

    def held_out(self) -> Tokens | None:
        """Formulae `(n, T)` that a task with its own data keeps from the training; else None."""
        return None

    def encode(self, formulae: Sequence[str]) -> Tokens:
        """Strings to tokens `(n, T)`; raises FormulaError as `Vocabulary.encode_all`."""
        return self.vocabulary.encode_all(formulae, self.max_length)

    def decode(self, batch: Tokens) -> list[str]:
        """Tokens `(n, T)` to strings."""
        return self.vocabulary.decode(batch)

    def split(self, size: int | float, seed: int, held_out: int | None = None) -> tuple[Tokens, Tokens]:
        """Distinct correct formulae, in two disjoint sets: training and held-out.

        Args:
            size: of the training set; a number of formulae (int), or a share of all of them (float ≤ 1).
            seed: of the shuffle; the same seed gives the same split.
            held_out: size of the other set; by default all the rest, or as many as in the training set
                where there are too many to list.

        Raises FormulaError if there are not that many correct formulae.
        """
        total, train = self.count(), self._number(size)
        rest = total - train if total is not None and self.enumerable else train
        wanted = rest if held_out is None else held_out
        if train < 1 or wanted < 0 or (total is not None and train + wanted > total):
            there, most = ("the", "1 or more") if total is None else (f"{total}", f"1 to {total} in all")
            raise FormulaError(
                f"cannot split {there} correct formulae into {train} for training and {wanted} held out; ask for "
                f"{most}"
            )
        rng = np.random.default_rng(seed)
        if total is not None and self.enumerable:
            formulae = self.enumerate()[rng.permutation(total)[: train + wanted]]
        else:
            formulae = self._sample_distinct(train + wanted, rng)
        return formulae[:train], formulae[train:]

    def _number(self, size: int | float) -> int:
        """A number of formulae, or a share of all correct ones, as a number."""
        if not isinstance(size, float):
            return size
        if not 0 < size <= 1:
            raise FormulaError(f"a share of the correct formulae is above 0 and at most 1.0, got {size}")
        if (total := self.count()) is None:
            raise FormulaError("it is not known how many correct formulae there are; give a number, not a share")
        return round(size * total)

    def _sample_distinct(self, n: int, rng: np.random.Generator) -> Tokens:
        formulae = self.sample(n, rng)
        fruitless = 0
        while True:
            _, first = np.unique(formulae, axis=0, return_index=True)
            if len(first) >= n:
                return formulae[np.sort(first)[:n]]
            fruitless = fruitless + 1 if len(first) == len(formulae) - n else 0
            if fruitless == MAX_FRUITLESS:
                raise FormulaError(f"only {len(first)} different formulae turned up, not {n}")
            formulae = np.concatenate([formulae[np.sort(first)], self.sample(n, rng)])


class ContinuousTask(BaseTask):
    """A family of formulae whose terms are numbers: vectors `(n, d)` float64, true where an equation holds.

    Its formulae are points of a continuous space, so they can't be listed, and being true is a matter of degree.
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """d: numbers in a vector."""

    @abstractmethod
    def error(self, vectors: Vectors) -> NDArray[np.float64]:
        """Amounts `(n,)` by which the equation fails; 0 for a true formula."""

    @abstractmethod
    def quantiles(self, shares: NDArray[np.float64]) -> Vectors:
        """For each of the k numbers that can be chosen freely, its true quantiles `(m, k)` at shares `(m,)`.

        They are the first k of a vector and independent; the equation gives the others.
        """

    @abstractmethod
    def cells(self, vectors: Vectors) -> NDArray[np.int64]:
        """The cell `(n,)` of each in a grid over the free numbers, 0 to `num_cells` - 1; -1 outside.

        True formulae fall into each cell with the same probability.
        """

    @property
    @abstractmethod
    def num_cells(self) -> int:
        """Number of bins that the vectors are counted in."""

    @abstractmethod
    def sample_box(self, n: int, rng: np.random.Generator) -> Vectors:
        """n vectors, uniform over the range of each number, whether true or not: the untrained baseline."""


def check_has_checker(task: SequenceTask, algorithm: str) -> None:
    """Raise FormulaError for a task whose verdicts come from a list: it would give the held-out formulae away."""
    if not task.has_checker:
        raise FormulaError(
            f"{algorithm} needs a checker; a list of formulae would give away the held-out ones: name one with "
            "--task.checker"
        )
