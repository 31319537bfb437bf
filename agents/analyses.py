"""Exact errors of SeqGAN's gradient estimators, where every formula can be listed.

`estimator_rows` returns rows for a study; `formula_env.experiment.registry.ANALYSES` names it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from formula_env.adversarial import mle_step
from formula_env.adversary import AdversaryConfig
from formula_env.agents.seqgan import SeqGAN, SeqGANConfig
from formula_env.sampling import sample
from formula_env.tasks import SequenceTask, make_task

Row = dict[str, Any]

REWARDS: dict[str, dict[str, Any]] = {
    "probability": {"discriminator": AdversaryConfig(kind="plain", reward_transform="probability")},
    "log-ratio": {"discriminator": AdversaryConfig(kind="ratio", reward_transform="log-ratio")},
}

ESTIMATORS: dict[str, dict[str, Any]] = {
    "whole formula": {"num_rollouts": 0, "baseline": False},
    "whole formula, baseline": {"num_rollouts": 0, "baseline": True},
    "16 rollouts, baseline": {"num_rollouts": 16, "baseline": True},
    "64 rollouts, baseline": {"num_rollouts": 64, "baseline": True},
    "exact Q, baseline": {"q_estimator": "exact", "baseline": True},
}
"""Ways to the gradient of E[R(Y)]; the baseline is the batch mean at each position."""

REFERENCE = "whole formula, baseline"
"""Estimator of the default settings."""

BATCH = 64
MLE_STEPS, DISCRIMINATOR_STEPS = 100, 200


def estimator_rows(seed: int, num_batches: int = 400, length: int = 8) -> list[Row]:
    """Errors of each estimator in one batch of 64 formulae, beside the gradient ∇ that listing all of them gives.

    The generator is half trained by likelihood, the discriminator a little against it. All relative to ∇:

    bias: ‖mean g - ∇‖ / ‖∇‖ over the batches, and `noise`, what an unbiased estimator of this variance would show
        there: √(variance / num_batches). A baseline alone makes it 1/64.
    variance: E‖g - mean g‖² / ‖∇‖²; `variance_share`, divided by that of the whole formula with baseline.
    cosine: of a single g and ∇, the mean; `cosine_of_mean`: of the mean g and ∇.
    """
    task = make_task("binary-sum", length=length)
    rows: list[Row] = []
    for reward, settings in REWARDS.items():
        begun = _half_trained(task, settings, seed)
        exact = enumerated_gradient(begun)
        measured: list[Row] = []
        for name, estimator in ESTIMATORS.items():
            seqgan = _with_weights_of(begun, {**settings, **estimator}, seed)
            estimates = torch.stack([estimated_gradient(seqgan) for _ in range(num_batches)])
            row: Row = {"estimator": name, "reward": reward, "batch": BATCH, "num_batches": num_batches}
            row |= {"q": seqgan.config.q_estimator, "num_rollouts": seqgan.config.num_rollouts}
            measured.append(row | {"baseline": seqgan.config.baseline} | errors(estimates, exact))
        (reference,) = (row["variance"] for row in measured if row["estimator"] == REFERENCE)
        rows += [row | {"variance_share": row["variance"] / reference} for row in measured]
    return rows


def errors(estimates: Tensor, exact: Tensor) -> dict[str, float]:
    """Errors of estimates `(n, P)` of a gradient `(P,)`; see `estimator_rows`."""
    mean, size = estimates.mean(dim=0), exact.norm()
    variance = estimates.var(dim=0).sum() / size.square()
    return {
        "bias": float((mean - exact).norm() / size),
        "noise": float((variance / len(estimates)).sqrt()),
        "variance": float(variance),
        "cosine": float(torch.cosine_similarity(estimates, exact[None], dim=1).mean()),
        "cosine_of_mean": float(torch.cosine_similarity(mean, exact, dim=0)),
    }


def enumerated_gradient(seqgan: SeqGAN) -> Tensor:
    """∇ of -E[R(Y)] `(P,)` by listing every sequence; the reward is held fixed, as it is in training."""
    task = seqgan.task
    sequences = torch.cartesian_prod(*[torch.arange(task.vocabulary.size)] * task.max_length)
    probs = seqgan.generator.log_prob(sequences).exp()
    return _gradient(-(probs * seqgan.env.reward_model.score(sequences)).sum(), seqgan)


def estimated_gradient(seqgan: SeqGAN) -> Tensor:
    """The gradient `(P,)` that training computes from a fresh batch."""
    return _gradient(seqgan.generator_loss(seqgan.config.ent_coef)[0], seqgan)


def _gradient(loss: Tensor, seqgan: SeqGAN) -> Tensor:
    parts = torch.autograd.grad(loss, list(seqgan.generator.parameters()))
    return torch.cat([part.flatten() for part in parts]).double()


def _config(settings: dict[str, Any]) -> SeqGANConfig:
    return SeqGANConfig(batch_size=BATCH, **settings)


def _half_trained(task: SequenceTask, settings: dict[str, Any], seed: int) -> SeqGAN:
    """A generator between random and good, and a discriminator that has begun to separate it from the data."""
    config, rng = _config(settings), np.random.default_rng(seed)
    seqgan = SeqGAN(task, config, seed, torch.device("cpu"))
    for _ in range(MLE_STEPS):
        real = torch.from_numpy(task.sample(BATCH, rng))
        mle_step(seqgan.generator, seqgan.mle_optimizer, real, task.vocabulary.pad, config.max_grad_norm)
    for _ in range(DISCRIMINATOR_STEPS):
        real = torch.from_numpy(task.sample(BATCH, rng))
        fake = sample(seqgan.generator, task.vocabulary, task.max_length, BATCH, seqgan.rng)
        seqgan.adversary.train(real, fake, progress=0.0)
    return seqgan


def _with_weights_of(begun: SeqGAN, settings: dict[str, Any], seed: int) -> SeqGAN:
    seqgan = SeqGAN(begun.task, _config(settings), seed, torch.device("cpu"))
    seqgan.generator.load_state_dict(begun.generator.state_dict())
    seqgan.adversary.load_state_dict(begun.adversary.state_dict())
    return seqgan
