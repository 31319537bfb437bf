"""A generator in two parts: a manager reads features of the prefix and sets goals, a worker writes symbols."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from formula_env.networks.generators import Generator, LSTMGenerator
from formula_env.networks.policy import State
from formula_env.vocabulary import Vocabulary

Leak = Callable[[Tensor], Tensor]
"""Prefixes `(n, T)`, filled up with PAD, to a discriminator's features of them `(n, F)`."""


class ManagerWorkerGenerator(Generator):
    """The generator of LeakGAN (Guo et al. 2018): logits are products of symbols' vectors and the latest goals.

    The manager is an LSTM that reads the features of the prefix, and makes of them a direction in their space: its
    goal g_t. The worker is an LSTM that reads the symbols, and makes a vector of each that may come next. Its
    logits are the products of these with ψ(the sum of the last goals), ψ linear, made a unit vector. Goals are the
    manager's: the likelihood's gradient ends before them, but for those before the first symbol, which it learns.

    Args:
        vocabulary: of the formulae.
        max_length: T, the number of positions.
        leak: what makes features of prefixes; not trained here, nor part of this network's state.
        num_features: F.
        embedding_dim: size of the worker's symbol embedding.
        hidden_dim: size of either LSTM.
        goal_dim: size of a symbol's vector, and of ψ's output.
        horizon: number of goals that are summed.
        temperature: α, which the logits are divided by.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_length: int,
        leak: Leak,
        num_features: int,
        embedding_dim: int,
        hidden_dim: int,
        goal_dim: int,
        horizon: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.vocabulary, self.max_length, self.leak = vocabulary, max_length, leak
        self.goal_dim, self.horizon, self.temperature = goal_dim, horizon, temperature
        self.manager = nn.LSTM(num_features, hidden_dim, batch_first=True)
        self.goal = nn.Linear(hidden_dim, num_features)
        self.first_goal = nn.Parameter(torch.randn(num_features))
        self.goal_embedding = nn.Linear(num_features, goal_dim, bias=False)
        self.worker = LSTMGenerator(vocabulary, embedding_dim, hidden_dim)
        self.worker.output = nn.Linear(hidden_dim, vocabulary.size * goal_dim)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, with the LSTMs left in it: cuDNN computes gradients in training mode only."""
        super().train(mode)
        self.manager.train()
        return self

    def start(self, n: int) -> State:
        """Empty prefixes, the manager's state, the goals `(n, c, F)` before any symbol, the worker's state."""
        prefix = torch.empty((n, 0), dtype=torch.int64, device=self.first_goal.device)
        zeros = self.first_goal.new_zeros((n, self.manager.hidden_size))
        return prefix, zeros, zeros, self._goals_before(n, self.horizon), *self.worker.start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        prefix, hidden, cell, goals, *worker = state
        if (symbols != self.vocabulary.bos).all():
            prefix = torch.cat([prefix, symbols[:, None]], dim=1)
        padding = (0, self.max_length - prefix.shape[1])
        features = self._leaked(nn.functional.pad(prefix, padding, value=self.vocabulary.pad))
        output, (hidden, cell) = self.manager(features[:, None], (hidden[None], cell[None]))
        goals = torch.cat([goals[:, 1:], self._direction(output)], dim=1)
        vectors, worker = self.worker.step(symbols, tuple(worker))
        return self._logits(vectors, goals.sum(dim=1)), (prefix, hidden[0], cell[0], goals, *worker)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits(tokens, self.goals(self.features(tokens)))

    def features(self, tokens: Tensor) -> Tensor:
        """Features `(n, T+1, F)` of all prefixes of formulae `(n, T)`, the empty one and the whole among them."""
        length = tokens.shape[1]
        position = torch.arange(length, device=tokens.device)
        unwritten = position >= torch.arange(length + 1, device=tokens.device)[:, None]
        prefixes = tokens[:, None].masked_fill(unwritten, self.vocabulary.pad)
        return self._leaked(prefixes.flatten(0, 1)).unflatten(0, (-1, length + 1))

    def goals(self, features: Tensor) -> Tensor:
        """The goal `(n, T, F)`, a unit vector, that is set at each prefix but the whole, from `features`."""
        return self._direction(self.manager(features[:, :-1])[0])

    def logits(self, tokens: Tensor, goals: Tensor) -> Tensor:
        """Logits `(n, T, V)` of formulae `(n, T)` under the goals `(n, T, F)` set at their prefixes."""
        before = self._goals_before(len(tokens), self.horizon - 1)
        summed = torch.cat([before, goals.detach()], dim=1).unfold(1, self.horizon, 1).sum(dim=3)
        return self._logits(self.worker(tokens), summed)

    def _logits(self, vectors: Tensor, goal: Tensor) -> Tensor:
        """Products of the vectors `(…, V·k)` of the symbols with the goals' sum `(…, F)`."""
        embedded = nn.functional.normalize(self.goal_embedding(goal), dim=-1)
        of_symbols = vectors.unflatten(-1, (self.vocabulary.size, self.goal_dim))
        return (of_symbols @ embedded[..., None]).squeeze(-1) / self.temperature

    def _direction(self, output: Tensor) -> Tensor:
        return nn.functional.normalize(self.goal(output), dim=-1)

    def _goals_before(self, n: int, number: int) -> Tensor:
        return nn.functional.normalize(self.first_goal, dim=0).expand(n, number, -1)

    @torch.no_grad()
    def _leaked(self, prefixes: Tensor) -> Tensor:
        return self.leak(prefixes)
