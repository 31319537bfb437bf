"""Q of prefixes: complete them under a policy, score the completions, average (thesis eq. 7.3; Yu et al. 2017).

Three things are done once. Completions that begin alike share the policy's state
(`formula_env.rollouts.prefix_tree`), so it is stepped once for each distinct prefix; each distinct finished
formula is scored once; and rollout n of every prefix of a formula draws the same random numbers, so where it
chooses the symbol that the formula has anyway, it *is* rollout n of the next longer prefix, and goes on only once
(`formula_env.rollouts.fronts` has an example). Each Q by itself is distributed as with independent rollouts. Those
of one formula are correlated (common random numbers), which leaves the policy gradient unbiased and makes the
differences Q_t - Q_{t-1} less noisy.

Every random number depends on the formula's key, the number of the rollout and the position alone: not on what
else is in the batch, nor on how the work is cut up to bound its memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from formula_env.networks.policy import Policy
from formula_env.rollouts.fronts import Front, completions
from formula_env.vocabulary import Vocabulary

Score = Callable[[Tensor], Tensor]
"""Finished formulae `(n, T)` to their rewards `(n,)`."""

DRAW_LIMIT = 2**22
"""Random numbers held at once; with more, formulae are worked off one part after the other (and share nothing
across parts)."""


@torch.no_grad()
def monte_carlo_q(
    policy: Policy,
    score: Score,
    vocabulary: Vocabulary,
    tokens: Tensor,
    first: Tensor,
    keys: Tensor,
    num_rollouts: int,
) -> Tensor:
    """Q of every prefix of formulae, each the mean score of N completions: `(B, T+1)`, unbiased, float64.

    Column t belongs to the first t symbols; from the end of a finished formula on, Q is its own score. Columns
    before `first`, and behind the end of a prefix, are no estimates.

    Args:
        policy: completes the prefixes; symbols it gives probability 0 never occur.
        score: scores finished formulae `(n, T)`.
        vocabulary: of the formulae.
        tokens: `(B, T)`, finished formulae, or prefixes filled up with PAD.
        first: `(B,)`, the shortest prefix of each whose Q is wanted, 0 to T.
        keys: `(B,)` int64, seeds of the formulae's random numbers.
        num_rollouts: N completions of each prefix.
    """
    length = tokens.shape[1]
    rows = _rows_at_once(length, num_rollouts)
    q = []
    for given, start, key in zip(tokens.split(rows), first.split(rows), keys.split(rows), strict=True):
        scores = Scores(len(key), num_rollouts, length, key.device)
        for end in completions(policy, vocabulary, given, start, key, num_rollouts):
            scores.put(end, score(end.formulae))
        q.append(scores.completed().mean(dim=1))
    return torch.cat(q)


@torch.no_grad()
def play(
    policy: Policy,
    score: Score,
    vocabulary: Vocabulary,
    length: int,
    first: Tensor,
    keys: Tensor,
    num_rollouts: int,
) -> tuple[Tensor, Tensor]:
    """The policy writes formulae `(B, T)` itself; with Q `(B, T+1)` of their prefixes, in the same pass.

    Arguments as in `monte_carlo_q`, which gives the same Q for the same keys and formulae.
    """
    rows = _rows_at_once(length, 1 + num_rollouts)
    tokens, q = [], []
    for start, key in zip(first.split(rows), keys.split(rows), strict=True):
        written = torch.empty((len(key), length), dtype=torch.int64, device=key.device)
        scores = Scores(len(key), num_rollouts, length, key.device)
        for end in completions(policy, vocabulary, length, start, key, num_rollouts):
            formulae = end.formulae
            written.index_copy_(0, end.whole.number, formulae.index_select(0, end.whole.node))
            scores.put(end, score(formulae))
        tokens.append(written)
        q.append(scores.completed().mean(dim=1))
    return torch.cat(tokens), torch.cat(q)


@torch.no_grad()
def write(policy: Policy, vocabulary: Vocabulary, length: int, keys: Tensor) -> Tensor:
    """Formulae `(B, T)` from a policy, each with its own key: those of `play`, without Q."""
    tokens = torch.empty((len(keys), length), dtype=torch.int64, device=keys.device)
    for part in torch.arange(len(keys), device=keys.device).split(_rows_at_once(length, 1)):
        start = torch.zeros_like(part)
        for end in completions(policy, vocabulary, length, start, keys[part], num_rollouts=0):
            tokens.index_copy_(0, part[end.whole.number], end.formulae.index_select(0, end.whole.node))
    return tokens


def _rows_at_once(length: int, streams: int) -> int:
    """Formulae whose random numbers are held at once, with this many streams each."""
    return max(1, DRAW_LIMIT // (length * streams))


class Scores:
    """Scores of the rollouts `(B, N)` of formulae, for every prefix that they complete."""

    def __init__(self, batch_size: int, num_rollouts: int, length: int, device: torch.device) -> None:
        # [b, n, t]: of rollout n where it leaves formula b at position t; T: of the formula itself.
        self.scores = torch.zeros((batch_size, num_rollouts, length + 1), dtype=torch.float64, device=device)
        self.leaves_at = torch.full(self.scores.shape, length, device=device)

    def put(self, end: Front, scores: Tensor) -> None:
        """The scores `(nodes,)` of a front of finished formulae."""
        length = self.scores.shape[2] - 1
        place = end.left.number * (length + 1) + end.left_at
        self.leaves_at.view(-1).index_copy_(0, place, end.left_at)
        scores = scores.double()
        self.scores.view(-1).index_copy_(0, place, scores.index_select(0, end.left.node))
        self.scores[end.whole.number, :, length] = scores.index_select(0, end.whole.node)[:, None]

    def completed(self) -> Tensor:
        """`(B, N, T+1)`: a rollout that follows its formula scores what it scores where it leaves it next."""
        return self.scores.gather(2, self.leaves_at.flip(2).cummin(2).values.flip(2))
