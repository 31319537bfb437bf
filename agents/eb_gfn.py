"""EB-GFN (Zhang et al. 2022): a GFlowNet whose reward is learnt from examples.

A discriminator tells examples from draws of known density q by the logit f(x) - log q(x), so its best f is
log p_data (`RatioDiscriminator`). The policy π minimises the log-variance loss of `gflownet` with R = exp f,

    L(θ) = Var_{x ~ b}[log π_θ(x) - f(x)],

whose only minimum is π ∝ exp f, whatever the batch b is drawn from. With b = π the gradient of L/2 is that of
SeqGAN whose reward is the logit. What differs is that batches may be off-policy: examples, and draws at a high
temperature.

In the paper f is an energy, learnt by contrastive divergence with the policy's help. Here it is a density ratio,
whose target does not move with the policy.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from formula_env import distributed
from formula_env.adversarial import floats, gradient_step, mle_step
from formula_env.adversary import Adversary, AdversaryConfig
from formula_env.agents.gflownet import log_variance
from formula_env.agents.seqgan import UNSEEN as SEQGAN_UNSEEN
from formula_env.algorithm import DensityRatio, SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import (
    MAX_BATCH,
    FormulaError,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import GeneratorConfig
from formula_env.networks.decoding import Decoded, DecodedGenerator, Decoding
from formula_env.networks.generators import token_log_probs
from formula_env.optimizers import adam, set_lr
from formula_env.sampling import Sampler, draw_keys
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class EBGFNConfig(GeneratorConfig):
    rounds: int = 2500
    """Number of updates of the policy, each with one of the discriminator."""
    mle_rounds: int = 0
    """Updates by maximum likelihood before."""
    discriminator_rounds: int = 0
    """Updates of the discriminator between maximum likelihood and the first update of the policy."""
    batch_size: int = 256
    """Number of formulae in an update of the policy; examples, and as many fakes, in one of the discriminator."""
    examples: float = 0.25
    """Share of the policy's batch that are examples."""
    exploration: float = 0.0
    """Share of the policy's batch that is drawn at `exploration_temperature`."""
    exploration_temperature: float = 4.0
    """Temperature of those draws."""
    discriminator: AdversaryConfig = AdversaryConfig()
    """Settings of the discriminator; an "autoregressive" one begins as a copy of the MLE start."""
    mle_learning_rate: float = 3e-3
    """Learning rate of Adam for maximum likelihood."""
    learning_rate: float = 2e-3
    """Learning rate of Adam for the policy in its first update; it falls linearly to 0."""
    ema_decay: float = 0.99
    """Decay per update of the moving average of the weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_at_least(0, mle_rounds=self.mle_rounds, discriminator_rounds=self.discriminator_rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_fraction(examples=self.examples, exploration=self.exploration, ema_decay=self.ema_decay)
        check_positive(
            exploration_temperature=self.exploration_temperature,
            mle_learning_rate=self.mle_learning_rate,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        self.check_generator()
        if self.examples + self.exploration > 1:
            raise FormulaError(
                f"examples and exploration must be 1 at most together, got {self.examples + self.exploration}"
            )
        if self.exploration == 0:
            check_no_effect(self, "exploration 0", "exploration_temperature")
        if self.mle_rounds == 0:
            check_no_effect(self, "mle_rounds 0", "mle_learning_rate", "optimizer", "weight_decay", "dropout")
        if (self.discriminator.kind, self.discriminator.reward_transform) != ("ratio", "log-ratio"):
            raise FormulaError(
                "the reward is a log-density: discriminator.kind must be ratio, its reward_transform log-ratio"
            )

    def search_space(self) -> SearchSpace:
        space: SearchSpace = {
            "learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(64, 128, 256),
            "examples": Choice(0.0, 0.25, 0.5),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            "discriminator.learning_rate": LogRange(1e-4, 1e-2),
            "discriminator.weight_decay": Choice(0.0, 0.1, 0.3, 1.0),
            **self.decoding_space(),
        }
        return {**space, **self.likelihood_space()} if self.mle_rounds else space


UNSEEN = {name: value for name, value in SEQGAN_UNSEEN.items() if name != "d_steps"}
"""Preset for training sets that hold few of the correct formulae: the settings of SeqGAN's."""


