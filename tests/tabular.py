"""A generator that can be any distribution of binary strings, and all strings, for optima by enumeration."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env.networks import Generator
from formula_env.networks.policy import State
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


class Table(Generator):
    """A logit for each symbol after each prefix of binary strings, so it can be any distribution."""

    def __init__(self, task: SequenceTask) -> None:
        super().__init__()
        self.vocabulary = task.vocabulary
        self.logits = nn.Parameter(
            torch.zeros(2**task.max_length, 2)
        )  # row 1 is the root; row i has 2i and 2i + 1

    def start(self, n: int) -> State:
        return (torch.zeros(n, dtype=torch.int64),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        node = torch.where(symbols == self.vocabulary.bos, 1, 2 * state[0] + symbols)
        return self.logits[node], (node,)

    def forward(self, tokens: Tensor) -> Tensor:
        nodes = [torch.ones(len(tokens), dtype=torch.int64)]
        for column in tokens.T[:-1]:
            nodes.append(2 * nodes[-1] + column)
        return self.logits[torch.stack(nodes, dim=1)]

    def become(self, weights: np.ndarray) -> None:
        """Be the distribution with probabilities in these proportions, of all strings in lexicographic order."""
        node = np.zeros(2 * len(weights))
        node[len(weights) :] = weights
        for i in reversed(range(1, len(weights))):
            node[i] = node[2 * i] + node[2 * i + 1]
        with torch.no_grad():
            self.logits[1:] = torch.from_numpy(np.log(node[2:]).reshape(-1, 2)).float()


def all_strings(task: SequenceTask) -> Tokens:
    """All strings that a policy can write, by writing them."""
    vocabulary = task.vocabulary
    complete, prefixes = [], [()]
    for _ in range(task.max_length):
        longer = [(*prefix, symbol) for prefix in prefixes for symbol in range(vocabulary.size)]
        complete += [prefix for prefix in longer if prefix[-1] == vocabulary.eos]
        prefixes = [prefix for prefix in longer if prefix[-1] != vocabulary.eos]
    rows = np.full((len(complete) + len(prefixes), task.max_length), vocabulary.pad)
    for row, string in zip(rows, complete + prefixes, strict=True):
        row[: len(string)] = string
    return rows


def frequencies(sample: Tensor) -> NDArray[np.float64]:
    """How often each of `all_strings` is in a sample `(n, T)` of binary strings, as a share of it."""
    digits = sample.numpy() @ (1 << np.arange(sample.shape[1] - 1, -1, -1))
    return np.bincount(digits, minlength=2 ** sample.shape[1]) / len(sample)
