"""The straight-forward softmax GAN (thesis chapter 5): the generator's softmax goes to the discriminator as it is.

Real formulae are one-hot, generated ones lie inside the simplex, so a discriminator can tell them apart by that
alone (the thesis' section 5.2 cites its eq. 2.7 for this and means 2.11; the divergence saturates at log 2 nats).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from formula_env.errors import MAX_WIDTH, check_range
from formula_env.gan.unrolled import UnrolledGAN, UnrolledGANConfig


@dataclass(frozen=True)
class SoftmaxGANConfig(UnrolledGANConfig):
    """Settings of the softmax GAN."""

    rounds: int = 3140
    latent_dim: int = 16
    """Size of the noise z ~ U(0, 1) that the generator reads first, the only source of chance in this GAN."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_WIDTH, latent_dim=self.latent_dim)


class SoftmaxGAN(UnrolledGAN):
    """The softmax of the logits goes to the discriminator and back into the generator; nothing is sampled."""

    Config = SoftmaxGANConfig

    @property
    def collapse_advice(self) -> str:
        return "train gumbel-softmax-gan instead; this one does not stay varied (runs/studies/softmax-gan)"

    def relax(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        return torch.softmax(logits, dim=1)
