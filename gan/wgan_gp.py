"""WGAN-GP on symbols (Gulrajani et al. 2017): the critic reads the softmax itself, its gradient's norm held at 1.

    repeat: the critic ← `d_steps` steps down  E[C(fake)] - E[C(real)] + λ·E[(‖∇C(x̂)‖ - 1)²]
            the generator ← one step down  -E[C(fake)]

x̂ is on the line between a real formula, one-hot, and a fake one, whose rows are softmaxes: points of the same
space. C, held near slope 1, measures the distance to move the ones onto the others (Wasserstein-1). So discrete
data need no sampling, and no relaxation that is annealed. Generator and critic are the paper's: noise, linear,
residual blocks of 1-d convolutions over the positions, softmax.

A formula is the largest entry of each position, up to the first EOS where there is one. All chance is in the
noise, so the likelihood is not known and metrics are those of samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from formula_env.adversarial import Metrics, floats
from formula_env.algorithm import Algorithm
from formula_env.averaged import Averaged
from formula_env.distributed import check_alone
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    MAX_WIDTH,
    check_at_least,
    check_fraction,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks.discriminators import padded_one_hot
from formula_env.optimizers import adam, set_lr
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class WGANGPConfig:
    """Settings of WGAN-GP."""

    rounds: int = 1500
    """Rounds of `d_steps` updates of the critic and one of the generator."""
    batch_size: int = 128
    """Number of real, and as many generated, formulae in an update."""
    d_steps: int = 2
    """Critic updates in a round."""
    gradient_penalty: float = 10.0
    """Weight λ of the penalty on the norm of the critic's gradient."""
    latent_dim: int = 128
    """Size of the noise z ~ N(0, 1)."""
    channels: int = 64
    """Width of the convolutions; 512 in the paper."""
    blocks: int = 2
    """Number of residual blocks of either network; 5 in the paper."""
    generator_learning_rate: float = 9e-4
    """Learning rate of the generator's Adam in the first round."""
    critic_learning_rate: float = 6.7e-3
    """Learning rate of the critic's Adam in the first round."""
    lr_end_factor: float = 1.0
    """Share of both learning rates that is left at the end; they fall linearly."""
    ema_decay: float = 0.999
    """Decay per round of the moving average of the generator's weights, which is reported; 0: the newest are."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds, blocks=self.blocks)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, d_steps=self.d_steps, blocks=self.blocks)
        check_range(1, MAX_WIDTH, latent_dim=self.latent_dim, channels=self.channels)
        check_at_least(0, gradient_penalty=self.gradient_penalty)
        check_fraction(lr_end_factor=self.lr_end_factor, ema_decay=self.ema_decay)
        check_positive(
            generator_learning_rate=self.generator_learning_rate, critic_learning_rate=self.critic_learning_rate
        )

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "generator_learning_rate": LogRange(1e-4, 1e-2),
            "critic_learning_rate": LogRange(1e-4, 1e-2),
            "gradient_penalty": Choice(1.0, 10.0),
            "batch_size": Choice(64, 128),
            "d_steps": Choice(*sorted({2, 5, self.d_steps})),
            "lr_end_factor": Choice(0.0, 1.0),
            "ema_decay": Choice(0.0, 0.99, 0.999),
        }


PAPER = {
    "channels": 512, "blocks": 5, "batch_size": 64, "d_steps": 10, "generator_learning_rate": 1e-4,
    "critic_learning_rate": 1e-4, "lr_end_factor": 1.0, "ema_decay": 0.0,
}  # fmt: skip
"""The authors' language model, at their size; it is trained for 200,000 rounds there."""


