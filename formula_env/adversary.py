"""The discriminator that is trained: network, optimiser, learning-rate schedule, moving average and reward."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env import distributed
from formula_env.adversarial import Metrics, discriminator_step
from formula_env.algorithm import DensityRatio
from formula_env.averaged import Averaged
from formula_env.errors import (
    FormulaError,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_types,
)
from formula_env.networks import (
    AutoregressiveDiscriminator,
    DiscriminatorKind,
    EnergyName,
    RatioDiscriminator,
    raw_logits,
)
from formula_env.optimizers import adam, set_lr
from formula_env.rewards import DiscriminatorReward, RewardTransform
from formula_env.sampling import Sampler
from formula_env.schedules import linear
from formula_env.vocabulary import Tokens

LogDensity = Callable[[Tensor], Tensor]
"""Formulae `(n, T)` to their log-density `(n,)`, nats."""


@dataclass(frozen=True)
class AdversaryConfig:
    """Settings of a discriminator and of the reward it gives."""

    architecture: EnergyName = "mlp"
    """Architecture of the network; "autoregressive" is a language model, for kind "ratio" only."""
    kind: DiscriminatorKind = "ratio"
    """Meaning of the network's output: "plain", the logit, as in the thesis; "ratio", the logit plus log π."""
    reward_transform: RewardTransform = "log-ratio"
    """Reward as a function of the logit: "probability", its sigmoid, as in the thesis; "log-ratio", itself."""
    reward_clip: float = 5.0
    """Bound of a "log-ratio" reward, nats."""
    learning_rate: float = 1e-3
    """Learning rate of Adam in the first round."""
    lr_end_factor: float = 0.0
    """Share of the learning rate that is left at the end; it falls linearly."""
    weight_decay: float = 0.0
    """Decoupled weight decay, as in AdamW; it keeps the network from memorising a small training set."""
    ema_decay: float = 0.0
    """Decay per update of the moving average of the weights that gives the rewards; 0: the newest weights do."""
    max_grad_norm: float = 0.0
    """Bound of the gradient's norm; 0: none."""
    proposal_temperature: float = 1.0
    """Temperature at which fakes are drawn, for kind "ratio"; above 1 their mistakes are more varied."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(0, weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)
        check_fraction(lr_end_factor=self.lr_end_factor, ema_decay=self.ema_decay)
        check_positive(
            learning_rate=self.learning_rate,
            reward_clip=self.reward_clip,
            proposal_temperature=self.proposal_temperature,
        )
        if self.reward_transform == "probability":
            check_no_effect(self, "reward_transform probability", "reward_clip")
        if self.kind == "plain" and self.architecture == "autoregressive":
            raise FormulaError("an autoregressive discriminator is a log-density: it needs kind ratio")
        if self.kind == "plain" and self.proposal_temperature != 1:
            raise FormulaError(
                "proposal_temperature is for kind ratio; a plain discriminator must see the formulae it rewards"
            )

    @property
    def advice(self) -> str:
        """The beginning of an advice for collapsed runs: what to change first; "" if nothing."""
        if self.kind == "plain":
            return "set --algo.discriminator.kind ratio with --algo.discriminator.reward-transform log-ratio, "
        if self.reward_transform == "probability":
            return "set --algo.discriminator.reward-transform log-ratio, "
        return ""


class Adversary:
    """Discriminator with its optimiser, schedule, moving average and reward model.

    Args:
        network: formulae `(n, T)` to numbers `(n,)`: the logits, or f of a `RatioDiscriminator`.
        config: its settings.
        log_density: of the policy that is rewarded; for kind "ratio".
        proposal_log_density: of what writes the fakes, if not that policy; for kind "ratio".
    """

    def __init__(
        self,
        network: nn.Module,
        config: AdversaryConfig,
        log_density: LogDensity,
        proposal_log_density: LogDensity | None = None,
    ) -> None:
        self.config, self.weights = config, Averaged(network, config.ema_decay)
        self.optimizer = adam(network.parameters(), config.learning_rate, config.weight_decay)
        self.discriminator = self._discriminator(self.weights.average, log_density)
        """Formulae to the logits `(n,)` behind the reward."""
        trained = self._discriminator(network, proposal_log_density or log_density)
        self._trained = distributed.parallel(trained)
        self.reward_model = DiscriminatorReward(self.discriminator, config.reward_transform, config.reward_clip)

    def _discriminator(self, network: nn.Module, log_density: LogDensity) -> nn.Module:
        return network if self.config.kind == "plain" else RatioDiscriminator(network, log_density)

    def train(
        self, real: Tensor, fake: Tensor, progress: float, fake_log_density: LogDensity | None = None
    ) -> Metrics:
        """One update on real and fake formulae `(B, T)`; see `discriminator_step`.

        Args:
            real: formulae of the data.
            fake: formulae of the proposal, whose density is known.
            progress: how far the run is, in [0, 1]; the learning rate follows it.
            fake_log_density: of these fakes, if they are not the proposal's.
        """
        set_lr(self.optimizer, self.config.learning_rate * linear(progress, self.config.lr_end_factor))
        trained = self._discriminator(self.network, fake_log_density) if fake_log_density else self._trained
        max_grad_norm = self.config.max_grad_norm or math.inf
        metrics = discriminator_step(trained, self.optimizer, real, fake, max_grad_norm=max_grad_norm)
        self.weights.update()
        return metrics

    def begin_as(self, generator: nn.Module) -> None:
        """Copy a generator's weights into f, if that is a model like it."""
        if isinstance(self.network, AutoregressiveDiscriminator):
            self.network.model.load_state_dict(generator.state_dict())
            self.weights.restart()

    @property
    def network(self) -> nn.Module:
        """The network that is trained: the logits, or f."""
        return self.weights.network

    def ratio_to(self, policy: Sampler) -> DensityRatio:
        """How well the logits know the ratio of real to fake density, whose fakes are this policy's."""

        def ratio(tokens: Tokens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            logits = raw_logits(self.discriminator, torch.from_numpy(tokens).to(policy.device))
            return logits.double().cpu().numpy(), policy.log_prob(tokens)

        return ratio

    def state_dict(self) -> dict[str, Any]:
        """A copy of the state that training continues from, as tensors and plain values."""
        return {name: deepcopy(getattr(self, name).state_dict()) for name in _STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; raises FormulaError for that of another architecture or task."""
        try:
            for name in _STATEFUL:
                # A copy: an optimiser would train the caller's tensors.
                getattr(self, name).load_state_dict(deepcopy(state[name]))
        except (KeyError, RuntimeError, ValueError) as error:
            raise FormulaError(
                f'the state holds no "{self.config.architecture}" discriminator of this task'
            ) from error


_STATEFUL = ("weights", "optimizer")
