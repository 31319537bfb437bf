"""Boundary-seeking GAN for discrete data (Hjelm et al. 2018): towards the data as the discriminator sees it.

With F the discriminator's logit, p̃(x) ∝ π(x)·exp(F(x)) is the data's distribution as far as F knows it. The
generator descends KL(p̃ ‖ π), whose gradient is estimated on M draws

    -Σ_m w̃_m · ∇log π(x_m),   w̃ = softmax_m F(x_m),   w̃ held fixed.

The discriminator is trained as that of a GAN. The weights are those of MaliGAN, without a baseline, in groups of
M draws; a softmax is computed by log-sum-exp, so large logits do no harm.

Differs from the paper: F is f - log π by default, with π known and f learned (kind "ratio"), where the paper's F
is learned whole (kind "plain", as in the preset `paper`). There the M draws share a noise vector; the generator
here has none, so all groups are of the same distribution.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from formula_env import distributed
from formula_env.adversary import AdversaryConfig
from formula_env.agents.adversarial_agent import (
    TRANSFORMERS,
    AdversarialAgent,
    AgentConfig,
    check_reads_logits,
    ratio_advice,
)
from formula_env.errors import MAX_BATCH, FormulaError
from formula_env.networks import raw_logits
from formula_env.search_space import Choice, SearchSpace


@dataclass(frozen=True)
class BGANConfig(AgentConfig):
    """Settings of boundary-seeking GAN."""

    learning_rate: float = 9e-4
    ema_decay: float = 0.995
    discriminator: AdversaryConfig = AdversaryConfig(learning_rate=1.6e-3, weight_decay=0.1)
    num_samples: int = 32
    """Number M of draws among which weights are normalised; a divisor of `batch_size`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_reads_logits(self.discriminator, "bgan")
        if self.num_samples < 2 or self.batch_size % self.num_samples:
            raise FormulaError(
                f"num_samples must be at least 2 and divide batch_size {self.batch_size}, got {self.num_samples}"
            )

    def search_space(self) -> SearchSpace:
        batches = [groups * self.num_samples for groups in (2, 4, 8, 64)]
        in_memory = [size for size in batches if size <= MAX_BATCH]
        return super().search_space() | {"batch_size": Choice(*in_memory or [self.batch_size])}


PAPER = {
    "batch_size": 1280, "num_samples": 20, "rounds": 2500, "learning_rate": 1e-4, "ema_decay": 0.0,
    "discriminator": {"kind": "plain", "learning_rate": 1e-4, "lr_end_factor": 1.0, "weight_decay": 0.0},
}  # fmt: skip
"""The authors' code: 20 draws of each of 64 contexts, a rate of 1e-4 for both.

Differs: Adam's β1 is .9, not .5, and the generator's rate falls to 0.
"""


class BGAN(AdversarialAgent):
    """Climb Σ_m w̃_m · log π(x_m), with w̃ the softmax of the logits of M draws."""

    Config = BGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER} | TRANSFORMERS

    @property
    def collapse_advice(self) -> str:
        return f"{ratio_advice(self.config)}raise --algo.num-samples or lower --algo.learning-rate"

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        tokens = self.draw(self.config.batch_size)
        logits = raw_logits(self.adversary.discriminator, tokens)
        log_probs = self.token_log_probs(tokens).sum(dim=1)
        return boundary_seeking_loss(log_probs, logits, self.config.num_samples), logits


def boundary_seeking_loss(log_probs: Tensor, logits: Tensor, num_samples: int) -> Tensor:
    """-Σ_m w̃_m · log π(x_m), mean over the groups of `num_samples` rows of the joint batch, from `(n,)` each."""
    groups = distributed.all_gather(logits.detach()).view(-1, num_samples)
    weights = num_samples * torch.softmax(groups, dim=1).flatten()
    return -(distributed.local_rows(weights) * log_probs).mean()
