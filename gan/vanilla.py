"""The vanilla GAN (Goodfellow et al. 2014; thesis chapter 4): noise to vectors, through two MLPs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from formula_env.adversarial import Metrics
from formula_env.errors import MAX_WIDTH, check_range
from formula_env.gan.base import GAN, GANConfig
from formula_env.tasks.base import ContinuousTask, Vectors


@dataclass(frozen=True)
class VanillaGANConfig(GANConfig):
    """Settings of the vanilla GAN."""

    batch_size: int = 256
    lr_end_factor: float = 0.0
    ema_decay: float = 0.999
    r1: float = 0.003
    latent_dim: int = 16
    """Size of the noise z ~ U(0, 1)."""
    hidden_dim: int = 200
    """Size of both hidden layers of both networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_WIDTH, latent_dim=self.latent_dim, hidden_dim=self.hidden_dim)


class VanillaGAN(GAN):
    """MLPs; with R1, falling learning rates and averaged weights by default."""

    Config = VanillaGANConfig
    task_type = ContinuousTask
    config: VanillaGANConfig

    def __init__(self, task: ContinuousTask, config: VanillaGANConfig, seed: int, device: torch.device) -> None:
        self.task = task
        super().__init__(config, seed, device)

    def make_generator(self) -> nn.Module:
        return mlp(self.config.latent_dim, self.config.hidden_dim, self.task.size)

    def make_discriminator(self) -> nn.Module:
        return nn.Sequential(mlp(self.task.size, self.config.hidden_dim, 1), nn.Flatten(0))

    def encode(self, real: Vectors) -> Tensor:
        return torch.from_numpy(real).float().to(self.device)

    def generate(self, generator: nn.Module, n: int, rng: torch.Generator) -> tuple[Tensor, Metrics]:
        noise = torch.rand((n, self.config.latent_dim), generator=rng)
        return generator(noise.to(self.device)), {}

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Vectors:
        vectors, _ = self.generate(self.weights.average, n, torch.Generator().manual_seed(seed))
        return vectors.double().cpu().numpy()


def mlp(inputs: int, hidden_dim: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, linear output."""
    return nn.Sequential(
        nn.Linear(inputs, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, hidden_dim),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden_dim, outputs),
    )
