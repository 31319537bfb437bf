"""Prefixes that share their beginnings: the policy is stepped once for each distinct one.

All prefixes grow together, one symbol a level. At each level the distinct ones are *nodes*; a formula that grows
(a sample, a Monte-Carlo completion) only remembers which node it stands on. A node is known by its parent and its
symbol, so neither length nor vocabulary can overflow its number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formula_env.networks.policy import Policy, State
from formula_env.vocabulary import Vocabulary


@dataclass(frozen=True)
class Prefixes:
    """Distinct prefixes of one length, each as one of the next shorter prefixes and a symbol."""

    shorter: "Prefixes | None"
    parent: Tensor  # (nodes,) which of the shorter prefixes
    symbol: Tensor  # (nodes,) its last symbol; BOS at the root

    def tokens(self) -> Tensor:
        """The prefixes written out, `(nodes, t)`."""
        node = torch.arange(len(self.symbol), device=self.symbol.device)
        columns: list[Tensor] = []
        prefixes = self
        while prefixes.shorter is not None:
            columns.append(prefixes.symbol[node])
            node, prefixes = prefixes.parent[node], prefixes.shorter
        return torch.stack(columns[::-1], dim=1)


@dataclass(frozen=True)
class Level:
    """The nodes of one length, and what the policy needs to step them."""

    vocabulary: Vocabulary
    prefixes: Prefixes
    state: State  # of the parents: what the policy has read before the nodes' last symbols
    ended: Tensor  # (nodes,) EOS stands in the prefix: only PAD follows

    @classmethod
    def root(cls, policy: Policy, vocabulary: Vocabulary, device: torch.device) -> "Level":
        parent = torch.zeros(1, dtype=torch.int64, device=device)
        prefixes = Prefixes(None, parent, torch.full_like(parent, vocabulary.bos))
        state = tuple(part.to(device) for part in policy.start(1))
        return cls(vocabulary, prefixes, state, torch.zeros(1, dtype=torch.bool, device=device))

    def __len__(self) -> int:
        return len(self.prefixes.symbol)

    def step(self, policy: Policy) -> tuple[Tensor, State]:
        """The policy reads every node's last symbol: logits `(nodes, V)`, and its states after that."""
        return policy.step(
            self.prefixes.symbol, tuple(part.index_select(0, self.prefixes.parent) for part in self.state)
        )

    def child(self, node: Tensor, symbol: Tensor) -> Tensor:
        """A number for each (node, symbol), PAD included: where its mark stands for `children`."""
        return node * (self.vocabulary.size + 1) + symbol

    def children(self, wanted: Tensor, state: State) -> tuple["Level", Tensor]:
        """The next level, given the policy's states after this one: a node for each child that is marked.

        `wanted` is `(nodes · (V+1),)`. Returns the level, and for each mark the index of its node (meaningless
        where nothing is marked).
        """
        marks = wanted.nonzero().squeeze(1)
        branching = self.vocabulary.size + 1
        parent = marks // branching
        symbol = marks - parent * branching
        ended = self.ended.index_select(0, parent)
        if self.vocabulary.eos is not None:
            ended = ended | (symbol == self.vocabulary.eos)
        level = Level(self.vocabulary, Prefixes(self.prefixes, parent, symbol), state, ended)
        return level, wanted.cumsum(0) - 1

    def descend(self, child: Tensor, state: State) -> tuple["Level", Tensor]:
        """The next level, of these children `(n,)` (see `child`) with repetitions, and the node of each `(n,)`."""
        wanted = torch.zeros(len(self) * (self.vocabulary.size + 1), dtype=torch.bool, device=child.device)
        wanted.index_fill_(0, child, True)
        level, index = self.children(wanted, state)
        return level, index.index_select(0, child)

    def parts(self, limit: int) -> Iterator[tuple[int, "Level"]]:
        """This level cut into levels of at most `limit` nodes, each with the number of its first node."""
        for first in range(0, len(self), limit):
            nodes = slice(first, first + limit)
            prefixes = replace(
                self.prefixes, parent=self.prefixes.parent[nodes], symbol=self.prefixes.symbol[nodes]
            )
            yield first, replace(self, prefixes=prefixes, ended=self.ended[nodes])
