"""Policies, which choose the next symbol, one step at a time.

A policy is anything with `start` and `step`: a generator of ours, a wrapped Stable-Baselines3 policy, or the
uniform policy below. Its state is a tuple of tensors whose first dimension is the batch, so that states can be
gathered, repeated and shared by indexing.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.tasks.base import SequenceTask

State = tuple[Tensor, ...]


def state_size(state: State) -> int:
    """How many numbers one prefix has in a policy's state."""
    return sum(math.prod(part.shape[1:]) for part in state)


class Policy(Protocol):
    """π(symbol | prefix) as a recurrence over the prefix."""

    def start(self, n: int) -> State:
        """The state of n empty prefixes."""
        ...

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one symbol `(n,)` (BOS first): logits `(n, V)` of the next one, and the new state."""
        ...


@torch.no_grad()
def check_policy(policy: Policy, task: SequenceTask, device: torch.device) -> None:
    """Raise FormulaError if the policy's first step does not give logits for the task's symbols."""
    name, vocab_size = type(policy).__name__, task.vocabulary.size
    logits, _ = policy.step(torch.tensor([task.vocabulary.bos], device=device), policy.start(1))
    if tuple(logits.shape) != (1, vocab_size):
        raise FormulaError(
            f"{name}.step returned logits of shape {tuple(logits.shape)} for one prefix; "
            f"this task has {vocab_size} symbols: (1, {vocab_size})"
        )
    if logits.isnan().any() or not logits.isfinite().any():
        raise FormulaError(f"{name}.step returned logits {logits[0].tolist()}: NaN, or none that is finite")


class UniformPolicy:
    """Uniform distribution over legal symbols: the random sampler, and the rollout policy by default."""

    def __init__(self, task: SequenceTask) -> None:
        self.task = task

    def start(self, n: int) -> State:
        """The state of n empty prefixes: their symbols, `(n, 0)`."""
        return (torch.empty((n, 0), dtype=torch.int64),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Append the symbols `(n,)`: logits `(n, V)`, 0 for legal symbols and -inf for others; and the state."""
        prefixes = state[0].to(symbols.device)
        if (symbols != self.task.vocabulary.bos).all():
            prefixes = torch.cat([prefixes, symbols[:, None]], dim=1)
        legal = torch.from_numpy(self.task.legal_symbols(prefixes.cpu().numpy())).to(symbols.device)
        return torch.zeros(legal.shape, device=symbols.device).masked_fill(~legal, -torch.inf), (prefixes,)
