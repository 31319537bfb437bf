"""The two gradient steps that every adversarial algorithm here shares, and what keeps them steady."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from formula_env.distributed import all_mean
from formula_env.networks.generators import token_log_probs
from formula_env.optimizers import Optimizer
from formula_env.vocabulary import distinct_rows

Metrics = dict[str, Tensor]
"""Scalars of one step, left on the device: turn them into floats once a round."""


def discriminator_step(
    discriminator: nn.Module,
    optimizer: Optimizer,
    real: Tensor,
    fake: Tensor,
    r1: float = 0.0,
    max_grad_norm: float = math.inf,
) -> Metrics:
    """One update on real and fake formulae (ids or relaxed). At log 2 = 0.693 nats it can't tell them apart.

    With `r1` > 0 its gradient at the real ones (relaxed) is penalised by r1 · `r1_penalty`. The norm of the
    update's whole gradient is clipped to `max_grad_norm`.
    """
    formulae, real_share, fake_share = labelled(real, fake)
    logits = discriminator(formulae)
    loss = discriminator_loss(logits, real_share, fake_share)
    optimizer.zero_grad()
    (loss + r1 * r1_penalty(discriminator, real) if r1 else loss).backward()
    if max_grad_norm < math.inf:
        nn.utils.clip_grad_norm_(discriminator.parameters(), max_grad_norm)
    optimizer.step()
    logits = logits.detach()
    return {
        "discriminator/loss": loss.detach(),
        "discriminator/accuracy": torch.where(logits > 0, real_share, fake_share).sum(),
        "discriminator/fake": 2 * (torch.sigmoid(logits) * fake_share).sum(),
    }


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """½·E‖∇ logit‖² at real samples `(n, …)`, floats (Mescheder et al. 2018, eq. 9, γ = 1)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


def generator_step(generator: nn.Module, optimizer: Optimizer, discriminator: nn.Module, fake: Tensor) -> Metrics:
    """One update of the generator through the discriminator: minimise -E[log D(fake)] (thesis eq. 2.3), nats.

    `fake` are samples that carry their gradient to the generator.
    """
    loss = nn.functional.softplus(-discriminator(fake)).mean()
    optimizer.zero_grad()
    loss.backward(inputs=list(generator.parameters()))
    optimizer.step()
    return {"train/loss": loss.detach()}


def discriminator_loss(logits: Tensor, real_share: Tensor, fake_share: Tensor) -> Tensor:
    """Binary cross-entropy in nats, real = 1 (thesis eq. 2.2, its sign turned).

    `logits` `(n,)` of formulae that make up these shares `(n,)` of the real and of the fake half; all shares sum
    to 1. A formula that is in both halves has the soft label real/(real + fake).
    """
    share = real_share + fake_share
    return nn.functional.binary_cross_entropy_with_logits(
        logits, real_share / share, weight=share, reduction="sum"
    )


def labelled(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both halves as one batch: formulae `(n, …)`, and the share of each that is real, and fake, `(n,)`.

    Each half weighs ½. Ids on a CPU come without repetitions: where formulae are short, batches are full of them.
    """
    formulae = torch.cat([real, fake])
    if formulae.is_floating_point() or formulae.device.type != "cpu":  # finding repetitions would make a GPU wait
        shares = torch.zeros((2, len(formulae)), device=formulae.device)
        shares[0, : len(real)], shares[1, len(real) :] = 0.5 / len(real), 0.5 / len(fake)
        return formulae, shares[0], shares[1]
    first, index = distinct_rows(formulae.numpy())
    real_share = np.bincount(index[: len(real)], minlength=len(first)) / (2 * len(real))
    fake_share = np.bincount(index[len(real) :], minlength=len(first)) / (2 * len(fake))
    distinct = formulae.index_select(0, torch.from_numpy(first))
    return distinct, torch.from_numpy(real_share).float(), torch.from_numpy(fake_share).float()


def mle_step(generator: nn.Module, optimizer: Optimizer, real: Tensor, pad: int, max_grad_norm: float) -> Metrics:
    """One update towards the likelihood of real formulae `(n, T)`: teacher forcing; NLL in nats per formula."""
    generator.train()
    loss = -token_log_probs(generator(real), real, pad).sum(dim=1).mean()
    generator.eval()
    gradient_step(generator, optimizer, loss, max_grad_norm)
    return {"train/nll": loss.detach()}


def gradient_step(network: nn.Module, optimizer: Optimizer, loss: Tensor, max_grad_norm: float) -> None:
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


def floats(metrics: Metrics) -> dict[str, float]:
    """Metrics off the device; the means over all processes, where there are several."""
    values = all_mean(torch.stack([value.double() for value in metrics.values()]))
    return dict(zip(metrics, values.tolist(), strict=True))
