"""Generators: networks that are policies, with a differentiable likelihood."""

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from formula_env.networks.policy import State
from formula_env.vocabulary import Vocabulary


class Generator(nn.Module):
    """Base class of generators: a policy step by step, and the same in one pass over whole formulae.

    A subclass defines `start` and `step` (see `formula_env.networks.policy.Policy`) and `forward`. Dropout, if it
    has any, acts in `forward` alone, and only in training mode; generators are in evaluation mode otherwise.
    """

    vocabulary: Vocabulary

    @abstractmethod
    def start(self, n: int) -> State:
        """State of n empty prefixes."""

    @abstractmethod
    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits `(n, V)` after one more symbol `(n,)`, and the new state."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `(n, T, V)` of every position given the true symbols before it (teacher forcing).

        Formulae are ids `(n, T)`, or relaxed one-hots `(n, T, V)`.
        """

    def token_log_probs(self, tokens: Tensor) -> Tensor:
        """log π(y_t | y_<t) `(n, T)` in nats; 0 where PAD stands."""
        return token_log_probs(self(tokens), tokens, self.vocabulary.pad)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Log-likelihood `(n,)` in nats of formulae `(n, T)`."""
        return self.token_log_probs(tokens).sum(dim=1)


TILE = 1024
"""Rows of an LSTM's cell that are done at once on a CPU, and from how many on it pays to do so."""


class LSTMGenerator(Generator):
    """Embedding, one LSTM layer, linear: the recurrent generator of the thesis' chapters 6 and 7.

    Dropout acts on what goes into the layer and what comes out of it, not from step to step (Zaremba et al. 2014).
    """

    def __init__(
        self, vocabulary: Vocabulary, embedding_dim: int = 32, hidden_dim: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size + 2, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True)
        self.output = nn.Linear(hidden_dim, vocabulary.size)
        self.dropout = (Dropout(dropout) if dropout else nn.Identity()).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, with the LSTM left in it: cuDNN computes its gradient in training mode only."""
        super().train(mode)
        self.lstm.train()
        return self

    def start(self, n: int) -> State:
        zeros = self.output.weight.new_zeros((n, self.lstm.hidden_size))
        return zeros, zeros

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """One LSTM cell on ids."""
        if torch.is_grad_enabled() or symbols.device.type != "cpu" or len(symbols) < TILE:
            return self.cell(self.table().index_select(0, symbols), state)
        return self._cell_in_tiles(symbols, state)

    def table(self) -> Tensor:
        """Contribution of each id to the gates, `(V+2, 4H)`; a relaxed one-hot contributes the weighted mean."""
        w_input, _, b_input, b_hidden = self.lstm.all_weights[0]
        return torch.addmm(b_input + b_hidden, self.embedding.weight, w_input.T)

    def cell(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """One LSTM cell, given its input's contribution to the gates, `(n, 4H)`."""
        hidden, cell = state
        gates = torch.addmm(inputs, hidden, self.lstm.all_weights[0][1].T)
        in_gate, forget_gate, _, out_gate = torch.sigmoid(gates).chunk(4, dim=1)
        cell = torch.addcmul(forget_gate * cell, in_gate, fast_tanh(gates.chunk(4, dim=1)[2]))
        hidden = out_gate * fast_tanh(cell)
        return self.output(hidden), (hidden, cell)

    def _cell_in_tiles(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """The same cell for many rows without a gradient: in tiles that stay in the cache, and in place.

        Weights of the candidates are doubled, which is exact, so that one sigmoid serves all gates: tanh(x) is
        2·σ(2x) - 1.
        """
        hidden, cell = state
        size = self.lstm.hidden_size
        doubled = hidden.new_ones(4 * size)
        doubled[2 * size : 3 * size] = 2
        table, weight = self.table() * doubled, self.lstm.all_weights[0][1].T * doubled
        logits = hidden.new_empty((len(symbols), self.output.out_features))
        new_hidden, new_cell = torch.empty_like(hidden), torch.empty_like(cell)
        buffer = hidden.new_empty((TILE, 4 * size))
        for i in range(0, len(symbols), TILE):
            rows = slice(i, min(i + TILE, len(symbols)))
            gates = torch.index_select(table, 0, symbols[rows], out=buffer[: rows.stop - i])
            in_gate, forget_gate, candidate, out_gate = (
                gates.addmm_(hidden[rows], weight).sigmoid_().chunk(4, dim=1)
            )
            candidate.mul_(2).sub_(1)
            c = torch.mul(forget_gate, cell[rows], out=new_cell[rows]).addcmul_(in_gate, candidate)
            h = torch.mul(c, 2, out=new_hidden[rows]).sigmoid_().mul_(2).sub_(1).mul_(out_gate)
            torch.addmm(self.output.bias, h, self.output.weight.T, out=logits[rows])
        return logits, (new_hidden, new_cell)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.dropout(embed_before(self.embedding, self.vocabulary, tokens)))
        return self.output(self.dropout(hidden))


class Dropout(nn.Module):
    """Dropout whose random numbers are its own: part of the state, and the same on every device."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.rng = torch.Generator().manual_seed(int(torch.randint(2**62, (1,))))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return x
        kept = torch.rand(x.shape, generator=self.rng) >= self.probability
        return x * (kept.to(x) / (1 - self.probability))

    def get_extra_state(self) -> Tensor:
        return self.rng.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.rng.set_state(state.cpu())


def embed_before(embedding: nn.Embedding, vocabulary: Vocabulary, tokens: Tensor) -> Tensor:
    """Embeddings `(n, T, d)` of what stands before each position: BOS, then all symbols but the last.

    A relaxed one-hot, of formulae `(n, T, V)`, is embedded as the weighted mean.
    """
    bos = tokens.new_full((len(tokens), 1), vocabulary.bos, dtype=torch.int64)
    if not tokens.is_floating_point():
        return embedding(torch.cat([bos, tokens[:, :-1]], dim=1))
    return torch.cat([embedding(bos), tokens[:, :-1] @ embedding.weight[: vocabulary.size]], dim=1)


def fast_tanh(x: Tensor) -> Tensor:
    """tanh, by way of the sigmoid: on a CPU torch computes that one seven times as fast."""
    return 2 * torch.sigmoid(2 * x) - 1


def token_log_probs(logits: Tensor, tokens: Tensor, pad: int) -> Tensor:
    """Log-probability `(n, T)` of each token under logits `(n, T, V)`; 0 where PAD stands."""
    return -nn.functional.cross_entropy(logits.transpose(1, 2), tokens, ignore_index=pad, reduction="none")
