"""Drawing from a policy, and the likelihood of formulae under it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from formula_env.networks.policy import Policy
from formula_env.rollouts import (
    Front,
    cumulative_probs,
    derive_keys,
    inverse_cdf,
    stream_uniforms,
    write,
    writer_keys,
)
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens, Vocabulary


def sample(policy: Policy, vocabulary: Vocabulary, length: int, n: int, generator: torch.Generator) -> Tensor:
    """n formulae `(n, length)` from a policy; PAD follows EOS."""
    return write(policy, vocabulary, length, draw_keys(n, generator))


def draw_keys(n: int, generator: torch.Generator) -> Tensor:
    """Keys `(n,)` for n formulae, from one draw of a generator on the CPU: the same on every device."""
    key = torch.randint(2**62, (1,), generator=generator)
    return derive_keys(key, torch.arange(n))


@torch.no_grad()
def complete(policy: Policy, vocabulary: Vocabulary, formulae: Tensor, given: int, keys: Tensor) -> Tensor:
    """Formulae `(n, T)` that begin with the first `given` symbols of others and go on as a policy does.

    Each has a key `(n,)`, see `draw_keys`, on which its random numbers depend; PAD follows EOS.
    """
    n, length = formulae.shape
    draws = stream_uniforms(writer_keys(keys), length)
    written, row = torch.full_like(formulae, vocabulary.pad), torch.arange(n, device=formulae.device)
    symbol, state = torch.full_like(keys, vocabulary.bos), policy.start(n)
    goes_on = torch.ones(n, dtype=torch.bool, device=formulae.device)
    for t in range(length):
        logits, state = policy.step(symbol, state)
        drawn = inverse_cdf(cumulative_probs(logits), row, draws[t])
        symbol = torch.where(goes_on, formulae[:, t] if t < given else drawn, 0)
        written[goes_on, t] = symbol[goes_on]
        goes_on = goes_on & (symbol < len(vocabulary.symbols))
    return written


@torch.no_grad()
def log_prob(policy: Policy, vocabulary: Vocabulary, tokens: Tensor) -> Tensor:
    """Log-likelihood `(n,)` in nats, float64, of formulae `(n, T)` under a policy."""
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    waiting = [(0, Front.root(policy, vocabulary, len(tokens), tokens.device))]
    while waiting:
        t, front = waiting.pop()
        if t == tokens.shape[1]:
            continue
        level, whole = front.level, front.whole
        logits, state = level.step(policy)
        log_probs = torch.log_softmax(logits.double(), dim=-1)
        log_probs = torch.nn.functional.pad(log_probs, (0, 1))  # PAD is certain
        child = level.child(whole.node, tokens[:, t].index_select(0, whole.number))
        total.index_add_(0, whole.number, log_probs.view(-1).index_select(0, child))
        longer = front.descend(child, state, whole.number, front.left.number, front.left_at)
        waiting.extend((t + 1, part) for part in longer.parts())
    return total


class Sampler:
    """Draws formulae of a task from a policy and gives their likelihood, as NumPy arrays."""

    def __init__(self, policy: Policy, task: SequenceTask, device: str | torch.device) -> None:
        self.policy, self.task, self.device = policy, task, torch.device(device)

    def write(self, keys: Tensor) -> Tensor:
        """The formulae `(n, T)` of these keys `(n,)`, see `draw_keys`, on the device."""
        return write(self.policy, self.task.vocabulary, self.task.max_length, keys.to(self.device))

    def draw(self, n: int, generator: torch.Generator) -> Tokens:
        """n formulae `(n, T)`."""
        return self.write(draw_keys(n, generator)).cpu().numpy()

    def sample(self, n: int, seed: int) -> Tokens:
        """n formulae `(n, T)` that depend on the seed and the policy alone."""
        return self.draw(n, torch.Generator().manual_seed(seed))

    def log_prob(self, tokens: Tokens) -> NDArray[np.float64]:
        """Log-likelihood `(n,)` of formulae `(n, T)`, nats."""
        return log_prob(self.policy, self.task.vocabulary, torch.from_numpy(tokens).to(self.device)).cpu().numpy()
