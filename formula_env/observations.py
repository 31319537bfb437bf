"""Observations of a prefix: a flat one-hot, or ids."""

from typing import Any, Literal, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

Observation = NDArray[np.float32] | NDArray[np.int64]
ObservationName = Literal["one-hot", "tokens"]


class View(Protocol):
    """Prefixes as observations, and back."""

    space: gym.Space[Any]

    def show(self, tokens: Tokens) -> Observation:
        """Observations `(n, …)` of prefixes `(n, T)`, as an array of the caller's own."""
        ...

    def read(self, observations: Observation) -> Tokens:
        """The prefixes `(n, T)` that observations `(n, …)` show."""
        ...


class TokensView(View):
    """Ids `(T,)`, PAD included."""

    def __init__(self, task: SequenceTask) -> None:
        self.space = gym.spaces.MultiDiscrete(np.full(task.max_length, task.vocabulary.size + 1))

    def show(self, tokens: Tokens) -> Observation:
        return tokens.copy()

    def read(self, observations: Observation) -> Tokens:
        return observations.astype(np.int64)


class OneHotView(View):
    """A flat float32 one-hot `(T·V,)`; zeros where nothing is written."""

    def __init__(self, task: SequenceTask) -> None:
        self.length, vocab_size, self.pad = task.max_length, task.vocabulary.size, task.vocabulary.pad
        self.space = gym.spaces.Box(0.0, 1.0, (self.length * vocab_size,), np.float32)
        self.rows = np.eye(vocab_size + 1, vocab_size, dtype=np.float32)  # PAD's row is zero

    def show(self, tokens: Tokens) -> Observation:
        return self.rows.take(tokens, axis=0).reshape(len(tokens), -1)  # 40 times faster than [ ]

    def read(self, observations: Observation) -> Tokens:
        rows = observations.reshape(len(observations), self.length, -1)
        return np.where(rows.any(axis=2), rows.argmax(axis=2), self.pad)


VIEWS: dict[str, type[TokensView] | type[OneHotView]] = {"one-hot": OneHotView, "tokens": TokensView}
