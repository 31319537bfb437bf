"""Sums of two numbers as vectors: the continuous task of the thesis' chapter 4."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError, check_types
from formula_env.tasks.base import ContinuousTask, Vectors


@dataclass(frozen=True)
class IntegerSum(ContinuousTask):
    """`[2, 3, 5]`: vectors [a, b, a + b], a and b uniform and independent from 0 to `largest`."""

    largest: int = 10
    """Largest value of a and b: 1 to 1000."""
    real: bool = False
    """Range of real numbers instead of integers."""

    grammar: ClassVar[str] = "formula = a b c; each is a number"
    difficulty: ClassVar[str] = (
        "A generator of numbers is correct only up to an error, and it must cover all pairs a, b instead of a few."
    )

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.largest <= 1000:
            raise FormulaError(f"largest must be from 1 to 1000, got {self.largest}")

    @property
    def size(self) -> int:
        return 3

    def sample(self, n: int, rng: np.random.Generator) -> Vectors:
        shape = (n, 2)
        terms = rng.uniform(0, self.largest, shape) if self.real else rng.integers(self.largest + 1, size=shape)
        return np.column_stack([terms, terms.sum(axis=1)]).astype(np.float64)

    def sample_box(self, n: int, rng: np.random.Generator) -> Vectors:
        return rng.uniform(0, [self.largest, self.largest, 2 * self.largest], (n, 3))

    def error(self, vectors: Vectors) -> NDArray[np.float64]:
        return vectors[:, 0] + vectors[:, 1] - vectors[:, 2]

    def quantiles(self, shares: NDArray[np.float64]) -> Vectors:
        numbers = shares * self.largest if self.real else np.floor(shares * (self.largest + 1))
        return np.column_stack([numbers, numbers])

    @property
    def _cells_across(self) -> int:
        return self.largest if self.real else self.largest + 1

    @property
    def num_cells(self) -> int:
        return self._cells_across**2

    def cells(self, vectors: Vectors) -> NDArray[np.int64]:
        """Unit squares: between the integers where a and b are real, around them where they are integers."""
        shift = 0.0 if self.real else 0.5
        columns, rows = np.floor(vectors[:, :2].T + shift)
        across = self._cells_across
        inside = (columns >= 0) & (columns < across) & (rows >= 0) & (rows < across)
        return np.where(inside, columns * across + rows, -1).astype(np.int64)

    def decode(self, batch: Vectors) -> list[str]:
        """`7.947 -0.006 7.961`, as in the thesis' Table 4.1."""
        return [" ".join(f"{number:.3f}" for number in vector) for vector in batch.tolist()]
