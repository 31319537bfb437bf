"""Drawing from a policy, and the likelihood of formulae under it: one step for each distinct prefix."""

import torch
from torch import Tensor

from formula_env.networks.policy import Policy
from formula_env.prefix_tree import Level
from formula_env.rollouts import write
from formula_env.streams import derive_keys
from formula_env.vocabulary import Vocabulary


def sample(policy: Policy, vocabulary: Vocabulary, length: int, n: int, generator: torch.Generator) -> Tensor:
    """n formulae `(n, length)` from a policy; PAD follows EOS."""
    return write(policy, vocabulary, length, draw_keys(n, generator))


def draw_keys(n: int, generator: torch.Generator) -> Tensor:
    """Keys `(n,)` for n formulae, from one draw of a generator on the CPU: the same on every device."""
    key = torch.randint(2**62, (1,), generator=generator)
    return derive_keys(key, torch.arange(n))


@torch.no_grad()
def log_prob(policy: Policy, vocabulary: Vocabulary, tokens: Tensor) -> Tensor:
    """Log-likelihood `(n,)` in nats, float64, of formulae `(n, T)` under a policy."""
    level = Level.root(policy, vocabulary, tokens.device)
    node = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    for symbol in tokens.T:
        logits, state = level.step(policy)
        log_probs = torch.log_softmax(logits.double(), dim=-1)
        log_probs = torch.nn.functional.pad(log_probs, (0, 1))  # PAD is certain
        total += log_probs.view(-1)[level.child(node, symbol)]
        level, node = level.descend(level.child(node, symbol), state)
    return total
