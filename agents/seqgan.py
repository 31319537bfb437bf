"""SeqGAN (Yu et al. 2017; thesis chapter 7): the generator is an agent, the discriminator its reward.

`SeqGAN.update` is one epoch of the thesis' Algorithm 3, with one correction: Algorithm 3 updates the generator
inside its loop over t, which takes the running episode off-policy; here it is updated once per batch of finished
episodes, as in Yu et al.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env import distributed
from formula_env.adversarial import (
    Metrics,
    adam,
    discriminator_step,
    floats,
    gradient_step,
    mle_step,
    move_weights,
    set_lr,
)
from formula_env.env_options import QEstimator
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    MAX_WIDTH,
    FormulaError,
    check_above_zero,
    check_at_least,
    check_range,
    check_share,
    check_types,
)
from formula_env.networks import (
    AutoregressiveDiscriminator,
    DiscriminatorKind,
    EnergyName,
    LSTMGenerator,
    Tempered,
    judge_of,
    make_discriminator,
    raw_logits,
)
from formula_env.networks.generators import token_log_probs
from formula_env.rewards import DiscriminatorReward, RewardKind
from formula_env.rollouts import check_tree_size, write
from formula_env.sampling import draw_keys, log_prob
from formula_env.tasks.base import Task
from formula_env.vector_env import FormulaVectorEnv
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class SeqGANConfig:
    rounds: int = 2500
    """Adversarial rounds: an update of the generator, then `d_steps` of the discriminator."""
    mle_rounds: int = 0
    """Rounds of maximum likelihood before that, `d_steps` updates each."""
    mle_nll: float = 0.0
    """End them early once a round's mean NLL (nats per symbol) is below this; 0: never."""
    discriminator_rounds: int = 0
    """Rounds of discriminator pre-training after those, `d_steps` updates each; and what was left of them."""
    batch_size: int = 256
    """Episodes in a generator update; real and as many fake formulae in a discriminator update."""
    d_steps: int = 2
    """Discriminator updates in a round."""
    num_rollouts: int = 0
    """Monte-Carlo completions behind the Q of each prefix; 0: all symbols share their formula's reward."""
    q_estimator: QEstimator = "monte-carlo"
    """"exact" replaces sampling by backward recursion, where the prefix tree is small."""
    baseline: bool = True
    """Subtraction of the batch mean of Q at each position; B/(B - 1) times this, where all B have a symbol, is
    RLOO."""
    ent_coef: float = 0.0
    """Weight α of the policy's entropy (nats) beside the reward; falls linearly."""
    discriminator: EnergyName = "mlp"
    """Its architecture; "autoregressive" begins as a copy of the generator after maximum likelihood."""
    discriminator_kind: DiscriminatorKind = "ratio"
    """"plain": the network is the logit, as in the thesis; "ratio": the network minus log π."""
    noise_temperature: float = 1.0
    """The ratio discriminator's fakes are drawn with logits divided by this: above 1, more and varied mistakes."""
    reward: RewardKind = "log-ratio"
    """What the discriminator pays: "probability" D(x), as in the thesis; "log-ratio", its logit."""
    reward_clip: float = 5.0
    """The logit is clipped to ± this (nats)."""
    mle_learning_rate: float = 3e-3
    """Of Adam, for maximum likelihood."""
    mle_final_share: float = 1.0
    """What is left of it after `mle_rounds`; falls linearly."""
    generator_learning_rate: float = 2e-3
    """Of Adam, for the policy gradient; falls linearly."""
    discriminator_learning_rate: float = 1e-3
    """Of Adam; falls linearly over the adversarial rounds."""
    discriminator_weight_decay: float = 0.0
    """Decoupled, as in AdamW: what keeps it from learning a small training set by heart."""
    discriminator_averaging: float = 0.0
    """The judge is the moving average of the trained discriminator, with this decay per update; 0: the last."""
    discriminator_max_grad_norm: float = 0.0
    """The discriminator gradient's norm is clipped to this; 0: not at all."""
    final_share: float = 0.0
    """What is left of both learning rates and of `ent_coef` when all rounds are done."""
    weight_averaging: float = 0.99
    """The reported generator is the moving average of the trained one, with this decay per update; 0: the last."""
    max_grad_norm: float = 1.0
    """The generator gradient's norm is clipped to this."""
    embedding_dim: int = 32
    """Of the generator's symbols, and of an autoregressive discriminator's."""
    hidden_dim: int = 64
    """Of the generator's LSTM, and of an autoregressive discriminator's."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(0, mle_rounds=self.mle_rounds, discriminator_rounds=self.discriminator_rounds)
        check_at_least(0, mle_nll=self.mle_nll, ent_coef=self.ent_coef)
        check_range(0, MAX_REPEATS, num_rollouts=self.num_rollouts)
        check_at_least(0, discriminator_weight_decay=self.discriminator_weight_decay)
        check_at_least(0, discriminator_max_grad_norm=self.discriminator_max_grad_norm)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, d_steps=self.d_steps)
        check_range(1, MAX_WIDTH, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_share(weight_averaging=self.weight_averaging)
        check_share(final_share=self.final_share, mle_final_share=self.mle_final_share)
        check_share(discriminator_averaging=self.discriminator_averaging)
        check_above_zero(
            mle_learning_rate=self.mle_learning_rate,
            generator_learning_rate=self.generator_learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate,
            max_grad_norm=self.max_grad_norm,
            reward_clip=self.reward_clip,
            noise_temperature=self.noise_temperature,
        )
        if self.discriminator_kind == "plain" and self.discriminator == "autoregressive":
            raise FormulaError(
                "an autoregressive discriminator is a log-density: it needs discriminator_kind ratio"
            )
        if self.discriminator_kind == "plain" and self.noise_temperature != 1:
            raise FormulaError(
                "noise_temperature is for discriminator_kind ratio; a plain discriminator must see what it judges"
            )

    @property
    def credit(self) -> dict[str, Any]:
        """How the environment is to estimate Q: exactly, by Monte-Carlo rollouts, or not at all."""
        return {"q_estimator": "exact"} if self.q_estimator == "exact" else {"num_rollouts": self.num_rollouts}


THESIS = {
    "rounds": 2000, "mle_rounds": 40, "mle_nll": 0.62, "discriminator_rounds": 20, "batch_size": 64, "d_steps": 5,
    "num_rollouts": 16, "discriminator_kind": "plain", "reward": "probability", "mle_learning_rate": 1e-3,
    "discriminator_learning_rate": 2e-3, "final_share": 0.02, "weight_averaging": 0.98,
}  # fmt: skip
"""Chapter 7: a short start by maximum likelihood, reward D(x), 16 rollouts. `mle_nll` is made for binary-sum 8: in
longer tasks, and signed equations, a symbol has more entropy than that."""

UNSEEN = {
    "rounds": 1050, "mle_rounds": 150, "discriminator_rounds": 400, "d_steps": 1,
    "discriminator": "autoregressive", "noise_temperature": 5.0, "discriminator_learning_rate": 4e-3,
    "discriminator_weight_decay": 0.3, "discriminator_averaging": 0.99, "discriminator_max_grad_norm": 1.0,
}  # fmt: skip
"""For training sets that hold few of the correct formulae: what matters is the rule, not the examples."""


class SeqGAN:
    """REINFORCE on the verdict of a discriminator that keeps learning; "thesis": E[D(Y)] with Monte-Carlo Q."""

    Config = SeqGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"thesis": THESIS, "unseen": UNSEEN}
    trains_on = Task

    def __init__(self, task: Task, config: SeqGANConfig, seed: int, device: torch.device) -> None:
        if config.q_estimator == "exact":
            check_tree_size(task.vocabulary.size**task.max_length)
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = LSTMGenerator(task.vocabulary, config.embedding_dim, config.hidden_dim).to(device)
        self.averaged_generator = deepcopy(self.generator)
        self.discriminator = self._make_discriminator()
        self.averaged_discriminator = (
            deepcopy(self.discriminator) if config.discriminator_averaging else self.discriminator
        )
        self.mle_optimizer = adam(self.generator.parameters(), config.mle_learning_rate)
        self.generator_optimizer = adam(self.generator.parameters(), config.generator_learning_rate)
        self.discriminator_optimizer = adam(
            self.discriminator.parameters(), config.discriminator_learning_rate, config.discriminator_weight_decay
        )
        self.trained_generator = distributed.parallel(self.generator)
        kind = config.discriminator_kind
        self.judge = judge_of(kind, self.averaged_discriminator, self.generator.log_prob)
        temperature = config.noise_temperature
        self.noise = self.generator if temperature == 1 else Tempered(self.generator, temperature)
        self.trained_discriminator = distributed.parallel(judge_of(kind, self.discriminator, self.noise.log_prob))
        self.rng = torch.Generator().manual_seed(seed)
        self.num_episodes = distributed.share_of(config.batch_size)
        self.env = FormulaVectorEnv(
            task,
            num_envs=self.num_episodes,
            observation="tokens",
            reward_mode="terminal",
            **config.credit,
            autoreset_mode=AutoresetMode.DISABLED,
            device=device,
        )
        self.env.set_reward_model(DiscriminatorReward(self.judge, config.reward, config.reward_clip))
        # The thesis' β ← θ after every round: with one generator update a round they are one network.
        self.env.set_rollout_policy(self.generator)
        # Seeds that follow each other, as env.reset(seed=seed) gives them, would overlap with those of other runs.
        seeds = torch.from_numpy(np.random.SeedSequence(seed).generate_state(config.batch_size).astype(np.int64))
        self.env.reset(seed=distributed.own_rows(seeds).tolist())

        self.start_name = "MLE start" if config.mle_rounds else "untrained"
        self.pretrain_rounds = config.mle_rounds + config.discriminator_rounds
        self.rounds = config.rounds
        self.real_per_round = config.d_steps * config.batch_size
        self.pretrain_round = self.round = self.env_steps = 0
        self.mle_is_done = False

    def _make_discriminator(self) -> nn.Module:
        if self.config.discriminator != "autoregressive":
            return make_discriminator(self.config.discriminator, self.task).to(self.device)
        dims = self.config.embedding_dim, self.config.hidden_dim
        return AutoregressiveDiscriminator(self.task.vocabulary, self.task.max_length, *dims).to(self.device)

    @property
    def collapse_advice(self) -> str:
        general = "raise --algo.ent-coef or lower --algo.generator-learning-rate"
        if self.config.discriminator_kind == "plain":
            return f"set --algo.discriminator-kind ratio with --algo.reward log-ratio, {general}"
        if self.config.reward == "probability":
            return f"set --algo.reward log-ratio, {general}"
        return general

    def pretrain(self, real: Tokens) -> dict[str, float]:
        """Algorithm 3, lines 1 and 2: the generator by maximum likelihood, then the discriminator against it."""
        if self.pretrain_round >= self.config.mle_rounds:
            self.mle_is_done = True
        self.pretrain_round += 1
        return floats(self._train_discriminator(real)) if self.mle_is_done else self._train_by_likelihood(real)

    def _train_by_likelihood(self, real: Tokens) -> dict[str, float]:
        pad = self.task.vocabulary.pad
        done = (self.pretrain_round - 1) / self.config.mle_rounds
        share_left = 1 - (1 - self.config.mle_final_share) * done
        set_lr(self.mle_optimizer, self.config.mle_learning_rate * share_left)
        losses = [
            mle_step(self.trained_generator, self.mle_optimizer, batch, pad, self.config.max_grad_norm)[
                "train/nll"
            ]
            for batch in self._batches(torch.from_numpy(real))
        ]
        move_weights(self.averaged_generator, self.generator, decay=0.0)
        for discriminator in (self.discriminator, self.averaged_discriminator):
            if isinstance(discriminator, AutoregressiveDiscriminator):
                move_weights(discriminator.model, self.generator, decay=0.0)
        metrics = floats({"train/nll": torch.stack(losses).mean()})
        symbols = (real != pad).sum() / len(real)
        self.mle_is_done = bool(metrics["train/nll"] / symbols < self.config.mle_nll)
        return metrics

    def update(self, real: Tokens) -> dict[str, float]:
        """Algorithm 3, one epoch: a g-step, d-steps, β ← θ (which are one network)."""
        self._decay_learning_rates()
        metrics = self.train_generator() | self._train_discriminator(real)
        self.round += 1
        return floats(metrics)

    def train_generator(self) -> Metrics:
        """One g-step."""
        loss, reward = self.generator_loss()
        gradient_step(self.generator, self.generator_optimizer, loss, self.config.max_grad_norm)
        move_weights(self.averaged_generator, self.generator, self.config.weight_averaging)
        return {"train/loss": loss.detach(), "train/reward": reward.mean()}

    def generator_loss(self) -> tuple[Tensor, Tensor]:
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
        self.env_steps += int(distributed.total(written.sum()))
        log_probs = token_log_probs(self.trained_generator(fake), fake, self.task.vocabulary.pad)
        q = q - self.share_left * self.config.ent_coef * sum_to_go(log_probs.detach())
        advantage = q - position_means(q, written) if self.config.baseline else q
        return policy_gradient_loss(log_probs, advantage), reward

    def _train_discriminator(self, real: Tokens) -> Metrics:
        """d-steps: negatives from the current generator, positives from the training set."""
        keys = torch.cat(self._batches(draw_keys(len(real), self.rng)))
        max_grad_norm = self.config.discriminator_max_grad_norm or math.inf
        fake = write(self.noise, self.task.vocabulary, self.task.max_length, keys)
        metrics: Metrics = {}
        for batch in zip(self._batches(torch.from_numpy(real)), fake.split(self.num_episodes), strict=True):
            metrics = discriminator_step(
                self.trained_discriminator, self.discriminator_optimizer, *batch, max_grad_norm=max_grad_norm
            )
            if self.averaged_discriminator is not self.discriminator:
                decay = self.config.discriminator_averaging
                move_weights(self.averaged_discriminator, self.discriminator, decay)
        return metrics

    def _batches(self, rows: Tensor) -> list[Tensor]:
        """This process' rows of every batch of a round."""
        return [distributed.own_rows(batch) for batch in rows.to(self.device).split(self.config.batch_size)]

    @property
    def share_left(self) -> float:
        """What is left in this round of the learning rates and the entropy's weight: falls linearly from 1."""
        return 1 - (1 - self.config.final_share) * self.round / self.rounds

    def _decay_learning_rates(self) -> None:
        set_lr(self.generator_optimizer, self.config.generator_learning_rate * self.share_left)
        set_lr(self.discriminator_optimizer, self.config.discriminator_learning_rate * self.share_left)

    def sample(self, n: int, seed: int) -> Tokens:
        keys = draw_keys(n, torch.Generator().manual_seed(seed)).to(self.device)
        return write(self.averaged_generator, self.task.vocabulary, self.task.max_length, keys).cpu().numpy()

    def log_prob(self, tokens: Tokens) -> NDArray[np.float64]:
        batch = torch.from_numpy(tokens).to(self.device)
        return log_prob(self.averaged_generator, self.task.vocabulary, batch).cpu().numpy()

    def density_ratio(self, tokens: Tokens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        batch = torch.from_numpy(tokens).to(self.device)
        log_probs = log_prob(self.generator, self.task.vocabulary, batch).cpu().numpy()
        return raw_logits(self.judge, batch).double().cpu().numpy(), log_probs

    def exports(self) -> dict[str, bytes]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _SAVED}
        counters = {name: getattr(self, name) for name in _COUNTERS}
        episodes = {name: distributed.join(rows) for name, rows in self.env.state_dict()["episodes"].items()}
        return saved | counters | {"rng": self.rng.get_state(), "episodes": episodes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _SAVED:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.rng.set_state(state["rng"])
        episodes = {name: distributed.own_rows(rows) for name, rows in state["episodes"].items()}
        self.env.load_state_dict({"episodes": episodes, "reward_model": {}})


_SAVED = (
    "generator",
    "averaged_generator",
    "discriminator",
    "averaged_discriminator",
    "mle_optimizer",
    "generator_optimizer",
    "discriminator_optimizer",
)
_COUNTERS = ("pretrain_round", "mle_is_done", "round", "env_steps")


def policy_gradient_loss(log_probs: Tensor, advantage: Tensor) -> Tensor:
    """-mean over formulae of Σ_t log π(y_t | y_<t) · A_t, from `(B, T)` each; its gradient is that of -E[D(Y)]."""
    return -(advantage * log_probs).sum(dim=1).mean()


def sum_to_go(values: Tensor) -> Tensor:
    """Σ_{s ≥ t} of values `(B, T)`, at each position t."""
    return values.flip(1).cumsum(1).flip(1)


def position_means(q: Tensor, written: Tensor) -> Tensor:
    """Mean of Q `(B, T)` at each position over the formulae that have a symbol there: `(1, T)`.

    Each formula counts in its own mean, so the expected gradient shrinks by the factor 1 - 1/B.
    """
    sums, counts = distributed.total(torch.stack([(q * written).sum(dim=0), written.sum(dim=0)]))
    return (sums / counts.clamp(min=1))[None]
