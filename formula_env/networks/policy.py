"""What can choose the next symbol, one step at a time; and what follows from that alone.

A policy is anything with `start` and `step`: a generator of ours, a wrapped Stable-Baselines3 policy, or the
uniform policy below. Its state is a tuple of tensors whose first dimension is the batch, so that states can be
gathered, repeated and shared by indexing.
"""

from typing import Protocol

import torch
from torch import Tensor

from formula_env.tasks.base import Task
from formula_env.vocabulary import Vocabulary

State = tuple[Tensor, ...]


class Policy(Protocol):
    """π(symbol | prefix) as a recurrence over the prefix."""

    def start(self, n: int) -> State:
        """The state of n empty prefixes."""
        ...

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one symbol `(n,)` (BOS first): logits `(n, V)` of the next one, and the new state."""
        ...


class UniformPolicy:
    """Every legal symbol is equally likely: the random sampler, and the rollout policy until one is injected."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def start(self, n: int) -> State:
        return (torch.empty((n, 0), dtype=torch.int64),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        (prefixes,) = state
        if (symbols != self.task.vocabulary.bos).all():
            prefixes = torch.cat([prefixes.to(symbols.device), symbols[:, None]], dim=1)
        legal = torch.from_numpy(self.task.legal_symbols(prefixes.cpu().numpy())).to(symbols.device)
        return torch.zeros(legal.shape, device=symbols.device).masked_fill(~legal, -torch.inf), (prefixes,)


def cumulative_probs(logits: Tensor) -> Tensor:
    """softmax(logits) `(n, V)` summed up along V, in float64, for `inverse_cdf`."""
    return torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)


def inverse_cdf(cumulative: Tensor, uniforms: Tensor) -> Tensor:
    """The symbol `(n,)` in whose slice of the distribution `(n, V)` the number u ∈ [0, 1 - 2^-52] `(n,)` lies.

    A symbol of probability 0 is never chosen, whatever the rounding of the sum.
    """
    scaled = uniforms * cumulative[..., -1]
    return (scaled[..., None] >= cumulative[..., :-1]).sum(dim=-1)


def uniforms(n: int, generator: torch.Generator) -> Tensor:
    """n numbers from [0, 1 - 2^-52], float64, on the generator's device."""
    drawn = torch.rand(n, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.clamp_(max=1 - 2.0**-52)


@torch.no_grad()
def sample(policy: Policy, vocabulary: Vocabulary, length: int, n: int, generator: torch.Generator) -> Tensor:
    """n formulae `(n, length)` from a policy; PAD follows EOS."""
    device = generator.device
    symbols = torch.full((n,), vocabulary.bos, device=device)
    ended = torch.zeros(n, dtype=torch.bool, device=device)
    state, written = policy.start(n), []
    for _ in range(length):
        logits, state = policy.step(symbols, state)
        symbols = inverse_cdf(cumulative_probs(logits), uniforms(n, generator))
        symbols = symbols.masked_fill(ended, vocabulary.pad)
        if vocabulary.eos is not None:
            ended = ended | (symbols == vocabulary.eos)
        written.append(symbols)
    return torch.stack(written, dim=1)


@torch.no_grad()
def log_prob(policy: Policy, vocabulary: Vocabulary, tokens: Tensor) -> Tensor:
    """Log-likelihood `(n,)` in nats of formulae `(n, T)` under a policy, step by step."""
    symbols = torch.full((len(tokens),), vocabulary.bos, device=tokens.device)
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    state = policy.start(len(tokens))
    for column in tokens.T:
        logits, state = policy.step(symbols, state)
        written = column != vocabulary.pad
        chosen = column.masked_fill(~written, 0)
        step = torch.log_softmax(logits.double(), dim=-1).gather(1, chosen[:, None])[:, 0]
        total += step.masked_fill(~written, 0.0)
        symbols = column
    return total
