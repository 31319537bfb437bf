"""Formulae and their rollouts, grown together one symbol at a time over a prefix tree.

An example: three symbols a, b, c, one formula `abc`, two rollouts. The policy is uniform, so a random number
stands for the same symbol on every node; rollout 0 draws c, b, c, and rollout 1 draws a, c, a.

    t = 0     1       2

    ┬─ a ─┬─ b ──┬─ c     formula        abc    whole: number 0
    │     │      └─ a     rollout 1      aba    left: number 1, at 2
    │     └─ c ──── a     rollout 1      aca    left: number 1, at 1
    └─ c ──── b ─── c     rollout 0      cbc    left: number 0, at 0

At each position both rollouts *ride* with the formula: they draw on its node. One that draws another symbol than
the formula has leaves it there, and goes on by itself. At the same time it still rides, because the next longer
prefix needs a completion, too: so rollout 1 leaves twice. Where a rollout draws the symbol that the formula has,
it completes this prefix and the next longer one alike, so one copy is enough: the completion of `ab` by rollout 0
is the formula itself.

`completions` yields the front of all leaves. Of each prefix, rollout n scores what it scores where it leaves the
formula next, or else what the formula scores:

    Q()   = (cbc + aca) / 2       rollout 0 left at 0, rollout 1 next at 1
    Q(a)  = (abc + aca) / 2       rollout 0 leaves no more
    Q(ab) = (abc + aba) / 2
    Q(abc) = abc
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from formula_env.networks.policy import Policy, State, state_size
from formula_env.rollouts.draws import cumulative_probs, inverse_cdf
from formula_env.rollouts.prefix_tree import Level
from formula_env.rollouts.streams import rollout_keys, stream_uniforms, writer_keys
from formula_env.vocabulary import Vocabulary

NODE_LIMIT = 2**12
"""Prefixes of one length that are alive at once; more are worked off one part after the other. On a CPU this many
still fit in its cache, which makes small parts the faster ones, too."""

STATE_LIMIT = 2**22
"""Numbers in the policy's states of these prefixes: where a state is large, fewer prefixes are alive at once."""


@dataclass(frozen=True)
class Group:
    """Formulae or rollouts, by number, and the node of a level on which each stands."""

    number: Tensor  # (m,) of a formula b; or of its rollout n of N: b · N + n
    node: Tensor  # (m,)

    def __len__(self) -> int:
        return len(self.number)

    def riders(self, num_rollouts: int) -> "Group":
        """The rollouts `(m·N,)` of these formulae, on the formulae's nodes."""
        n = torch.arange(num_rollouts, device=self.number.device)
        number = (self.number[:, None] * num_rollouts + n).view(-1)
        return Group(number, self.node.repeat_interleave(num_rollouts))


