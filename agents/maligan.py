"""MaliGAN (Che et al. 2017): likelihood of the data, estimated on the generator's own draws.

The best discriminator has D/(1 - D) = p_data/π, so a draw x of π stands for the data with the weight
r(x) = D(x)/(1 - D(x)) = exp(logit). On n draws the generator climbs

    Σ_i (w_i - 1/n) · log π(x_i),   w_i = r(x_i) / Σ_j r(x_j),   w held fixed,

whose gradient estimates that of E_data[log π]. Where the weights are even nothing moves. They are a softmax of
logits, so they are finite where D = 1.

Mixed training: draws begin with the first N symbols of an example, whose likelihood is climbed too, and N falls
from the whole formula to none. Weights are then among draws with the same beginning, where what D makes of the
beginning cancels. So D may be, and here is, trained on whole draws throughout.

Differs from the paper: D's logit is f - log π by default, with π known and f learned (kind "ratio"), where the
paper's D learns the whole logit (kind "plain", as in the preset `paper`); its fakes may be drawn at a temperature
(`proposal_temperature`); it is not shown draws that begin as examples; the baseline is the mean from the start.
"""

import math
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
from formula_env.errors import FormulaError, check_fraction, check_no_effect
from formula_env.networks import raw_logits
from formula_env.sampling import complete, draw_keys
from formula_env.search_space import Choice, SearchSpace


@dataclass(frozen=True)
class MaliGANConfig(AgentConfig):
    """Settings of MaliGAN."""

    learning_rate: float = 1.1e-3
    discriminator: AdversaryConfig = AdversaryConfig(learning_rate=5.3e-3, weight_decay=0.3)
    mixed: float = 0.0
    """Share of the rounds in which draws begin as examples do, with fewer and fewer symbols of them."""
    completions: int = 8
    """Number of draws that begin as the same example does; a divisor of `batch_size`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(mixed=self.mixed)
        check_reads_logits(self.discriminator, "maligan")
        if self.mixed == 0:
            check_no_effect(self, "mixed 0", "completions")
        elif self.completions < 2 or self.batch_size % self.completions:
            raise FormulaError(
                f"completions must be at least 2 and divide batch_size {self.batch_size}, got {self.completions}"
            )

    def search_space(self) -> SearchSpace:
        space = super().search_space()
        batches = [size for size in (64, 128, 256) if not self.mixed or size % self.completions == 0]
        return space | {"batch_size": Choice(*batches or [self.batch_size])}


PAPER = {
    "mle_rounds": 100, "discriminator_rounds": 50, "rounds": 1000, "batch_size": 64, "d_steps": 5, "mixed": 0.5,
    "learning_rate": 1e-3, "ema_decay": 0.0,
    "discriminator": {
        "kind": "plain", "architecture": "recurrent", "learning_rate": 1e-3, "lr_end_factor": 1.0,
        "weight_decay": 0.0,
    },
}  # fmt: skip
"""A start by maximum likelihood, then mixed training, against a plain recurrent discriminator; our numbers."""


class MaliGAN(AdversarialAgent):
    """Climb Σ (w - mean w) · log π(x), with w ∝ D/(1 - D)."""

    Config = MaliGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER} | TRANSFORMERS

    @property
    def collapse_advice(self) -> str:
        return f"{ratio_advice(self.config)}raise --algo.batch-size or lower --algo.learning-rate"

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        given = self.num_given(progress)
        size = self.config.completions if given else self.config.batch_size
        tokens = self.draw_completed(real, given) if given else self.draw(self.config.batch_size)
        logits = raw_logits(self.adversary.discriminator, tokens)
        return weighted_likelihood_loss(self.token_log_probs(tokens), logits, given, size), logits

    def num_given(self, progress: float) -> int:
        """N: how many symbols of an example a draw begins with in the round at this progress."""
        if progress >= self.config.mixed:
            return 0
        return math.ceil(self.task.max_length * (1 - progress / self.config.mixed))

    def draw_completed(self, real: Tensor, given: int) -> Tensor:
        """This process' rows of a batch `(n, T)`: `completions` draws for each of the first examples."""
        size, completions = self.config.batch_size, self.config.completions
        begun = distributed.all_gather(real)[: size // completions].repeat_interleave(completions, dim=0)
        keys, examples = (distributed.local_rows(each) for each in (draw_keys(size, self.rng), begun))
        tokens = complete(self.generator, self.task.vocabulary, examples, given, keys.to(self.device))
        self.env_steps += int(distributed.all_sum((tokens[:, given:] != self.task.vocabulary.pad).sum()))
        return tokens


def weighted_likelihood_loss(log_probs: Tensor, logits: Tensor, given: int, size: int) -> Tensor:
    """-E[log π of the given symbols] - Σ (w - mean w) · log π of the others, from `(n, T)` and `(n,)`.

    Weights are normalised, and their mean taken, among each `size` rows of the joint batch that follow each other.
    """
    weights = torch.softmax(distributed.all_gather(logits.detach()).view(-1, size), dim=1).flatten()
    excess = size * distributed.local_rows(weights) - 1
    likelihood, drawn = log_probs[:, :given].sum(dim=1), log_probs[:, given:].sum(dim=1)
    return -(likelihood + excess * drawn).mean()
