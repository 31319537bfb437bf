"""Drawing from a policy, and the likelihood of formulae under it."""

import torch
from torch import Tensor

from formula_env.networks.policy import Policy
from formula_env.prefix_tree import Level
from formula_env.vocabulary import Vocabulary


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
    """n formulae `(n, length)` from a policy, which is stepped once for each distinct prefix; PAD follows EOS."""
    level = Level.root(policy, vocabulary, generator.device)
    node = torch.zeros(n, dtype=torch.int64, device=generator.device)
    for _ in range(length):
        logits, state = policy.step(level.last, level.state)
        symbols = inverse_cdf(cumulative_probs(logits)[node], uniforms(n, generator))
        level, node = level.descend(node, symbols.masked_fill(level.ended[node], vocabulary.pad), state)
    return level.prefixes[node]


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
