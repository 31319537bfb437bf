"""SeqGAN (Yu et al. 2017; thesis chapter 7): the generator is an agent, the discriminator its reward.

`SeqGAN.update` is one epoch of the thesis' Algorithm 3, with one correction: Algorithm 3 updates the generator
inside its loop over t, which takes the running episode off-policy; here it is updated once per batch of finished
episodes, as in Yu et al.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from formula_env import distributed
from formula_env.adversarial import Metrics, floats, gradient_step, mle_step
from formula_env.adversary import Adversary, AdversaryConfig
from formula_env.agents.adversarial_agent import LANGUAGE_MODEL
from formula_env.algorithm import DensityRatio, SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.env_options import QEstimator
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import MANY, GeneratorConfig
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.networks.generators import token_log_probs
from formula_env.optimizers import adam, set_lr
from formula_env.rollouts import check_tree_size
from formula_env.sampling import Sampler, draw_keys
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.turns import TRANSFORMER_START
from formula_env.vector_env import FormulaVectorEnv
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class SeqGANConfig(GeneratorConfig):
    """Settings of SeqGAN."""

    rounds: int = 2500
    """Adversarial rounds: an update of the generator, then `d_steps` of the discriminator."""
    mle_rounds: int = 0
    """Rounds of maximum-likelihood pre-training, `d_steps` updates each."""
    mle_stop_nll: float = 0.0
    """Mean NLL of a round, nats per symbol, below which MLE pre-training ends early; 0: never."""
    discriminator_rounds: int = 0
    """Rounds of discriminator pre-training, `d_steps` updates each, and what MLE leaves of its own."""
    batch_size: int = 256
    """Episodes in a generator update; real, and as many fake, formulae in a discriminator update."""
    d_steps: int = 2
    """Discriminator updates in a round."""
    num_rollouts: int = 0
    """Monte-Carlo completions behind the Q of each prefix; 0: all symbols share their formula's reward."""
    q_estimator: QEstimator = "monte-carlo"
    """Estimator of Q; "exact" replaces sampling by backward recursion, where the prefix tree is small."""
    baseline: bool = True
    """Subtraction of the batch mean of Q at each position, the baseline of REINFORCE."""
    ent_coef: float = 0.0
    """Weight α of the policy's entropy (nats) beside the reward; falls linearly."""
    discriminator: AdversaryConfig = AdversaryConfig()
    """Settings of the discriminator; an "autoregressive" one begins as a copy of the pre-trained generator."""
    mle_learning_rate: float = 3e-3
    """Learning rate of Adam for maximum likelihood."""
    mle_lr_end_factor: float = 1.0
    """Share of that learning rate that is left after `mle_rounds`; it falls linearly."""
    generator_learning_rate: float = 2e-3
    """Learning rate of Adam for the policy gradient in the first round."""
    lr_end_factor: float = 0.0
    """Share of the generator's learning rate and of `ent_coef` that is left at the end; they fall linearly."""
    ema_decay: float = 0.99
    """Decay per update of the moving average of the generator's weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the generator gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(0, mle_rounds=self.mle_rounds, discriminator_rounds=self.discriminator_rounds)
        check_at_least(0, mle_stop_nll=self.mle_stop_nll, ent_coef=self.ent_coef)
        check_range(0, MAX_REPEATS, num_rollouts=self.num_rollouts)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, d_steps=self.d_steps)
        self.check_generator()
        check_fraction(ema_decay=self.ema_decay)
        check_fraction(lr_end_factor=self.lr_end_factor, mle_lr_end_factor=self.mle_lr_end_factor)
        check_positive(
            mle_learning_rate=self.mle_learning_rate,
            generator_learning_rate=self.generator_learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        if self.q_estimator == "exact":
            check_no_effect(self, "q_estimator exact", "num_rollouts")
        if self.mle_rounds == 0:
            check_no_effect(self, "mle_rounds 0", "mle_stop_nll", "mle_learning_rate", "mle_lr_end_factor")
            check_no_effect(self, "mle_rounds 0", "optimizer", "weight_decay", "dropout")

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        space: SearchSpace = {
            "generator_learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(64, 128, 256),
            "d_steps": Choice(1, 2, 5),
            "ent_coef": Choice(0.0, 0.01, 0.03),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            "discriminator.learning_rate": LogRange(1e-4, 1e-2),
            "discriminator.weight_decay": Choice(0.0, 0.1, 0.3, 1.0),
        }
        return {**space, **self.likelihood_space()} if self.mle_rounds else space

    @property
    def q_options(self) -> dict[str, Any]:
        """How the environment is to estimate Q: exactly, by Monte-Carlo rollouts, or not at all."""
        return {"q_estimator": "exact"} if self.q_estimator == "exact" else {"num_rollouts": self.num_rollouts}


THESIS = {
    "rounds": 2000, "mle_rounds": 40, "mle_stop_nll": 0.62, "discriminator_rounds": 20, "batch_size": 64,
    "d_steps": 5, "num_rollouts": 16, "mle_learning_rate": 1e-3, "lr_end_factor": 0.02, "ema_decay": 0.98,
    "discriminator": {
        "kind": "plain", "reward_transform": "probability", "learning_rate": 2e-3, "lr_end_factor": 0.02,
    },
}  # fmt: skip
"""Chapter 7: a short start by maximum likelihood, reward D(x), 16 rollouts. `mle_stop_nll` fits binary-sum 8: in
longer tasks, and signed equations, a symbol has more entropy than that."""

UNSEEN = {
    "rounds": 1050, "mle_rounds": 150, "discriminator_rounds": 400, "d_steps": 1,
    "discriminator": {
        "architecture": "autoregressive", "proposal_temperature": 5.0, "learning_rate": 4e-3, "weight_decay": 0.3,
        "ema_decay": 0.99, "max_grad_norm": 1.0,
    },
}  # fmt: skip
"""Preset for training sets that hold few of the correct formulae."""

TRANSFORMER_SEQGAN = TRANSFORMER_START | {"generator_learning_rate": 2e-4, "discriminator": LANGUAGE_MODEL}
"""Preset for formulae with many different symbols, of which few are seen: that of `mle`, then small steps."""

TRANSFORMER_MANY = TRANSFORMER_SEQGAN | MANY | {"mle_rounds": 4000}
"""Preset for such formulae if over 10,000 are seen."""


class SeqGAN(SequenceAlgorithm):
    """REINFORCE on the score of a discriminator that keeps learning; "thesis": E[D(Y)] with Monte-Carlo Q."""

    Config = SeqGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "thesis": THESIS,
        "unseen": UNSEEN,
        "transformer": TRANSFORMER_SEQGAN,
        "transformer-many": TRANSFORMER_MANY,
    }

    def __init__(self, task: SequenceTask, config: SeqGANConfig, seed: int, device: torch.device) -> None:
        if config.q_estimator == "exact":
            check_tree_size(task.vocabulary.size**task.max_length)
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = config.make_generator(task).to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        temperature = config.discriminator.proposal_temperature
        tempered = DecodedGenerator(self.generator, Decoding(temperature))
        proposal = self.generator if temperature == 1 else tempered
        self.proposal = Sampler(proposal, task, device)
        energy = config.make_energy(config.discriminator.architecture, task).to(device)
        self.adversary = Adversary(energy, config.discriminator, self.generator.log_prob, proposal.log_prob)
        self.mle_optimizer = config.make_optimizer(self.generator, config.mle_learning_rate)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.env = FormulaVectorEnv(
            task,
            num_envs=distributed.local_batch_size(config.batch_size),
            observation="tokens",
            reward_model=self.adversary.reward_model,
            reward_mode="terminal",
            **config.q_options,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
        )
        # The thesis' β ← θ after every round: with one generator update a round they are one network.
        self.env.set_rollout_policy(self.generator)
        # Seeds that follow each other, as env.reset(seed=seed) gives them, would overlap with those of other runs.
        seeds = torch.from_numpy(np.random.SeedSequence(seed).generate_state(config.batch_size).astype(np.int64))
        self.env.reset(seed=distributed.local_rows(seeds).tolist())

        self.start_label = "MLE start" if config.mle_rounds else "untrained"
        self.pretrain_rounds = config.mle_rounds + config.discriminator_rounds
        self.rounds = config.rounds
        self.real_batch_size = config.d_steps * config.batch_size
        self.num_mle_rounds = self.env_steps = 0
        self.mle_is_done = config.mle_rounds == 0

    @property
    def collapse_advice(self) -> str:
        general = "raise --algo.ent-coef or lower --algo.generator-learning-rate"
        return f"{self.config.discriminator.advice}{general}"

    def pretrain(self, real: Tokens, progress: float) -> dict[str, float]:
        """Algorithm 3, lines 1 and 2: the generator by maximum likelihood, then the discriminator against it."""
        if self.mle_is_done:
            return floats(self._train_discriminator(real, progress=0.0))
        return self._train_by_likelihood(real)

    def _train_by_likelihood(self, real: Tokens) -> dict[str, float]:
        done = self.num_mle_rounds / self.config.mle_rounds
        set_lr(self.mle_optimizer, self.config.mle_learning_rate * linear(done, self.config.mle_lr_end_factor))
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        losses = [
            mle_step(self.weights.ddp, self.mle_optimizer, batch, pad, max_grad_norm)["train/nll"]
            for batch in self._batches(torch.from_numpy(real))
        ]
        self.weights.restart()
        self.adversary.begin_as(self.generator)
        metrics = floats({"train/nll": torch.stack(losses).mean()})
        symbols = (real != pad).sum() / len(real)
        self.num_mle_rounds += 1
        self.mle_is_done = bool(
            self.num_mle_rounds == self.config.mle_rounds
            or metrics["train/nll"] / symbols < self.config.mle_stop_nll
        )
        return metrics

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """Algorithm 3, one epoch: a g-step, d-steps, β ← θ (which are one network)."""
        return floats(self.train_generator(progress) | self._train_discriminator(real, progress))

    def train_generator(self, progress: float) -> Metrics:
        """One g-step (thesis Algorithm 3)."""
        factor = linear(progress, self.config.lr_end_factor)
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * factor)
        loss, reward = self.generator_loss(self.config.ent_coef * factor)
        gradient_step(self.generator, self.generator_optimizer, loss, self.config.max_grad_norm)
        self.weights.update()
        return {"train/loss": loss.detach(), "train/reward": reward.mean()}

    def generator_loss(self, ent_coef: float) -> tuple[Tensor, Tensor]:
        """REINFORCE on a fresh batch, ∇J = E[Σ_t ∇log π(y_t | y_<t) · Q(y_<t, y_t)] (thesis eqs. 7.2, 7.3).

        Q gains -α·log π of this symbol and all that follow, as in maximum-entropy RL. Without it a prefix that
        is hard to complete (0000, whose only correct completion is 0000) earns less than the others, and dies
        out before the generator has learnt to complete it. (A log-ratio reward has its entropy within.)

        Returns the loss, whose gradient estimates that of -(E[R(Y)] + α·H(π)) for rewards R held fixed, and the
        rewards R(Y) `(B,)`.
        """
        tokens, q_values = self.env.play(self.generator)
        fake = torch.from_numpy(tokens).to(self.device)
        q = torch.from_numpy(q_values).float().to(self.device)
        reward = q[:, -1]
        written = fake != self.task.vocabulary.pad
        self.env_steps += int(distributed.all_sum(written.sum()))
        log_probs = token_log_probs(self.weights.ddp(fake), fake, self.task.vocabulary.pad)
        q = q - ent_coef * sum_to_go(log_probs.detach())
        advantage = q - position_means(q, written) if self.config.baseline else q
        return policy_gradient_loss(log_probs, advantage), reward

    def _train_discriminator(self, real: Tokens, progress: float) -> Metrics:
        """d-steps: negatives from the current generator, positives from the training set."""
        keys = self._batches(draw_keys(len(real), self.rng))
        fake = self.proposal.write(torch.cat(keys)).split(len(keys[0]))
        metrics: Metrics = {}
        for real_batch, fake_batch in zip(self._batches(torch.from_numpy(real)), fake, strict=True):
            metrics = self.adversary.train(real_batch, fake_batch, progress)
        return metrics

    def _batches(self, rows: Tensor) -> list[Tensor]:
        """This process' rows of every batch of a round."""
        return [distributed.local_rows(batch) for batch in rows.to(self.device).split(self.config.batch_size)]

    @property
    def density_ratio(self) -> DensityRatio:
        return self.adversary.ratio_to(Sampler(self.generator, self.task, self.device))

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        counters = {name: getattr(self, name) for name in _COUNTERS}
        episodes = {name: distributed.all_gather(rows) for name, rows in self.env.state_dict()["episodes"].items()}
        return saved | counters | {"rng": self.rng.get_state(), "episodes": episodes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.rng.set_state(state["rng"])
        episodes = {name: distributed.local_rows(rows) for name, rows in state["episodes"].items()}
        self.env.load_state_dict({"episodes": episodes, "reward_model": {}})


_STATEFUL = ("weights", "adversary", "mle_optimizer", "generator_optimizer")
_COUNTERS = ("num_mle_rounds", "mle_is_done", "env_steps")


def policy_gradient_loss(log_probs: Tensor, advantage: Tensor) -> Tensor:
    """-mean over formulae of Σ_t log π(y_t | y_<t) · A_t, from `(B, T)` each; its gradient is that of -E[D(Y)]."""
    return -(advantage * log_probs).sum(dim=1).mean()


def sum_to_go(values: Tensor) -> Tensor:
    """Σ_{s ≥ t} of values `(B, T)`, at each position t."""
    return values.flip(1).cumsum(1).flip(1)


def position_means(q: Tensor, written: Tensor) -> Tensor:
    """Mean of Q `(B, T)` at each position over the formulae that have a symbol there: `(1, T)`.

    Each formula counts in its own mean, so the expected gradient shrinks by the factor 1 - 1/B: it is that of
    RLOO times (B - 1)/B, where all B have a symbol.
    """
    sums, counts = distributed.all_sum(torch.stack([(q * written).sum(dim=0), written.sum(dim=0)]))
    return (sums / counts.clamp(min=1))[None]
