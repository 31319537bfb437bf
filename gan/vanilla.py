"""The vanilla GAN (Goodfellow et al. 2014; thesis chapter 4): noise to vectors, through two MLPs."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from formula_env.adversarial import adam, discriminator_step, floats, generator_step, move_weights, set_lr
from formula_env.algorithm import LogProb
from formula_env.distributed import check_alone
from formula_env.errors import check_above_zero, check_at_least, check_share, check_types
from formula_env.tasks.base import Vectors, VectorTask


@dataclass(frozen=True)
class VanillaGANConfig:
    rounds: int = 15_000
    """One update each of the discriminator and of the generator."""
    batch_size: int = 256
    """Real, and as many generated, vectors in a round."""
    generator_learning_rate: float = 5e-4
    """Of Adam."""
    discriminator_learning_rate: float = 5e-4
    """Of Adam."""
    final_share: float = 0.0
    """What is left of both learning rates in the last round; they fall linearly. 1 in the thesis."""
    weight_averaging: float = 0.999
    """The reported generator is the moving average of the trained one, with this decay per round; 0 in the thesis:
    the last."""
    r1: float = 0.003
    """γ of the discriminator's R1 penalty, γ/2·E‖∇D(real)‖²; 0 in the thesis."""
    latent_dim: int = 16
    """Of the noise z ~ U(0, 1)."""
    hidden_dim: int = 200
    """Of both hidden layers of both networks."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds, batch_size=self.batch_size)
        check_at_least(1, latent_dim=self.latent_dim, hidden_dim=self.hidden_dim)
        check_at_least(0, r1=self.r1)
        check_share(final_share=self.final_share, weight_averaging=self.weight_averaging)
        check_above_zero(
            generator_learning_rate=self.generator_learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate,
        )


class VanillaGAN:
    """Thesis Algorithm 1 with N_D = N_G = 1 and the non-saturating generator loss (eq. 2.3)."""

    Config = VanillaGANConfig
    trains_on = VectorTask
    pretrain_rounds = 0
    start_name = "untrained"
    env_steps = 0

    def __init__(self, task: VectorTask, config: VanillaGANConfig, seed: int, device: torch.device) -> None:
        check_alone("a GAN that is trained through the discriminator's gradient")
        torch.manual_seed(seed)
        self.config, self.device = config, device
        self.generator = mlp(config.latent_dim, config.hidden_dim, task.size).to(device)
        self.averaged_generator = deepcopy(self.generator)
        self.discriminator = nn.Sequential(mlp(task.size, config.hidden_dim, 1), nn.Flatten(0)).to(device)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.discriminator_optimizer = adam(self.discriminator.parameters(), config.discriminator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_per_round = config.rounds, config.batch_size
        self.round = 0

    def pretrain(self, real: Vectors) -> dict[str, float]:
        raise NotImplementedError("pretrain_rounds is 0")

    def update(self, real: Vectors) -> dict[str, float]:
        """One update of D, then one of G, on the same generated batch."""
        self._decay_learning_rates()
        true = torch.from_numpy(real).float().to(self.device)
        fake = self.generator(self.noise(len(true), self.rng))
        metrics = discriminator_step(
            self.discriminator, self.discriminator_optimizer, true, fake.detach(), self.config.r1
        )
        metrics |= generator_step(self.generator, self.generator_optimizer, self.discriminator, fake)
        move_weights(self.averaged_generator, self.generator, self.config.weight_averaging)
        self.round += 1
        return floats(metrics)

    def noise(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.rand((n, self.config.latent_dim), generator=rng).to(self.device)

    def _decay_learning_rates(self) -> None:
        share = 1 - (1 - self.config.final_share) * self.round / self.rounds
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * share)
        set_lr(self.discriminator_optimizer, self.config.discriminator_learning_rate * share)

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Vectors:
        vectors = self.averaged_generator(self.noise(n, torch.Generator().manual_seed(seed)))
        return vectors.double().cpu().numpy()

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


def mlp(inputs: int, hidden_dim: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, linear output."""
    return nn.Sequential(
        nn.Linear(inputs, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, outputs),
    )
