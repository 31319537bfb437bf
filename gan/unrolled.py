"""Base of the differentiable GANs over symbols: a generator that is unrolled over the positions."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from formula_env.adversarial import Metrics
from formula_env.errors import MAX_WIDTH, FormulaError, check_at_least, check_range
from formula_env.gan.base import GAN, GANConfig
from formula_env.networks import DiscriminatorName, LSTMGenerator, make_discriminator
from formula_env.networks.discriminators import one_hot
from formula_env.networks.policy import State
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens, Vocabulary

Relax = Callable[[Tensor], Tensor]
"""Logits `(n, V)` to what stands for the next symbol: a point of the simplex, or one of its corners, `(n, V)`."""


@dataclass(frozen=True)
class UnrolledGANConfig(GANConfig):
    """Settings of GANs whose generator is unrolled over the positions."""

    latent_dim: int = 16
    """Size of the noise z ~ U(0, 1) that the generator reads first; 0: it reads BOS."""
    logit_bound: float = 0.0
    """Bound c of the logits, c·tanh(·); 0: they are linear. The thesis has both in chapter 6, with c = 1."""
    discriminator: DiscriminatorName = "mlp"
    """Architecture of the discriminator."""
    embedding_dim: int = 32
    """Size of the generator's symbol embedding."""
    hidden_dim: int = 64
    """Size of the generator's LSTM."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_WIDTH, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_range(0, MAX_WIDTH, latent_dim=self.latent_dim)
        check_at_least(0, logit_bound=self.logit_bound)


class UnrolledGAN(GAN):
    """Sequences of one length; a subclass defines what goes to the discriminator in a symbol's place."""

    Config: ClassVar[Any] = UnrolledGANConfig
    task_type = SequenceTask

    def __init__(self, task: SequenceTask, config: UnrolledGANConfig, seed: int, device: torch.device) -> None:
        if task.vocabulary.eos is not None:
            raise FormulaError("formulae that end with EOS are not for this GAN, which writes one length only")
        self.task = task
        super().__init__(config, seed, device)

    @abstractmethod
    def relax(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        """Logits `(n, V)` to what the discriminator, and the generator itself, reads as the symbol, `(n, V)`."""

    def make_generator(self) -> nn.Module:
        config = self.config
        return UnrolledGenerator(
            self.task.vocabulary,
            self.task.max_length,
            config.latent_dim,
            config.logit_bound,
            config.embedding_dim,
            config.hidden_dim,
        )

    def make_discriminator(self) -> nn.Module:
        return make_discriminator(self.config.discriminator, self.task)

    def encode(self, real: Tokens) -> Tensor:
        return one_hot(torch.from_numpy(real).to(self.device), self.task.vocabulary.size)

    def generate(self, generator: nn.Module, n: int, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        samples, logits = generator(n, lambda x: self.relax(x, rng), rng)
        return samples, {"train/logit_gap": logit_gap(logits)}

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tokens:
        """The largest entry of each relaxed one-hot."""
        samples, _ = self.generate(self.weights.average, n, torch.Generator().manual_seed(seed))
        return samples.argmax(dim=2).cpu().numpy()


class UnrolledGenerator(nn.Module):
    """Thesis Fig 6.2: an LSTM reads noise first, then each of its own samples, and emits the next logits.

    Args:
        vocabulary: of the formulae.
        max_length: T, their length.
        latent_dim: of the noise, projected to the first input. 0: it reads BOS instead; all chance is in the
            samples then, and where these are hard, the likelihood is explicit.
        logit_bound: c; logits are c·tanh(output), so that no two are further apart than 2c. 0: they are linear.
        embedding_dim: of the symbols.
        hidden_dim: of the LSTM.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_length: int,
        latent_dim: int,
        logit_bound: float,
        embedding_dim: int,
        hidden_dim: int,
    ) -> None:
        super().__init__()
        self.vocabulary, self.max_length = vocabulary, max_length
        self.latent_dim, self.logit_bound = latent_dim, logit_bound
        self.lstm = LSTMGenerator(vocabulary, embedding_dim, hidden_dim)
        self.first_input = nn.Linear(latent_dim, 4 * hidden_dim) if latent_dim else None

    def forward(self, n: int, relax: Relax, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """n sequences as samples, and the logits behind them, `(n, T, V)` each."""
        table = self.lstm.table()
        inputs = self._first(n, table, rng)
        state = self.lstm.start(n)
        samples, logits = [], []
        for _ in range(self.max_length):
            output, state = self.lstm.cell(inputs, state)
            logits.append(self._bound(output))
            samples.append(relax(logits[-1]))
            inputs = samples[-1] @ table[: self.vocabulary.size]
        return torch.stack(samples, dim=1), torch.stack(logits, dim=1)

    def _first(self, n: int, table: Tensor, rng: torch.Generator) -> Tensor:
        if self.first_input is None:
            return table[self.vocabulary.bos].expand(n, -1)
        return self.first_input(torch.rand((n, self.latent_dim), generator=rng).to(table.device))

    def _bound(self, logits: Tensor) -> Tensor:
        return self.logit_bound * torch.tanh(logits) if self.logit_bound else logits

    def start(self, n: int) -> State:
        """The state of n formulae before their first symbol."""
        return self.lstm.start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """The generator as a policy on ids, which it is where it reads no noise."""
        logits, state = self.lstm.step(symbols, state)
        return self._bound(logits), state


def logit_gap(logits: Tensor) -> Tensor:
    """How far the largest logit is above the next one, on average over `(…, V)` (thesis Fig 6.5, bottom)."""
    largest = logits.detach().topk(2, dim=-1).values
    return (largest[..., 0] - largest[..., 1]).mean()
