"""Exact metrics of an agent that maps one-hot prefixes to logits of the next symbol."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from formula_env import make_task
from formula_env.evaluators import SequenceEvaluator
from formula_env.networks.policy import State
from formula_env.sampling import log_prob, sample
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

Logits = Callable[[Tensor], Tensor]
"""Observations `(n, T·V)`, the environment's default, to logits `(n, V)` of the next symbol."""

SAMPLE_SIZE = 10_000
"""Formulae in which the distinct correct ones are counted."""

SHARE = 0.1
"""A correct formula is reached if it has at least this share of the probability 1/count that it should have."""


class ObservingPolicy:
    """A client's network as a `formula_env.networks.policy.Policy`: it reads the prefix as a one-hot."""

    def __init__(self, task: SequenceTask, logits: Logits) -> None:
        self.task, self.logits = task, logits

    def start(self, n: int) -> State:
        return (torch.empty((n, 0), dtype=torch.int64),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        (prefixes,) = state
        if (symbols != self.task.vocabulary.bos).all():
            prefixes = torch.cat([prefixes, symbols[:, None]], dim=1)
        size, length = self.task.vocabulary.size, self.task.max_length
        # PAD and BOS come after the symbols: both have a row of zeros.
        one_hot = torch.nn.functional.one_hot(prefixes, size + 2)[..., :size].float()
        observations = torch.nn.functional.pad(one_hot, (0, 0, 0, length - prefixes.shape[1]))
        with torch.no_grad():
            return self.logits(observations.flatten(1)), (prefixes,)


def evaluate(logits: Logits, env_kwargs: dict[str, Any], task_name: str = "binary-sum") -> dict[str, float]:
    """Metrics of the client's policy, from the probabilities of all correct formulae.

    accuracy, jsd (nats), effective_number: as in `formula_env.evaluators.SequenceEvaluator`.
    reached: correct formulae with at least a tenth of the probability that they should have.
    distinct: expected number of distinct correct formulae in a sample of 10,000.
    """
    task = make_task(task_name, length=env_kwargs["length"])
    policy = ObservingPolicy(task, logits)
    written = sample(policy, task.vocabulary, task.max_length, SAMPLE_SIZE, torch.Generator().manual_seed(0))
    evaluator, log_probs = SequenceEvaluator(task), partial(_log_prob, policy, task)
    metrics = evaluator(written.numpy(), log_probs)
    probs = np.exp(log_probs(evaluator.correct_set))
    return {
        "accuracy": metrics["accuracy"],
        "jsd": metrics["jsd"],
        "effective_number": metrics.get("effective_number", math.nan),
        "reached": int((probs >= SHARE / len(probs)).sum()),
        "distinct": float((1 - (1 - probs) ** SAMPLE_SIZE).sum()),
        "num_formulae": len(probs),
    }


def _log_prob(policy: ObservingPolicy, task: SequenceTask, tokens: Tokens) -> np.ndarray:
    return log_prob(policy, task.vocabulary, torch.from_numpy(tokens)).numpy()