class EBGFN(SequenceAlgorithm):
    """Minimise Var[log π(x) - f(x)], while f learns the log-density of the examples."""

    Config = EBGFNConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"unseen": UNSEEN}

    def __init__(self, task: SequenceTask, config: EBGFNConfig, seed: int, device: torch.device) -> None:
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = config.make_generator(task).to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        proposal = DecodedGenerator(self.generator, Decoding(config.discriminator.proposal_temperature))
        energy = config.make_energy(config.discriminator.architecture, task).to(device)
        self.adversary = Adversary(energy, config.discriminator, self.generator.log_prob, proposal.log_prob)
        self.mle_optimizer = config.make_optimizer(self.generator, config.mle_learning_rate)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.start_label = "MLE start" if config.mle_rounds else "untrained"
        self.pretrain_rounds = config.mle_rounds + config.discriminator_rounds
        self.rounds, self.real_batch_size = config.rounds, config.batch_size
        self.num_pretrained = self.env_steps = 0

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.examples or lower --algo.learning-rate"

    def pretrain(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of maximum likelihood or, after those, of the discriminator."""
        self.num_pretrained += 1
        if self.num_pretrained > self.config.mle_rounds:
            return self.train_discriminator(real, progress=0.0)
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        metrics = mle_step(self.weights.ddp, self.mle_optimizer, self._local(real), pad, max_grad_norm)
        self.weights.restart()
        self.adversary.begin_as(self.generator)
        return floats(metrics)

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of the policy down the log-variance loss, one of the discriminator."""
        set_lr(self.optimizer, self.config.learning_rate * linear(progress))
        tokens = self.draw_batch(real)
        reward = self.adversary.reward_model.score(tokens)
        loss = self.loss(tokens, reward)
        gradient_step(self.generator, self.optimizer, loss, self.config.max_grad_norm)
        self.weights.update()
        metrics = floats({"train/loss": loss.detach(), "train/reward": reward.mean()})
        return metrics | self.train_discriminator(real, progress)

    def loss(self, tokens: Tensor, reward: Tensor) -> Tensor:
        """Var[log π - f] of formulae `(n, T)`; `reward` `(n,)` is f - log π of the moment, clipped."""
        log_probs = token_log_probs(self.weights.ddp(tokens), tokens, self.task.vocabulary.pad).sum(dim=1)
        return log_variance(log_probs, log_probs.detach() + reward)

    def draw_batch(self, real: Tokens) -> Tensor:
        """This process' rows of a batch `(n, T)`: first examples, then draws to explore, then the policy's own."""
        size = self.config.batch_size
        num_examples = round(self.config.examples * size)
        num_explored = min(round(self.config.exploration * size), size - num_examples)
        row = distributed.local_rows(torch.arange(size))
        keys = draw_keys(size, self.rng)[row]
        examples = self._local(real)[row < num_examples]
        is_explored = (num_examples <= row) & (row < num_examples + num_explored)
        explored = self.write(keys[is_explored], self.config.exploration_temperature)
        own = self.write(keys[row >= num_examples + num_explored], temperature=1.0)
        return torch.cat([examples, explored, own])

    def write(self, keys: Tensor, temperature: float) -> Tensor:
        """Formulae `(n, T)` of these keys `(n,)`, written by the newest policy at a temperature."""
        tokens = Sampler(Decoded(self.generator, Decoding(temperature)), self.task, self.device).write(keys)
        self.env_steps += int(distributed.all_sum((tokens != self.task.vocabulary.pad).sum()))
        return tokens

    def train_discriminator(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of the discriminator on examples and as many draws at its temperature."""
        keys = distributed.local_rows(draw_keys(self.config.batch_size, self.rng))
        fake = self.write(keys, self.config.discriminator.proposal_temperature)
        return floats(self.adversary.train(self._local(real), fake, progress))

    def _local(self, real: Tokens) -> Tensor:
        """This process' rows of a batch of examples."""
        return distributed.local_rows(torch.from_numpy(real).to(self.device))

    @property
    def density_ratio(self) -> DensityRatio:
        return self.adversary.ratio_to(Sampler(self.generator, self.task, self.device))

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        counters = {name: getattr(self, name) for name in _COUNTERS}
        return saved | counters | {"rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.rng.set_state(state["rng"])


_STATEFUL = ("weights", "adversary", "mle_optimizer", "optimizer")
_COUNTERS = ("num_pretrained", "env_steps")
