"""Prefixes that share their beginnings: the policy is stepped once for each distinct one.

All prefixes grow together, one symbol a level. At each level the distinct ones are *nodes*; whoever grows a
formula (a sample, a Monte-Carlo completion) only remembers which node it stands on. A node is known by its
parent and its symbol, so neither length nor vocabulary can overflow its number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from formula_env.networks.policy import Policy, State
from formula_env.vocabulary import Vocabulary


@dataclass
class Level:
    """The distinct prefixes of one length, as nodes: what each has read, and the policy's state before that."""

    vocabulary: Vocabulary
    prefixes: Tensor  # (nodes, t)
    last: Tensor  # (nodes,) the symbol the policy reads next: the prefix' last, BOS at the root
    state: State
    ended: Tensor  # (nodes,) EOS stands in the prefix: only PAD follows

    @classmethod
    def root(cls, policy: Policy, vocabulary: Vocabulary, device: torch.device) -> "Level":
        return cls(
            vocabulary,
            prefixes=torch.empty((1, 0), dtype=torch.int64, device=device),
            last=torch.full((1,), vocabulary.bos, device=device),
            state=policy.start(1),
            ended=torch.zeros(1, dtype=torch.bool, device=device),
        )

    def child(self, node: Tensor, symbol: Tensor) -> Tensor:
        """A number for each (node, symbol), PAD included: where its mark stands for `children`."""
        return node * (self.vocabulary.size + 1) + symbol

    def unmarked(self) -> Tensor:
        """No child wanted yet: `(nodes · (V+1),)` False."""
        return torch.zeros(len(self.last) * (self.vocabulary.size + 1), dtype=torch.bool, device=self.last.device)

    def children(self, wanted: Tensor, state: State) -> tuple["Level", Tensor]:
        """The next level, given the policy's state after this one: a node for each child that is marked.

        Returns the level, and for each mark the index of its node (meaningless where nothing is marked).
        """
        marks = wanted.nonzero().squeeze(1)
        branching = self.vocabulary.size + 1
        parent = torch.div(marks, branching, rounding_mode="floor")
        symbol = marks - parent * branching
        ended = self.ended[parent]
        if self.vocabulary.eos is not None:
            ended = ended | (symbol == self.vocabulary.eos)
        prefixes = torch.cat([self.prefixes[parent], symbol[:, None]], dim=1)
        state = tuple(part[parent] for part in state)
        return Level(self.vocabulary, prefixes, symbol, state, ended), wanted.cumsum(0) - 1

    def descend(self, node: Tensor, symbol: Tensor, state: State) -> tuple["Level", Tensor]:
        """Everyone who stands on a node takes a symbol (same shape): the next level, and where they stand now."""
        child = self.child(node, symbol)
        wanted = self.unmarked()
        wanted[child.view(-1)] = True
        level, index = self.children(wanted, state)
        return level, index[child]
