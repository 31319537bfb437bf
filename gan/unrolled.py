"""What the differentiable GANs over symbols share: an unrolled generator, and alternating updates through it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from formula_env.adversarial import adam, discriminator_step, floats, generator_step, move_weights, set_lr
from formula_env.algorithm import LogProb
from formula_env.distributed import check_alone
from formula_env.errors import FormulaError, check_above_zero, check_at_least, check_share, check_types
from formula_env.networks import DiscriminatorName, LSTMGenerator, make_discriminator
from formula_env.networks.discriminators import one_hot
from formula_env.networks.policy import State
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens, Vocabulary

Relax = Callable[[Tensor], Tensor]
"""Logits `(n, V)` to what stands for the next symbol: a point of the simplex, or one of its corners, `(n, V)`."""


@dataclass(frozen=True)
class UnrolledGANConfig:
    rounds: int = 7850
    """One update each of the discriminator and of the generator."""
    batch_size: int = 64
    """Real, and as many generated, formulae in a round."""
    generator_learning_rate: float = 5e-4
    """Of Adam."""
    discriminator_learning_rate: float = 5e-4
    """Of Adam."""
    final_share: float = 1.0
    """What is left of both learning rates in the last round; they fall linearly. 1 in the thesis."""
    weight_averaging: float = 0.0
    """The reported generator is the moving average of the trained one, with this decay per round; 0: the last."""
    r1: float = 0.0
    """γ of the discriminator's R1 penalty, γ/2·E‖∇D(real)‖²; 0 in the thesis."""
    latent_dim: int = 16
    """Of the noise z ~ U(0, 1) that the generator reads first; 0: it reads BOS."""
    logit_bound: float = 0.0
    """c: logits are c·tanh(·); 0: they are linear. The thesis has both in chapter 6, with c = 1."""
    discriminator: DiscriminatorName = "mlp"
    """Its architecture."""
    embedding_dim: int = 32
    """Of the generator's symbols."""
    hidden_dim: int = 64
    """Of the generator's LSTM."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds, batch_size=self.batch_size)
        check_at_least(1, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_at_least(0, latent_dim=self.latent_dim, logit_bound=self.logit_bound, r1=self.r1)
        check_share(final_share=self.final_share, weight_averaging=self.weight_averaging)
        check_above_zero(
            generator_learning_rate=self.generator_learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate,
        )


class UnrolledGAN(ABC):
    """Thesis Algorithm 1 with N_D = N_G = 1 and the non-saturating generator loss (eq. 2.3), over sequences."""

    Config: ClassVar[Any] = UnrolledGANConfig
    trains_on = Task
    pretrain_rounds = 0
    start_name = "untrained"
    env_steps = 0

    def __init__(self, task: Task, config: Any, seed: int, device: torch.device) -> None:
        if task.vocabulary.eos is not None:
            raise FormulaError("formulae that end with EOS are not for this GAN, which writes one length only")
        check_alone("a GAN that is trained through the discriminator's gradient")
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = UnrolledGenerator(
            task.vocabulary,
            task.max_length,
            config.latent_dim,
            config.logit_bound,
            config.embedding_dim,
            config.hidden_dim,
        ).to(device)
        self.averaged_generator = deepcopy(self.generator)
        self.discriminator = make_discriminator(config.discriminator, task).to(device)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.discriminator_optimizer = adam(self.discriminator.parameters(), config.discriminator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_per_round = config.rounds, config.batch_size
        self.round = 0

    @abstractmethod
    def relax(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        """Logits `(n, V)` to what the discriminator, and the generator itself, reads as the symbol, `(n, V)`."""

    def update(self, real: Tokens) -> dict[str, float]:
        """One update of D, then one of G, on the same generated batch."""
        share = 1 - (1 - self.config.final_share) * self.round / self.rounds
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * share)
        set_lr(self.discriminator_optimizer, self.config.discriminator_learning_rate * share)
        true = one_hot(torch.from_numpy(real).to(self.device), self.task.vocabulary.size)
        fake, logits = self.generator(len(true), lambda x: self.relax(x, self.rng), self.rng)
        metrics = discriminator_step(
            self.discriminator, self.discriminator_optimizer, true, fake.detach(), self.config.r1
        )
        metrics |= generator_step(self.generator, self.generator_optimizer, self.discriminator, fake)
        move_weights(self.averaged_generator, self.generator, self.config.weight_averaging)
        self.round += 1
        return floats(metrics | {"train/logit_gap": logit_gap(logits)})

    def pretrain(self, real: Tokens) -> dict[str, float]:
        raise NotImplementedError("pretrain_rounds is 0")

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tokens:
        """The largest entry of each relaxed one-hot."""
        rng = torch.Generator().manual_seed(seed)
        samples, _ = self.averaged_generator(n, lambda x: self.relax(x, rng), rng)
        return samples.argmax(dim=2).cpu().numpy()

    @property
    def log_prob(self) -> LogProb | None:
        return None

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _SAVED}
        return saved | {"round": self.round, "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _SAVED:
            getattr(self, name).load_state_dict(state[name])
        self.round = state["round"]
        self.rng.set_state(state["rng"])


_SAVED = ("generator", "averaged_generator", "discriminator", "generator_optimizer", "discriminator_optimizer")


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
        return self.lstm.start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """As a policy on ids, which it is where it reads no noise."""
        logits, state = self.lstm.step(symbols, state)
        return self._bound(logits), state


def logit_gap(logits: Tensor) -> Tensor:
    """How far the largest logit is above the next one, on average over `(…, V)` (thesis Fig 6.5, bottom)."""
    largest = logits.detach().topk(2, dim=-1).values
    return (largest[..., 0] - largest[..., 1]).mean()
