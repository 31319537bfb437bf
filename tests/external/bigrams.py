"""An algorithm of another package, which knows nothing of this one but the base class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from formula_env.algorithm import Algorithm, LogProb
from formula_env.tasks import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class BigramConfig:
    rounds: int = 100
    """Number of batches to count."""
    smoothing: float = 1.0
    """Number of times that each pair of symbols counts as seen before."""


class Bigram(Algorithm):
    """Each symbol given the one before it and its position, by counting."""

    Config, task_type, real_batch_size = BigramConfig, SequenceTask, 64

    def __init__(self, task: SequenceTask, config: BigramConfig, seed: int, device: torch.device) -> None:
        self.task, self.rounds = task, config.rounds
        self.counts = np.full((task.max_length, task.vocabulary.size + 1, task.vocabulary.size), config.smoothing)

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.smoothing"

    def _pairs(self, tokens: Tokens) -> tuple[Any, Tokens, Tokens]:
        before = np.pad(tokens, ((0, 0), (1, 0)), constant_values=self.task.vocabulary.pad)[:, :-1]
        return np.arange(tokens.shape[1]), before, tokens

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        position, before, symbol = np.broadcast_arrays(*self._pairs(real))
        written = symbol != self.task.vocabulary.pad
        np.add.at(self.counts, (position[written], before[written], symbol[written]), 1.0)
        return {"train/nll": -float(self._log_prob(real).mean())}

    @property
    def log_prob(self) -> LogProb:
        return self._log_prob

    def _log_prob(self, tokens: Tokens) -> NDArray[np.float64]:
        position, before, symbol = self._pairs(tokens)
        log_probs = np.log(self.counts / self.counts.sum(axis=-1, keepdims=True))
        written = symbol != self.task.vocabulary.pad
        return (log_probs[position, before, np.where(written, symbol, 0)] * written).sum(axis=1)

    def sample(self, n: int, seed: int) -> Tokens:
        rng, vocabulary = np.random.default_rng(seed), self.task.vocabulary
        tokens, before = np.full((n, len(self.counts)), vocabulary.pad), np.full(n, vocabulary.pad)
        finished = np.zeros(n, dtype=bool)
        for t, counts in enumerate(self.counts):
            cumulative = (counts / counts.sum(axis=-1, keepdims=True)).cumsum(axis=-1)[before]
            symbol = np.minimum((rng.random((n, 1)) > cumulative).sum(axis=1), vocabulary.size - 1)
            tokens[~finished, t] = before[~finished] = symbol[~finished]
            finished |= symbol == vocabulary.eos
        return tokens

    def state_dict(self) -> dict[str, Any]:
        return {"counts": torch.from_numpy(self.counts.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts = state["counts"].numpy().copy()
