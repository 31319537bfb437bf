"""Alternating updates of a generator and a discriminator, gradients flowing from one into the other."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from formula_env.adversarial import (
    Metrics,
    discriminator_step,
    floats,
    generator_step,
)
from formula_env.algorithm import Algorithm, Batch
from formula_env.averaged import Averaged
from formula_env.distributed import check_alone
from formula_env.errors import MAX_BATCH, check_at_least, check_fraction, check_positive, check_range, check_types
from formula_env.optimizers import adam, set_lr
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace


@dataclass(frozen=True)
class GANConfig:
    """Settings of every GAN that is trained through the discriminator's gradient."""

    rounds: int = 15_000
    """Rounds of one update each of the discriminator and of the generator."""
    batch_size: int = 64
    """Number of real, and as many generated, formulae in a round."""
    generator_learning_rate: float = 5e-4
    """Learning rate of the generator's Adam in the first round."""
    discriminator_learning_rate: float = 5e-4
    """Learning rate of the discriminator's Adam in the first round."""
    lr_end_factor: float = 1.0
    """Share of both learning rates that is left at the end; they fall linearly. 1 in the thesis."""
    ema_decay: float = 0.0
    """Decay per round of the moving average of the generator's weights, which is reported. 0 in the thesis: the
    newest weights are."""
    r1: float = 0.0
    """Weight γ of the discriminator's R1 penalty, γ/2·E‖∇D(real)‖², D its logit. 0 in the thesis."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_at_least(0, r1=self.r1)
        check_fraction(lr_end_factor=self.lr_end_factor, ema_decay=self.ema_decay)
        check_positive(
            generator_learning_rate=self.generator_learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate,
        )

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "generator_learning_rate": LogRange(1e-4, 1e-2),
            "discriminator_learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(64, 128, 256),
            "r1": Choice(0.0, 0.003, 0.02, 0.1, 0.5),
            "lr_end_factor": Choice(0.0, 0.02, 1.0),
            "ema_decay": Choice(0.0, 0.99, 0.998, 0.999),
        }


class GAN(Algorithm):
    """Thesis Algorithm 1 with N_D = N_G = 1 and the non-saturating generator loss (eq. 2.3).

    Unlike there, the batch that D has just been trained on serves G, too, instead of a fresh one.
    """

    config: Any

    def __init__(self, config: GANConfig, seed: int, device: torch.device) -> None:
        check_alone("a GAN that is trained through the discriminator's gradient")
        torch.manual_seed(seed)
        self.config, self.device = config, device
        self.generator = self.make_generator().to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.discriminator = self.make_discriminator().to(device)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.discriminator_optimizer = adam(self.discriminator.parameters(), config.discriminator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_batch_size = config.rounds, config.batch_size
        self.progress = 0.0
        """Share of the rounds that are done, in [0, 1]; samples may depend on it."""

    @property
    def collapse_advice(self) -> str:
        advice = ["raise --algo.r1"]
        if self.config.lr_end_factor > 0:
            advice.append("lower --algo.lr-end-factor")
        return " or ".join([*advice, "lower --algo.generator-learning-rate"])

    @abstractmethod
    def make_generator(self) -> nn.Module:
        """A new generator of formulae from noise."""

    @abstractmethod
    def make_discriminator(self) -> nn.Module:
        """A new discriminator, which gives a logit `(n,)` for n formulae."""

    @abstractmethod
    def encode(self, real: Batch) -> Tensor:
        """Real formulae as the discriminator reads them, floats."""

    @abstractmethod
    def generate(self, generator: nn.Module, n: int, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        """n formulae of a generator in that form, with their gradient; and metrics of them."""

    def update(self, real: Batch, progress: float) -> dict[str, float]:
        """One update of the discriminator, then one of the generator."""
        self.progress = progress
        factor = linear(progress, self.config.lr_end_factor)
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * factor)
        set_lr(self.discriminator_optimizer, self.config.discriminator_learning_rate * factor)
        true = self.encode(real)
        fake, metrics = self.generate(self.generator, len(true), self.rng)
        metrics |= discriminator_step(
            self.discriminator, self.discriminator_optimizer, true, fake.detach(), self.config.r1
        )
        metrics |= generator_step(self.generator, self.generator_optimizer, self.discriminator, fake)
        self.weights.update()
        self.progress = (round(progress * self.rounds) + 1) / self.rounds
        return floats(metrics)

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return saved | {"rng": self.rng.get_state(), "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])
        self.progress = state["progress"]


_STATEFUL = ("weights", "discriminator", "generator_optimizer", "discriminator_optimizer")
