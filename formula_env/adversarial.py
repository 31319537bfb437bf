"""The two gradient steps that every adversarial algorithm here shares, and what keeps them steady."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from formula_env.networks.generators import LSTMGenerator

Metrics = dict[str, Tensor]
"""Scalars of one step, left on the device: turn them into floats once a round."""


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy in nats, real = 1, both halves weighted alike (thesis eq. 2.2, its sign turned)."""
    softplus = nn.functional.softplus
    return (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2


def discriminator_step(
    discriminator: nn.Module, optimizer: torch.optim.Optimizer, real: Tensor, fake: Tensor
) -> Metrics:
    """One update on real and fake formulae (ids or relaxed). At log 2 = 0.693 nats it can't tell them apart."""
    logits = discriminator(torch.cat([real, fake]))
    real_logits, fake_logits = logits[: len(real)], logits[len(real) :]
    loss = discriminator_loss(real_logits, fake_logits)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        accuracy = ((real_logits > 0).float().mean() + (fake_logits <= 0).float().mean()) / 2
    return {"discriminator/loss": loss.detach(), "discriminator/accuracy": accuracy}


def mle_step(
    generator: LSTMGenerator, optimizer: torch.optim.Optimizer, real: Tensor, max_grad_norm: float
) -> Metrics:
    """One update towards the likelihood of real formulae `(n, T)`: teacher forcing, nats per formula."""
    loss = -generator.log_prob(real).mean()
    gradient_step(generator, optimizer, loss, max_grad_norm)
    return {"train/nll": loss.detach()}


def gradient_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_grad_norm: float
) -> None:
    """Descend the loss, with the norm of the whole gradient clipped."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
    optimizer.step()


@torch.no_grad()
def move_weights(target: nn.Module, source: nn.Module, decay: float) -> None:
    """target ← decay · target + (1 - decay) · source, parameter by parameter; decay 0 copies."""
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old.lerp_(new, 1 - decay)


def adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Adam in one fused kernel, which matters for networks this small."""
    return torch.optim.Adam(parameters, lr=lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
