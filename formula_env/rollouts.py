"""Q of prefixes: complete them under a policy, judge the completions, average (thesis eq. 7.3; Yu et al. 2017).

Completions that begin alike share the work (`formula_env.prefix_tree`): the policy is stepped once for every
distinct prefix, and every distinct finished formula is judged once, however many completions pass through it.

Every random number is a hash of (key of the prefix, number of the rollout, position). The estimate for a prefix
therefore depends on its own key only: not on what else is in the batch, nor on how the batch is cut.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.policy import Policy
from formula_env.prefix_tree import Level
from formula_env.sampling import cumulative_probs, inverse_cdf
from formula_env.vocabulary import Vocabulary

Score = Callable[[Tensor], Tensor]
"""Finished formulae `(n, T)` to their rewards `(n,)`."""

PARTICLE_LIMIT = 2**20
"""Completions that advance at once; more are worked off in chunks, with the same result."""

NODE_LIMIT = 2**17
"""Prefixes of one length that `exact_q` will hold at most."""


@torch.no_grad()
def monte_carlo_q(
    policy: Policy,
    score: Score,
    vocabulary: Vocabulary,
    tokens: Tensor,
    lengths: Tensor,
    keys: Tensor,
    num_rollouts: int,
) -> Tensor:
    """The mean score of `num_rollouts` completions of each prefix: an unbiased estimate of Q `(m,)`, float64.

    Args:
        policy: completes the prefixes; symbols it gives probability 0 never occur.
        score: judges finished formulae `(n, T)`.
        vocabulary: of the formulae.
        tokens: `(m, T)`; of row i the first `lengths[i]` symbols are the prefix.
        lengths: `(m,)`, 0 to T. A finished prefix (length T, or one that holds EOS) gets its score itself.
        keys: `(m,)` int64, seeds of the prefixes' random numbers.
        num_rollouts: N completions of each.
    """
    rows = max(1, PARTICLE_LIMIT // num_rollouts)
    if len(tokens) > rows:
        chunks = zip(tokens.split(rows), lengths.split(rows), keys.split(rows), strict=True)
        return torch.cat([monte_carlo_q(policy, score, vocabulary, *chunk, num_rollouts) for chunk in chunks])
    level = Level.root(policy, vocabulary, tokens.device)
    streams = rollout_streams(keys, num_rollouts)  # (m, N), one for each particle
    node = torch.zeros_like(streams)  # (m, N), the prefix each particle has reached
    for t, forced in enumerate(tokens.T):
        logits, state = policy.step(level.last, level.state)
        sampled = inverse_cdf(cumulative_probs(logits)[node], stream_uniforms(streams, t))
        sampled = sampled.masked_fill(level.ended[node], vocabulary.pad)
        symbol = torch.where((t < lengths)[:, None], forced[:, None], sampled)
        level, node = level.descend(node, symbol, state)
    return score(level.prefixes).double()[node].mean(dim=1)


@torch.no_grad()
def exact_q(policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Q `(m,)` without sampling: E[score] over all completions, by backward recursion over the prefix tree.

    Arguments as in `monte_carlo_q`. Raises FormulaError where the tree has more than `NODE_LIMIT` prefixes of
    one length (symbols of probability 0 do not count).
    """
    level = Level.root(policy, vocabulary, tokens.device)
    node = torch.zeros_like(lengths)  # (m,) the node that each given prefix has reached
    open_ = torch.zeros(1, dtype=torch.bool, device=tokens.device)  # (nodes,) Q is wanted: branch fully
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    for t, forced in enumerate(tokens.T):
        open_[node[lengths == t]] = True
        logits, state = policy.step(level.last, level.state)
        probs = _next_probs(logits, level.ended)
        followed = open_[:, None] & (probs > 0)
        wanted = followed.view(-1).clone()
        given = t < lengths
        child = level.child(node, forced)
        wanted[child[given]] = True
        check_tree_size(int(wanted.sum()))
        level, index = level.children(wanted, state)
        steps.append((probs, index, node))
        open_ = followed.view(-1)[wanted]
        node = torch.where(given, index[child], 0)
    values = score(level.prefixes).double()
    q = values[node]
    for t, (probs, index, node) in reversed(list(enumerate(steps))):
        children = values[index.clamp(min=0)].view_as(probs)
        values = (probs * children).sum(dim=1)
        q = torch.where(lengths == t, values[node], q)
    return q


def check_tree_size(prefixes: int) -> None:
    """Raise FormulaError where there are too many prefixes of one length for `exact_q`."""
    if prefixes > NODE_LIMIT:
        raise FormulaError(
            f"exact Q needs a tree of more than {NODE_LIMIT:,} prefixes; "
            'use q_estimator "monte-carlo" or a shorter task'
        )


def _next_probs(logits: Tensor, ended: Tensor) -> Tensor:
    """`(nodes, V+1)` float64: the policy's probabilities; after EOS, PAD for certain."""
    probs = torch.softmax(logits.double(), dim=-1).masked_fill(ended[:, None], 0.0)
    return torch.cat([probs, ended[:, None].double()], dim=1)


_GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as int64


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 (Steele et al. 2014): a bijection that scatters neighbouring inputs."""
    x = (x ^ _shift_right(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shift_right(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shift_right(x, 31)


def derive_keys(keys: Tensor, number: Tensor | int) -> Tensor:
    """A new key for each (key, number)."""
    numbers = torch.as_tensor(number, dtype=torch.int64, device=keys.device)
    return mix(keys + (numbers + 1) * _GOLDEN)


def rollout_streams(keys: Tensor, num_rollouts: int) -> Tensor:
    """Keys `(m,)` of prefixes to keys `(m, N)` of their rollouts."""
    return derive_keys(keys[:, None], torch.arange(num_rollouts, device=keys.device))


def stream_uniforms(streams: Tensor, position: int) -> Tensor:
    """A number from [0, 1 - 2^-52] for each stream at a position, float64."""
    return _shift_right(derive_keys(streams, position), 12).double() * 2.0**-52


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # torch shifts int64 with the sign; the mask takes the copies of the sign bit away.
    return (x >> bits) & ((1 << (64 - bits)) - 1)
