"""The straight-forward softmax GAN (thesis chapter 5): the generator's softmax goes to the discriminator as it is.

Real formulae are one-hot, generated ones lie inside the simplex, so a discriminator can tell them apart by that
alone (the thesis' section 5.2 cites its eq. 2.7 for this and means 2.11; the divergence saturates at log 2 nats).
"""

import torch
from torch import Tensor

from gan.unrolled import UnrolledGAN


class SoftmaxGAN(UnrolledGAN):
    """The softmax of the logits goes to the discriminator and back into the generator; nothing is sampled."""

    def relax(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        return torch.softmax(logits, dim=1)
