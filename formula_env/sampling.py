"""Drawing from a policy, and the likelihood of formulae under it: one step for each distinct prefix."""

import torch
from torch import Tensor

from formula_env.networks.policy import Policy
from formula_env.prefix_tree import Level
from formula_env.rollouts import DRAW_LIMIT, completions
from formula_env.vocabulary import Vocabulary


def sample(policy: Policy, vocabulary: Vocabulary, length: int, n: int, generator: torch.Generator) -> Tensor:
    """n formulae `(n, length)` from a policy: rollouts of the empty prefix. PAD follows EOS."""
    most = max(1, DRAW_LIMIT // length)
    if n > most:
        sizes = [min(most, n - done) for done in range(0, n, most)]
        return torch.cat([sample(policy, vocabulary, length, size, generator) for size in sizes])
    device = generator.device
    key = torch.randint(2**62, (1,), generator=generator, device=device)
    empty = torch.full((1, length), vocabulary.pad, device=device)
    tokens = torch.empty((n, length), dtype=torch.int64, device=device)
    with torch.inference_mode():
        for end in completions(policy, vocabulary, empty, torch.zeros_like(key), key, n):
            tokens.index_copy_(0, end.rollout, end.formulae.index_select(0, end.rollout_node))
    return tokens


@torch.inference_mode()
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