@dataclass(frozen=True)
class Front:
    """Prefixes of one length, with all that grow from there: formulae, and rollouts that have left them."""

    level: Level
    whole: Group  # formulae
    left: Group  # rollouts; one may have left its formula several times
    left_at: Tensor  # (rollouts,) the position where each left

    @classmethod
    def root(cls, policy: Policy, vocabulary: Vocabulary, n: int, device: torch.device) -> "Front":
        """The empty prefix, with n formulae."""
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        everyone = torch.arange(n, device=device)
        whole = Group(everyone, torch.zeros_like(everyone))
        return cls(Level.root(policy, vocabulary, device), whole, Group(nothing, nothing), nothing)

    @property
    def formulae(self) -> Tensor:
        return self.level.prefixes.tokens()

    def parts(self) -> list["Front"]:
        """This front cut into fronts within `NODE_LIMIT` and `STATE_LIMIT`."""
        limit = max(1, min(NODE_LIMIT, STATE_LIMIT // max(1, state_size(self.level.state))))
        if len(self.level) <= limit:
            return [self]
        return [self._part(level, first) for first, level in self.level.parts(limit)]

    def descend(self, child: Tensor, state: State, whole: Tensor, left: Tensor, left_at: Tensor) -> "Front":
        """The front on the next level; `child` of the rollouts `left` first, then of the formulae `whole`."""
        level, node = self.level.descend(child, state)
        return Front(level, Group(whole, node[len(left) :]), Group(left, node[: len(left)]), left_at)

    def _part(self, level: Level, first: int) -> "Front":
        whole, left = (_between(group.node, first, first + len(level)) for group in (self.whole, self.left))
        return Front(
            level,
            Group(self.whole.number[whole], self.whole.node[whole] - first),
            Group(self.left.number[left], self.left.node[left] - first),
            self.left_at[left],
        )


def completions(
    policy: Policy, vocabulary: Vocabulary, given: Tensor | int, first: Tensor, keys: Tensor, num_rollouts: int
) -> Iterator[Front]:
    """Grow formulae and their rollouts to the end, part by part.

    Arguments as in `monte_carlo_q`. `given` are the formulae `(B, T)`; or only their length T: then the policy
    writes them, with random numbers of their own.
    """
    if not len(keys):
        return
    length = given if isinstance(given, int) else given.shape[1]
    streams = rollout_keys(keys, num_rollouts).view(-1)
    if isinstance(given, int):
        streams = torch.cat([streams, writer_keys(keys)])
    draws = stream_uniforms(streams, length)  # (T, B·N), and B more where formulae are written
    waiting = [(0, Front.root(policy, vocabulary, len(keys), keys.device))]
    while waiting:
        t, front = waiting.pop()
        if t == length:
            yield front
            continue
        column = None if isinstance(given, int) else given[:, t]
        grown = grow(policy, front, column, first, draws[t], num_rollouts, t)
        waiting.extend((t + 1, part) for part in grown.parts())


def grow(
    policy: Policy, front: Front, given: Tensor | None, first: Tensor, draws: Tensor, num_rollouts: int, t: int
) -> Front:
    """Append the symbol at position t to all; rollouts whose symbol is not the formula's leave it.

    Args:
        policy: steps every node.
        front: the prefixes of t symbols.
        given: `(B,)`, the formulae's symbols; or None: drawn, like the rollouts'.
        first: `(B,)`, the shortest prefix of each formula that is to be completed.
        draws: random numbers of the rollouts `(B·N,)`; if nothing is given, those of the formulae `(B,)` follow.
        num_rollouts: N.
        t: the position.
    """
    level, whole, left = front.level, front.whole, front.left
    logits, state = level.step(policy)
    riding = whole.riders(num_rollouts)
    drawing = [left, riding]
    if given is None:
        drawing.append(Group(whole.number + len(first) * num_rollouts, whole.node))
    node = torch.cat([group.node for group in drawing])
    number = torch.cat([group.number for group in drawing])
    symbol = _draw(level, logits, node, draws.index_select(0, number))
    child = level.child(node, symbol)
    if not len(riding):  # nothing can leave: rollouts alone, or formulae that are only written
        return front.descend(child, state, whole.number, left.number, front.left_at)

    ridden = slice(len(left), len(left) + len(riding))
    number, own, own_child = whole.number, symbol[ridden.stop :], child[ridden.stop :]
    if given is not None:
        own = given.index_select(0, whole.number)
        goes_on = (own != level.vocabulary.pad) | level.ended[whole.node]
        number, own_child = whole.number[goes_on], level.child(whole.node, own)[goes_on]
    leaving = _leaving(symbol[ridden].view(-1, num_rollouts), own, first.index_select(0, whole.number) <= t)
    children = [child[: len(left)], child[ridden].index_select(0, leaving), own_child]
    left_number = torch.cat([left.number, riding.number.index_select(0, leaving)])
    left_at = torch.cat([front.left_at, torch.full_like(leaving, t)])
    return front.descend(torch.cat(children), state, number, left_number, left_at)


def _leaving(ridden: Tensor, own: Tensor, is_wanted: Tensor) -> Tensor:
    """Which riders, by place, leave: their symbols `(w, N)` are not their formulae's own `(w,)`."""
    return ((ridden != own[:, None]) & is_wanted[:, None]).view(-1).nonzero().squeeze(1)


def _draw(level: Level, logits: Tensor, node: Tensor, uniforms: Tensor) -> Tensor:
    """The symbols `(m,)` drawn on these nodes `(m,)`; PAD after EOS."""
    symbol = inverse_cdf(cumulative_probs(logits), node, uniforms)
    if level.vocabulary.eos is None:
        return symbol
    return symbol.masked_fill(level.ended[node], level.vocabulary.pad)


def _between(node: Tensor, first: int, end: int) -> Tensor:
    return ((node >= first) & (node < end)).nonzero().squeeze(1)
