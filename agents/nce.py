"""Noise-contrastive estimation (Gutmann & Hyvärinen 2010): a generator that learns as its own discriminator.

Real formulae are told from noise of known density q by the logit log π(x) - log q(x), where π is the generator.
The best logit is log p_data(x) - log q(x), so π ends as p_data, whatever the noise is, as long as no real formula
is impossible in it. There is no second network and no reinforcement: this is SeqGAN's ratio discriminator alone.

π sums to 1, so the normalising constant that is learnt with an energy model is known: c = 0. Were it learnt, noise
of well-formed formulae alone would leave open how probable all others are.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from formula_env import distributed
from formula_env.adversarial import discriminator_step, floats
from formula_env.algorithm import SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import (
    MAX_BATCH,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import AutoregressiveDiscriminator, GeneratorConfig, RatioDiscriminator
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.networks.policy import UniformPolicy
from formula_env.optimizers import set_lr
from formula_env.sampling import Sampler, draw_keys, log_prob
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

NoiseName = Literal["uniform", "tempered"]


@dataclass(frozen=True)
class NCEConfig(GeneratorConfig):
    """Settings of noise-contrastive estimation."""

    rounds: int = 1450
    """Number of updates."""
    batch_size: int = 256
    """Number of real formulae in an update, and of noise."""
    noise: NoiseName = "uniform"
    """Distribution of the noise: "uniform" over legal symbols, or the "tempered" generator, which also breaks the
    grammar."""
    noise_temperature: float = 5.0
    """Temperature of "tempered" noise; above 1 its mistakes are more varied."""
    learning_rate: float = 4e-3
    """Learning rate of Adam in the first round; it falls linearly to 0."""
    weight_decay: float = 0.3
    """Decoupled weight decay, as in AdamW; the share per update is that times the rate."""
    ema_decay: float = 0.99
    """Decay per update of the moving average of the weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_fraction(ema_decay=self.ema_decay)
        check_positive(
            noise_temperature=self.noise_temperature,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        self.check_generator()
        if self.noise == "uniform":
            check_no_effect(self, "noise uniform", "noise_temperature")

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "learning_rate": LogRange(5e-4, 1e-2),
            "batch_size": Choice(64, 128, 256, 512),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            **self.likelihood_space(),
        }


class NCE(SequenceAlgorithm):
    """Minimise -E_real[log σ(log π(x) - log q(x))] - E_q[log σ(log q(x) - log π(x))]."""

    Config = NCEConfig

    def __init__(self, task: SequenceTask, config: NCEConfig, seed: int, device: torch.device) -> None:
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = config.make_generator(task).to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        tempered = Decoded(self.generator, Decoding(config.noise_temperature))
        self.noise = Sampler(UniformPolicy(task) if config.noise == "uniform" else tempered, task, device)
        energy = AutoregressiveDiscriminator(task.vocabulary, task.max_length, self.generator).to(device)
        energy.offset.requires_grad_(False)
        self.discriminator = RatioDiscriminator(energy, self.noise_log_prob)
        self.ddp_discriminator = distributed.parallel(self.discriminator)
        self.optimizer = config.make_optimizer(self.generator, config.learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_batch_size = config.rounds, config.batch_size

    def noise_log_prob(self, tokens: Tensor) -> Tensor:
        """log q `(n,)` of formulae `(n, T)`, nats; step by step, so that dropout does not act."""
        return log_prob(self.noise.policy, self.task.vocabulary, tokens).float()

    @property
    def collapse_advice(self) -> str:
        return "lower --algo.rounds or --algo.learning-rate, or train on more with --data.size"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of logistic regression between real formulae and as many of noise."""
        set_lr(self.optimizer, self.config.learning_rate * linear(progress))
        batch = distributed.local_rows(torch.from_numpy(real).to(self.device))
        noise = self.noise.write(distributed.local_rows(draw_keys(self.config.batch_size, self.rng)))
        max_grad_norm = self.config.max_grad_norm
        metrics = discriminator_step(
            self.ddp_discriminator, self.optimizer, batch, noise, max_grad_norm=max_grad_norm
        )
        self.weights.update()
        return floats(metrics)

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.weights.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
