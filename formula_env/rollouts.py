"""Q of prefixes: complete them under a policy, judge the completions, average (thesis eq. 7.3; Yu et al. 2017).

Three things are done once. Completions that begin alike share the policy's state
(`formula_env.prefix_tree`), so it is stepped once for each distinct prefix; each distinct finished formula is
judged once; and rollout n of every prefix of a formula draws the same random numbers, so where it chooses the
symbol that the formula has anyway, it *is* rollout n of the next longer prefix, and goes on only once. Each Q by
itself is distributed as with independent rollouts. Those of one formula are correlated (common random numbers),
which leaves the policy gradient unbiased and makes the differences Q_t - Q_{t-1} less noisy.

Every random number depends on the formula's key, the number of the rollout and the position alone: not on what
else is in the batch, nor on how the work is cut up to bound its memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.policy import Policy
from formula_env.prefix_tree import Level
from formula_env.streams import derive_keys, stream_uniforms
from formula_env.vocabulary import Vocabulary

Score = Callable[[Tensor], Tensor]
"""Finished formulae `(n, T)` to their rewards `(n,)`."""

NODE_LIMIT = 2**12
"""Prefixes of one length that are alive at once; more are worked off one part after the other. On a CPU this many
still fit in its cache, which makes small parts the faster ones, too."""

DRAW_LIMIT = 2**22
"""Random numbers held at once; with more, formulae are worked off one part after the other (and share nothing
across parts)."""

_WRITER = range(-1, 0)
"""The number of the rollout that writes a formula. The others count from 0."""

TREE_LIMIT = 2**17
"""Prefixes of one length that `exact_q` will hold at most."""


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
        score: judges finished formulae `(n, T)`.
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
        for end in completions(policy, vocabulary, given, start, key, range(num_rollouts)):
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
        scores = Scores(len(key), 1 + num_rollouts, length, key.device)
        for end in completions(policy, vocabulary, length, start, key, range(_WRITER.start, num_rollouts)):
            formulae = end.formulae
            written.index_copy_(0, end.whole, formulae.index_select(0, end.whole_node))
            scores.put(end, score(formulae))
        tokens.append(written)
        q.append(scores.completed()[:, 1:].mean(dim=1))
    return torch.cat(tokens), torch.cat(q)


@torch.no_grad()
def write(policy: Policy, vocabulary: Vocabulary, length: int, keys: Tensor) -> Tensor:
    """Formulae `(B, T)` from a policy, each with its own key: those of `play`, without Q."""
    tokens = torch.full((len(keys), length), vocabulary.pad, device=keys.device)
    for part in torch.arange(len(keys), device=keys.device).split(_rows_at_once(length, 1)):
        start = torch.zeros_like(part)
        for end in completions(policy, vocabulary, tokens[part], start, keys[part], _WRITER):
            tokens.index_copy_(0, part[end.rollout], end.formulae.index_select(0, end.rollout_node))
    return tokens


def _rows_at_once(length: int, num_rollouts: int) -> int:
    return max(1, DRAW_LIMIT // (length * num_rollouts))


class Scores:
    """What the rollouts `(B, N)` of formulae scored, for every prefix they complete."""

    def __init__(self, batch_size: int, num_rollouts: int, length: int, device: torch.device) -> None:
        # [b, n, t]: of rollout n where it leaves formula b at position t; T: of the formula itself.
        self.scores = torch.zeros((batch_size, num_rollouts, length + 1), dtype=torch.float64, device=device)
        self.leaves_at = torch.full(self.scores.shape, length, device=device)

    def put(self, end: "Front", scores: Tensor) -> None:
        """The scores `(nodes,)` of a front of finished formulae."""
        length = self.scores.shape[2] - 1
        place = end.rollout * (length + 1) + end.left_at
        self.leaves_at.view(-1).index_copy_(0, place, end.left_at)
        scores = scores.double()
        self.scores.view(-1).index_copy_(0, place, scores.index_select(0, end.rollout_node))
        self.scores[end.whole, :, length] = scores.index_select(0, end.whole_node)[:, None]

    def completed(self) -> Tensor:
        """`(B, N, T+1)`: a rollout that follows its formula scores what it scores where it leaves it next."""
        return self.scores.gather(2, self.leaves_at.flip(2).cummin(2).values.flip(2))


@dataclass(frozen=True)
class Front:
    """Prefixes of one length, with all that grow from there: given formulae, and rollouts that have left them."""

    level: Level
    whole: Tensor  # (w,) given formulae, by number
    whole_node: Tensor  # (w,) where they stand
    rollout: Tensor  # (r,) rollouts, by number: formula · N + n
    left_at: Tensor  # (r,) the position where each left its formula; a rollout may leave it several times
    rollout_node: Tensor  # (r,)

    @property
    def formulae(self) -> Tensor:
        return self.level.prefixes.tokens()

    def parts(self, limit: int) -> list["Front"]:
        """This front cut into fronts of at most `limit` nodes."""
        if len(self.level) <= limit:
            return [self]
        return [self._part(level, first) for first, level in self.level.parts(limit)]

    def _part(self, level: Level, first: int) -> "Front":
        whole = _between(self.whole_node, first, first + len(level))
        rollout = _between(self.rollout_node, first, first + len(level))
        return Front(
            level,
            self.whole[whole],
            self.whole_node[whole] - first,
            self.rollout[rollout],
            self.left_at[rollout],
            self.rollout_node[rollout] - first,
        )


def completions(
    policy: Policy, vocabulary: Vocabulary, given: Tensor | int, first: Tensor, keys: Tensor, numbers: range
) -> Iterator[Front]:
    """Grow formulae, and the rollouts of these numbers, to the end, part by part.

    Arguments as in `monte_carlo_q`. `given` are the formulae `(B, T)`; or only their length T: then the first of
    the rollouts writes them.
    """
    if not len(keys):
        return
    length = given if isinstance(given, int) else given.shape[1]
    streams = derive_keys(keys[:, None], torch.arange(numbers.start, numbers.stop, device=keys.device))
    draws = stream_uniforms(streams.view(-1), length)  # (T, B·N)
    nothing = torch.empty(0, dtype=torch.int64, device=keys.device)
    root = Level.root(policy, vocabulary, keys.device)
    everyone = torch.arange(len(keys), device=keys.device)
    waiting = [(0, Front(root, everyone, torch.zeros_like(everyone), nothing, nothing, nothing))]
    while waiting:
        t, front = waiting.pop()
        if t == length:
            yield front
            continue
        column = None if isinstance(given, int) else given[:, t]
        grown = _grow(policy, front, column, first, draws[t], t)
        waiting.extend((t + 1, part) for part in grown.parts(NODE_LIMIT))


def _grow(policy: Policy, front: Front, given: Tensor | None, first: Tensor, draws: Tensor, t: int) -> Front:
    """Everybody takes the symbol at position t; rollouts whose symbol is not the given one leave their formula."""
    level = front.level
    logits, state = level.step(policy)
    num_rollouts = len(draws) // len(first)
    riders = _riders(front.whole, num_rollouts)
    rollout = torch.cat([front.rollout, riders])
    node = torch.cat([front.rollout_node, front.whole_node.repeat_interleave(num_rollouts)])
    symbol = inverse_cdf(cumulative_probs(logits), node, draws.index_select(0, rollout))
    if level.vocabulary.eos is not None:
        symbol = symbol.masked_fill(level.ended[node], level.vocabulary.pad)
    child = level.child(node, symbol)
    if not len(riders):
        next_level, node = level.descend(child, state)
        return replace(front, level=next_level, rollout_node=node)

    already_left = len(front.rollout)
    ridden, ridden_child = symbol[already_left:].view(-1, num_rollouts), child[already_left:]
    if given is None:
        given, whole, whole_child = ridden[:, 0], front.whole, ridden_child[::num_rollouts]
    else:
        given = given.index_select(0, front.whole)
        follows = (given != level.vocabulary.pad) | level.ended[front.whole_node]
        whole, whole_child = front.whole[follows], level.child(front.whole_node, given)[follows]
    leaves = (ridden != given[:, None]) & (first.index_select(0, front.whole) <= t)[:, None]
    leaving = leaves.view(-1).nonzero().squeeze(1)
    children = torch.cat([child[:already_left], ridden_child.index_select(0, leaving), whole_child])
    next_level, node = level.descend(children, state)
    rollout = torch.cat([front.rollout, riders.index_select(0, leaving)])
    return Front(
        next_level,
        whole=whole,
        whole_node=node[len(rollout) :],
        rollout=rollout,
        left_at=torch.cat([front.left_at, torch.full_like(leaving, t)]),
        rollout_node=node[: len(rollout)],
    )


def _riders(whole: Tensor, num_rollouts: int) -> Tensor:
    """The numbers `(w·N,)` of the rollouts that ride with formulae `(w,)`, unless they have left them."""
    numbers = torch.arange(num_rollouts, device=whole.device)
    return (whole[:, None] * num_rollouts + numbers).view(-1)


def _between(node: Tensor, first: int, end: int) -> Tensor:
    return ((node >= first) & (node < end)).nonzero().squeeze(1)


@torch.no_grad()
def exact_q(policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor) -> Tensor:
    """Q `(B, T+1)` without sampling: E[score] over all completions, by backward recursion over the prefix tree.

    Arguments and result as in `monte_carlo_q`. Raises FormulaError where the tree has more than `TREE_LIMIT`
    prefixes of one length (symbols of probability 0 do not count).
    """
    if not len(tokens):
        return torch.zeros((0, tokens.shape[1] + 1), dtype=torch.float64, device=tokens.device)
    level = Level.root(policy, vocabulary, tokens.device)
    node = torch.zeros_like(first)  # (B,) where each formula stands
    follows = torch.ones_like(first, dtype=torch.bool)  # (B,) it has not come to an end
    is_open = torch.zeros(1, dtype=torch.bool, device=tokens.device)  # (nodes,) Q is wanted: branch fully
    nodes, steps = [node], list[tuple[Tensor, Tensor]]()
    for t, given in enumerate(tokens.T):
        is_open[node[follows & (first <= t)]] = True
        logits, state = level.step(policy)
        probs = _next_probs(logits, level.ended)
        branches = is_open[:, None] & (probs > 0)
        wanted = branches.view(-1).clone()
        follows = follows & ((given != vocabulary.pad) | level.ended[node])
        child = level.child(node, given)
        wanted[child[follows]] = True
        check_tree_size(int(wanted.sum()))
        level, index = level.children(wanted, state)
        is_open = branches.view(-1)[wanted]
        node = torch.where(follows, index[child], 0)
        nodes.append(node)
        steps.append((probs, index))
    values = score(level.prefixes.tokens()).double()
    q = [values[node]]
    for node, (probs, index) in zip(nodes[-2::-1], reversed(steps), strict=True):
        values = (probs * values[index.clamp(min=0)].view_as(probs)).sum(dim=1)
        q.append(values[node])
    return torch.stack(q[::-1], dim=1)


def check_tree_size(prefixes: int) -> None:
    """Raise FormulaError where there are too many prefixes of one length for `exact_q`."""
    if prefixes > TREE_LIMIT:
        raise FormulaError(
            f"exact Q needs a tree of more than {TREE_LIMIT:,} prefixes; "
            'use q_estimator "monte-carlo" or a shorter task'
        )


def _next_probs(logits: Tensor, ended: Tensor) -> Tensor:
    """`(nodes, V+1)` float64: the policy's probabilities; after EOS, PAD for certain."""
    probs = torch.softmax(logits.double(), dim=-1).masked_fill(ended[:, None], 0.0)
    return torch.cat([probs, ended[:, None].double()], dim=1)


def cumulative_probs(logits: Tensor) -> Tensor:
    """softmax(logits) `(n, V)` summed up along V, ending in 1, in float64: for `inverse_cdf`."""
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    return cumulative / cumulative[:, -1:]


def inverse_cdf(cumulative: Tensor, row: Tensor, uniforms: Tensor) -> Tensor:
    """The symbols `(m,)` in whose slices of a distribution the numbers u `(m,)` from [0, 1) lie.

    `row` `(m,)` says which of the distributions `(n, V)`, from `cumulative_probs`, each is drawn from. A symbol of
    probability 0 is never chosen, whatever the rounding of the sum. By bisection, all at once: no tensor is
    larger than `row`, however many symbols there are.
    """
    vocab_size = cumulative.shape[1]
    rounds = (vocab_size - 1).bit_length()
    width = 2**rounds
    if width > vocab_size:
        cumulative = torch.nn.functional.pad(cumulative, (0, width - vocab_size), value=1.0)
    symbol = torch.zeros_like(row)
    for half in (2**power for power in reversed(range(rounds))):
        # u lies at or above the slices of this many symbols more
        reached = uniforms >= cumulative.view(-1).index_select(0, row * width + symbol + (half - 1))
        symbol = symbol + half * reached
    return symbol
