"""Gumbel-softmax GAN (thesis chapter 6; Kusner and Hernández-Lobato 2016): symbols are sampled by a relaxation.

One file for its variants: logits bound to ±c by a tanh (section 6.2.1, c = 1) or linear (6.2.2); the relaxed
sample, or straight-through (Jang et al. 2017) the hard symbol forward and the relaxed one's gradient backward.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env.algorithm import DensityRatio, LogProb
from formula_env.errors import check_fraction, check_no_effect, check_positive
from formula_env.gan.unrolled import UnrolledGAN, UnrolledGANConfig, UnrolledGenerator
from formula_env.networks import raw_logits
from formula_env.networks.policy import Policy
from formula_env.sampling import Sampler
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class GumbelSoftmaxGANConfig(UnrolledGANConfig):
    """Settings of the Gumbel-softmax GAN."""

    rounds: int = 6000
    generator_learning_rate: float = 2e-3
    discriminator_learning_rate: float = 2e-3
    lr_end_factor: float = 0.02
    ema_decay: float = 0.998
    r1: float = 0.1
    latent_dim: int = 0
    hard: bool = True
    """Straight-through estimate: the symbol goes forward, the relaxed sample's gradient back. In the thesis
    samples are relaxed."""
    temperature: float = 1.0
    """Temperature τ in the first round."""
    final_temperature: float = 1.0
    """Temperature τ at the end, reached exponentially. In the thesis it falls from 3 to 0.1."""
    annealing: float = 1.0
    """Share of the rounds after which τ has reached `final_temperature`, where it stays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(temperature=self.temperature, final_temperature=self.final_temperature)
        check_positive(annealing=self.annealing)
        check_fraction(annealing=self.annealing)
        if self.temperature == self.final_temperature:
            check_no_effect(self, "one temperature for all rounds", "annealing")


class GumbelSoftmaxGAN(UnrolledGAN):
    """Symbols from the Gumbel-softmax distribution; straight-through and with R1 by default."""

    Config = GumbelSoftmaxGANConfig
    config: GumbelSoftmaxGANConfig

    @property
    def collapse_advice(self) -> str:
        hard = "" if self.config.hard else "set --algo.hard True, "
        bound = "lower" if self.config.logit_bound else "bound the logits with"
        return f"{hard}raise --algo.r1 or {bound} --algo.logit-bound"

    def relax(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        relaxed = gumbel_softmax(logits, self.temperature, rng)
        return straight_through(relaxed) if self.config.hard else relaxed

    @property
    def temperature(self) -> float:
        """The τ of this round, which falls exponentially, then stays."""
        first, last = self.config.temperature, self.config.final_temperature
        return first * (last / first) ** min(self.progress / self.config.annealing, 1.0)

    @property
    def policy(self) -> Policy | None:
        """Known where all that the generator reads is BOS and symbols."""
        known = self.config.hard and not self.config.latent_dim
        return self._sampler(self.weights.average).policy if known else None

    @property
    def log_prob(self) -> LogProb | None:
        return self._sampler(self.weights.average).log_prob if self.policy is not None else None

    @property
    def density_ratio(self) -> DensityRatio | None:
        return self._density_ratio if self.log_prob is not None else None

    def _density_ratio(self, tokens: Tokens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        logits = raw_logits(self.discriminator, self.encode(tokens)).double().cpu().numpy()
        return logits, self._sampler(self.generator).log_prob(tokens)

    def _sampler(self, generator: nn.Module) -> Sampler:
        assert isinstance(generator, UnrolledGenerator)
        return Sampler(generator, self.task, self.device)


def gumbel_softmax(logits: Tensor, temperature: float, rng: torch.Generator) -> Tensor:
    """softmax((logits + g)/τ) of logits `(…, V)`, g ~ Gumbel(0, 1) (thesis eq. 6.5).

    Its largest entry has the distribution softmax(logits), whatever τ (Lemma 3). τ → 0 makes the sample one-hot,
    τ → ∞ the constant 1/V (the thesis' eqs. 6.6 and 6.7 have the limits swapped).
    """
    return torch.softmax((logits + gumbel_noise(logits.shape, rng).to(logits)) / temperature, dim=-1)


def gumbel_noise(shape: Sequence[int], rng: torch.Generator) -> Tensor:
    """Numbers of this shape from Gumbel(0, 1), on the CPU."""
    uniform = torch.rand(shape, generator=rng).clamp_(min=torch.finfo(torch.float32).tiny)
    return -torch.log(-torch.log(uniform))


def straight_through(relaxed: Tensor) -> Tensor:
    """The one-hot of the largest entry of `(…, V)` forward, the relaxed sample's gradient backward."""
    hard = torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(dim=-1, keepdim=True), 1.0)
    return hard + (relaxed - relaxed.detach())  # the bracket is 0 to the last bit
