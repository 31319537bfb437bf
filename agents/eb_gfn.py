"""EB-GFN (Zhang et al. 2022): a GFlowNet whose reward is learnt from examples.

A discriminator tells examples from draws of known density q by the logit f(x) - log q(x), so its best f is
log p_data (`RatioDiscriminator`). The policy π minimises the log-variance loss of `gflownet` with R = exp f,

    L(θ) = Var_{x ~ b}[log π_θ(x) - f(x)],

whose only minimum is π ∝ exp f, whatever the batch b is drawn from, if it can hold every string. With b = π the
gradient of L/2 is that of SeqGAN whose reward is the logit. What differs is that batches may be off-policy:
examples, and draws at a high temperature.

In the paper f is an energy, learnt by contrastive divergence with the policy's help. Here it is a density ratio,
whose target does not move with the policy.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from formula_env import distributed
from formula_env.agents.adversarial_agent import AdversarialAgent, AgentConfig
from formula_env.agents.gflownet import log_variance
from formula_env.agents.seqgan import UNSEEN
from formula_env.errors import FormulaError, check_fraction, check_no_effect, check_positive
from formula_env.sampling import draw_keys
from formula_env.search_space import Choice, SearchSpace


@dataclass(frozen=True)
class EBGFNConfig(AgentConfig):
    """Settings of the energy-based GFlowNet."""

    examples: float = 0.25
    """Share of the policy's batch that are examples."""
    exploration: float = 0.0
    """Share of the policy's batch that is drawn at `exploration_temperature`."""
    exploration_temperature: float = 4.0
    """Temperature of those draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(examples=self.examples, exploration=self.exploration)
        check_positive(exploration_temperature=self.exploration_temperature)
        if self.examples + self.exploration > 1:
            raise FormulaError(
                f"examples and exploration must be 1 at most together, got {self.examples + self.exploration}"
            )
        if self.exploration == 0:
            check_no_effect(self, "exploration 0", "exploration_temperature")
        if (self.discriminator.kind, self.discriminator.reward_transform) != ("ratio", "log-ratio"):
            raise FormulaError(
                "the reward is a log-density: discriminator.kind must be ratio, its reward_transform log-ratio"
            )

    def search_space(self) -> SearchSpace:
        shares = [share for share in (0.0, 0.25, 0.5) if share + self.exploration <= 1]
        return super().search_space() | {"examples": Choice(*shares)}


class EBGFN(AdversarialAgent):
    """Minimise Var[log π(x) - f(x)], while f learns the log-density of the examples."""

    Config = EBGFNConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"unseen": UNSEEN}

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.examples or lower --algo.learning-rate"

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """The log-variance loss of a batch of examples and draws."""
        tokens = self.draw_batch(real)
        reward = self.adversary.reward_model.score(tokens)
        return self.loss(tokens, reward), reward

    def loss(self, tokens: Tensor, reward: Tensor) -> Tensor:
        """Var[log π - f] of formulae `(n, T)`; `reward` `(n,)` is f - log π of the moment, clipped."""
        log_probs = self.token_log_probs(tokens).sum(dim=1)
        return log_variance(log_probs, log_probs.detach() + reward)

    def draw_batch(self, real: Tensor) -> Tensor:
        """This process' rows of a batch `(n, T)`: first examples, then draws to explore, then the policy's own."""
        size = self.config.batch_size
        num_examples = round(self.config.examples * size)
        num_explored = min(round(self.config.exploration * size), size - num_examples)
        row = distributed.local_rows(torch.arange(size))
        keys = draw_keys(size, self.rng)[row]
        examples = real[row < num_examples]
        is_explored = (num_examples <= row) & (row < num_examples + num_explored)
        explored = self.write(keys[is_explored], self.config.exploration_temperature)
        own = self.write(keys[row >= num_examples + num_explored], temperature=1.0)
        return torch.cat([examples, explored, own])
