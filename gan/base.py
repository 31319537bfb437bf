"""Alternating updates of a generator and a discriminator, gradients flowing from one into the other."""

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from formula_env.adversarial import (
    Metrics,
    adam,
    discriminator_step,
    floats,
    generator_step,
    move_weights,
    set_lr,
)
from formula_env.algorithm import Batch, DensityRatio, LogProb
from formula_env.distributed import check_alone
from formula_env.errors import MAX_BATCH, check_above_zero, check_at_least, check_range, check_share, check_types


@dataclass(frozen=True)
class GANConfig:
    rounds: int = 15_000
    """One update each of the discriminator and of the generator."""
    batch_size: int = 64
    """Real, and as many generated, formulae in a round."""
    generator_learning_rate: float = 5e-4
    """Of Adam."""
    discriminator_learning_rate: float = 5e-4
    """Of Adam."""
    final_share: float = 1.0
    """The share of both learning rates that they fall to, linearly, over the rounds. 1 in the thesis."""
    weight_averaging: float = 0.0
    """The reported generator is the moving average of the trained one, with this decay per round. 0 in the
    thesis: it is the trained one."""
    r1: float = 0.0
    """γ of the discriminator's R1 penalty, γ/2·E‖∇D(real)‖², D its logit. 0 in the thesis."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_at_least(0, r1=self.r1)
        check_share(final_share=self.final_share, weight_averaging=self.weight_averaging)
        check_above_zero(
            generator_learning_rate=self.generator_learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate,
        )


class GAN(ABC):
    """Thesis Algorithm 1 with N_D = N_G = 1 and the non-saturating generator loss (eq. 2.3).

    Unlike there, the batch that D has just been trained on serves G, too, instead of a fresh one.
    """

    pretrain_rounds = 0
    start_name = "untrained"
    env_steps = 0
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    config: Any

    def __init__(self, config: GANConfig, seed: int, device: torch.device) -> None:
        check_alone("a GAN that is trained through the discriminator's gradient")
        torch.manual_seed(seed)
        self.config, self.device = config, device
        self.generator = self.make_generator().to(device)
        self.averaged_generator = deepcopy(self.generator)
        self.discriminator = self.make_discriminator().to(device)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.discriminator_optimizer = adam(self.discriminator.parameters(), config.discriminator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_per_round = config.rounds, config.batch_size
        self.round = 0

    @property
    def collapse_advice(self) -> str:
        advice = ["raise --algo.r1"]
        if self.config.final_share > 0:
            advice.append("lower --algo.final-share")
        return " or ".join([*advice, "lower --algo.generator-learning-rate"])

    @abstractmethod
    def make_generator(self) -> nn.Module: ...

    @abstractmethod
    def make_discriminator(self) -> nn.Module: ...

    @abstractmethod
    def encode(self, real: Batch) -> Tensor:
        """Real formulae as the discriminator reads them, floats."""

    @abstractmethod
    def generate(self, generator: nn.Module, n: int, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        """n formulae of a generator in that form, with their gradient; and what there is to tell of them."""

    def pretrain(self, real: Batch) -> dict[str, float]:
        raise NotImplementedError("pretrain_rounds is 0")

    def update(self, real: Batch) -> dict[str, float]:
        """One update of D, then one of G."""
        self._decay_learning_rates()
        true = self.encode(real)
        fake, told = self.generate(self.generator, len(true), self.rng)
        metrics = discriminator_step(
            self.discriminator, self.discriminator_optimizer, true, fake.detach(), self.config.r1
        )
        metrics |= generator_step(self.generator, self.generator_optimizer, self.discriminator, fake)
        move_weights(self.averaged_generator, self.generator, self.config.weight_averaging)
        self.round += 1
        return floats(metrics | told)

    def _decay_learning_rates(self) -> None:
        share = 1 - (1 - self.config.final_share) * self.round / self.rounds
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * share)
        set_lr(self.discriminator_optimizer, self.config.discriminator_learning_rate * share)

    @property
    def log_prob(self) -> LogProb | None:
        return None

    @property
    def density_ratio(self) -> DensityRatio | None:
        return None

    def exports(self) -> dict[str, bytes]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _SAVED}
        return saved | {"round": self.round, "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _SAVED:
            getattr(self, name).load_state_dict(state[name])
        self.round = state["round"]
        self.rng.set_state(state["rng"])


_SAVED = ("generator", "averaged_generator", "discriminator", "generator_optimizer", "discriminator_optimizer")