class ResidualBlock(nn.Module):
    """Two convolutions over the positions, scaled by 0.3 and added to the input: `(n, C, T)` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv1d(channels, channels, 5, padding=2),
            nn.ReLU(), nn.Conv1d(channels, channels, 5, padding=2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.3 * self.layers(x)


class ConvGenerator(nn.Module):
    """Noise `(n, latent_dim)` to a softmax over the symbols at each position, `(n, T, V)`."""

    def __init__(self, latent_dim: int, length: int, vocab_size: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.latent_dim, self.channels, self.length = latent_dim, channels, length
        self.first = nn.Linear(latent_dim, channels * length)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.last = nn.Conv1d(channels, vocab_size, 1)

    def forward(self, noise: Tensor) -> Tensor:
        x = self.first(noise).view(-1, self.channels, self.length)
        return self.last(self.blocks(x)).softmax(dim=1).transpose(1, 2)


class ConvCritic(nn.Module):
    """Formulae `(n, T, V)`, rows on the simplex, to numbers `(n,)` without bounds."""

    def __init__(self, length: int, vocab_size: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(vocab_size, channels, 1), *(ResidualBlock(channels) for _ in range(blocks)),
            nn.Flatten(), nn.Linear(channels * length, 1),
        )  # fmt: skip

    def forward(self, formulae: Tensor) -> Tensor:
        return self.layers(formulae.transpose(1, 2)).squeeze(1)


class WGANGP(Algorithm):
    """Wasserstein GAN with gradient penalty, between one-hot and softmax sequences."""

    Config = WGANGPConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    task_type = SequenceTask

    def __init__(self, task: SequenceTask, config: WGANGPConfig, seed: int, device: torch.device) -> None:
        check_alone("a GAN that is trained through the discriminator's gradient")
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        length, size = task.max_length, task.vocabulary.size
        generator = ConvGenerator(config.latent_dim, length, size, config.channels, config.blocks).to(device)
        self.weights = Averaged(generator, config.ema_decay)
        self.critic = ConvCritic(length, size, config.channels, config.blocks).to(device)
        betas = (0.5, 0.9)
        self.generator_optimizer = adam(generator.parameters(), config.generator_learning_rate, betas=betas)
        self.critic_optimizer = adam(self.critic.parameters(), config.critic_learning_rate, betas=betas)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_batch_size = config.rounds, config.d_steps * config.batch_size

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.gradient-penalty or --algo.d-steps"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """`d_steps` of the critic, each on new real and new generated formulae; one of the generator."""
        factor = linear(progress, self.config.lr_end_factor)
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * factor)
        set_lr(self.critic_optimizer, self.config.critic_learning_rate * factor)
        metrics: Metrics = {}
        for batch in self.encode(real).split(self.config.batch_size):
            metrics = self.train_critic(batch, self.generate(self.weights.network, len(batch), self.rng).detach())
        fake = self.generate(self.weights.network, self.config.batch_size, self.rng)
        loss = -self.critic(fake).mean()
        _descend(self.generator_optimizer, loss)
        self.weights.update()
        return floats(metrics | {"train/loss": loss.detach()})

    def train_critic(self, real: Tensor, fake: Tensor) -> Metrics:
        """One update of the critic on real and fake formulae `(B, T, V)`."""
        distance = self.critic(real).mean() - self.critic(fake).mean()
        between = torch.rand((len(real), 1, 1), generator=self.rng).to(real)
        penalty = gradient_penalty(self.critic, fake + between * (real - fake))
        loss = -distance + self.config.gradient_penalty * penalty
        _descend(self.critic_optimizer, loss)
        return {"discriminator/loss": loss.detach(), "discriminator/distance": distance.detach()}

    def generate(self, generator: ConvGenerator, n: int, rng: torch.Generator) -> Tensor:
        """n relaxed formulae of a generator `(n, T, V)`, with their gradient."""
        return generator(torch.randn((n, generator.latent_dim), generator=rng).to(self.device))

    def encode(self, real: Tokens) -> Tensor:
        """Formulae as one-hots `(n, T, V)`; EOS fills what is behind it."""
        return padded_one_hot(torch.from_numpy(real).to(self.device), self.task.vocabulary.size)

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tokens:
        """The largest entry at each position, PAD behind the first EOS."""
        rng = torch.Generator().manual_seed(seed)
        tokens = self.generate(self.weights.average, n, rng).argmax(dim=2).cpu().numpy()
        if (eos := self.task.vocabulary.eos) is None:
            return tokens
        ended = np.cumsum(tokens == eos, axis=1) - (tokens == eos) > 0
        return np.where(ended, self.task.vocabulary.pad, tokens)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in _STATEFUL} | {"rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])


_STATEFUL = ("weights", "critic", "generator_optimizer", "critic_optimizer")


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """E[(‖∇C(x̂)‖ - 1)²] at points `(n, …)`, the norm over all of a point's entries."""
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
