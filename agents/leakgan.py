"""LeakGAN (Guo et al. 2018): the discriminator leaks its features, and directions in their space are goals.

With f_t the discriminator's features of the first t symbols, and c the horizon,

    the manager, from f_0 … f_t, sets the goal g_t, a unit vector;
    the worker writes the next symbol, from the symbols so far and the sum of the last c goals.

After a start in which the discriminator and maximum likelihood take turns, repeat:

    Q_t ← Monte-Carlo rollouts of each prefix; R_t ← σ(δ·(½ - rank of Q_t at position t / batch size)), best first
    the manager ← one step down  -Σ_t R_{t+c} · cos(f_{t+c} - f_t, g_t)
    the worker  ← REINFORCE on   r_t = 1/c · Σ_{i=1..c} cos(f_t - f_{t-i}, g_{t-i})
    the discriminator ← `d_steps` steps; every `likelihood_every` rounds, maximum likelihood

By the ranks, rewards have the same mean and spread at every position and in every round, however small the
differences of Q are. By likelihood, the worker learns as any generator, and the manager to set the goals that real
formulae go to: -Σ_t cos(f_{t+c} - f_t, g_t).

Differs from the paper: the features are those of the last hidden layer of a discriminator that reads all
positions, for where filters are pooled the place of a symbol is lost; Q is estimated at each prefix, not at every
c-th; the mean of r_t at a position is its baseline.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from formula_env.adversarial import Metrics, floats, gradient_step
from formula_env.adversary import AdversaryConfig
from formula_env.agents.adversarial_agent import AdversarialAgent, AgentConfig
from formula_env.agents.seqgan import policy_gradient_loss, position_means
from formula_env.distributed import check_alone
from formula_env.errors import (
    MAX_REPEATS,
    MAX_WIDTH,
    FormulaError,
    check_at_least,
    check_no_effect,
    check_positive,
    check_range,
)
from formula_env.networks import make_discriminator
from formula_env.networks.discriminators import Discriminator
from formula_env.networks.generators import token_log_probs
from formula_env.networks.manager_worker import ManagerWorkerGenerator
from formula_env.optimizers import set_lr
from formula_env.rollouts import MonteCarlo
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class LeakGANConfig(AgentConfig):
    """Settings of LeakGAN."""

    rounds: int = 1000
    mle_rounds: int = 100
    batch_size: int = 128
    d_steps: int = 15
    learning_rate: float = 1.25e-4
    weight_decay: float = 0.03
    ema_decay: float = 0.0
    discriminator: AdversaryConfig = AdversaryConfig(kind="plain", learning_rate=3.8e-3)
    num_rollouts: int = 4
    """Monte-Carlo completions behind the Q of each prefix."""
    horizon: int = 1
    """Number c of symbols that a goal is for."""
    goal_dim: int = 16
    """Size of the worker's vector of a symbol, which its logit is the product of."""
    rank_slope: float = 16.0
    """Slope δ of the rewards in a formula's rank."""
    temperature: float = 1.0
    """Temperature α of the generator, in training and for what it is reported to write."""
    likelihood_every: int = 15
    """Number of rounds from one of maximum likelihood to the next; 0: none after the start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_REPEATS, num_rollouts=self.num_rollouts, horizon=self.horizon)
        check_range(1, MAX_WIDTH, goal_dim=self.goal_dim)
        check_positive(rank_slope=self.rank_slope, temperature=self.temperature)
        check_at_least(0, likelihood_every=self.likelihood_every)
        check_no_effect(self, "leakgan, whose generator is a manager and a worker", "generator", "dropout")
        check_no_effect(self, "leakgan, whose start is by turns", "discriminator_rounds", "mle_lr_end_factor")
        if self.discriminator.architecture == "autoregressive":
            raise FormulaError("an autoregressive discriminator has no features of prefixes; choose mlp or cnn")

    @property
    def uses_likelihood(self) -> bool:
        return self.mle_rounds > 0 or self.likelihood_every > 0

    def search_space(self) -> SearchSpace:
        space = {name: values for name, values in super().search_space().items() if name != "dropout"}
        return {
            **space,
            "d_steps": Choice(1, 2, 5, 15),
            "discriminator.learning_rate": LogRange(2e-5, 1e-2),
            "horizon": Choice(1, 2, 4),
            "likelihood_every": Choice(0, 5, 15),
        }


PAPER = {
    "mle_rounds": 80, "rounds": 800, "batch_size": 64, "d_steps": 15, "mle_learning_rate": 1.5e-3,
    "learning_rate": 1.5e-3, "embedding_dim": 32, "hidden_dim": 32, "max_grad_norm": 5.0, "ema_decay": 0.0,
    "weight_decay": 0.0, "horizon": 4,
    "discriminator": {
        "kind": "plain", "architecture": "cnn", "reward_transform": "probability", "learning_rate": 5e-5,
        "lr_end_factor": 1.0,
    },
}  # fmt: skip
"""The authors' rates and sizes for their synthetic data, as far as networks that read all positions allow.

A round of the start, of the discriminator or of likelihood has 15 updates here, and there whole epochs of 10,000
sequences. Their rates fall exponentially. Likelihood between the other rounds is the paper's; that code has none.
"""


class LeakGAN(AdversarialAgent):
    """The manager is rewarded for where formulae go in the discriminator's features, the worker for following."""

    Config = LeakGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    generator: ManagerWorkerGenerator

    def __init__(self, task: SequenceTask, config: LeakGANConfig, seed: int, device: torch.device) -> None:
        check_alone("leakgan")
        super().__init__(task, config, seed, device)

    def make_generator(self) -> ManagerWorkerGenerator:
        energy = make_discriminator(self.config.discriminator.architecture, self.task)
        assert isinstance(energy, Discriminator)  # the settings allow no other
        self.energy = energy

        def leak(prefixes: Tensor) -> Tensor:
            judge = self.adversary.weights.average
            assert isinstance(judge, Discriminator)
            return judge.features(prefixes)

        length, vocabulary = self.task.max_length, self.task.vocabulary
        num_features = self.energy.features(torch.full((1, length), vocabulary.pad)).shape[1]
        return ManagerWorkerGenerator(
            vocabulary,
            length,
            leak,
            num_features,
            self.config.embedding_dim,
            self.config.hidden_dim,
            self.config.goal_dim,
            self.config.horizon,
            self.config.temperature,
        )

    def make_energy(self) -> Discriminator:
        return self.energy

    @property
    def collapse_advice(self) -> str:
        more_often = "--algo.likelihood-every or " if self.config.likelihood_every > 1 else ""
        return f"lower {more_often}--algo.learning-rate"

    def pretrain(self, real: Tokens, progress: float) -> dict[str, float]:
        """A round of the discriminator and one of maximum likelihood: `d_steps` updates each."""
        metrics = self.train_discriminator(real, progress=0.0) | self.train_by_likelihood(real)
        self.weights.restart()
        return metrics

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        metrics = super().update(real, progress)
        every = self.config.likelihood_every
        if every and (round(progress * self.rounds) + 1) % every == 0:
            set_lr(self.mle_optimizer, self.config.mle_learning_rate * linear(progress))
            metrics |= self.train_by_likelihood(real)
        return metrics

    def train_by_likelihood(self, real: Tokens) -> dict[str, float]:
        """`d_steps` steps: the worker towards the likelihood of real formulae, the manager to where they go."""
        metrics: Metrics = {}
        for tokens in self.batches(real):
            features = self.generator.features(tokens)
            goals = self.generator.goals(features)
            log_probs = token_log_probs(self.generator.logits(tokens, goals), tokens, self.task.vocabulary.pad)
            written = (tokens != self.task.vocabulary.pad).float()
            nll = -log_probs.sum(dim=1).mean()
            loss = nll + goal_loss(features, goals, torch.ones_like(written), written, self.config.horizon)
            gradient_step(self.generator, self.mle_optimizer, loss, self.config.max_grad_norm)
            self.weights.update()
            metrics = {"train/nll": nll.detach()}
        return floats(metrics)

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        tokens, q = self.draw_with_q()
        written = tokens != self.task.vocabulary.pad
        features = self.generator.features(tokens)
        goals, horizon = self.generator.goals(features), self.config.horizon
        reward = rank_rewards(q, self.config.rank_slope)
        intrinsic = intrinsic_rewards(features, goals.detach(), horizon)
        log_probs = token_log_probs(self.generator.logits(tokens, goals), tokens, self.task.vocabulary.pad)
        worker = policy_gradient_loss(log_probs, intrinsic - position_means(intrinsic, written))
        return worker + goal_loss(features, goals, reward, written.float(), horizon), q[:, -1]

    def draw_with_q(self) -> tuple[Tensor, Tensor]:
        """A batch of draws `(n, T)`, and Q `(n, T)` of each symbol."""
        return self.play(self.adversary.reward_model.score, MonteCarlo(self.config.num_rollouts))


def rank_rewards(q: Tensor, slope: float) -> Tensor:
    """σ(δ·(½ - rank/B)) of Q `(B, T)`, ranked at each position; the best has rank 1, equals have a common one."""
    order = q.sort(dim=0).values.T.contiguous()
    values = q.T.contiguous()
    below, not_above = (torch.searchsorted(order, values, right=right).T for right in (False, True))
    rank = len(q) + 1 - (below + 1 + not_above) / 2
    return torch.sigmoid(slope * (0.5 - rank / len(q)))


def moves(features: Tensor, horizon: int) -> Tensor:
    """f_{t+c} - f_t `(n, T, F)` of features `(n, T+1, F)`; at the end f_T stands for those beyond."""
    last = features[:, -1:].expand(-1, horizon - 1, -1)
    return torch.cat([features, last], dim=1)[:, horizon:] - features[:, :-1]


def goal_loss(features: Tensor, goals: Tensor, reward: Tensor, written: Tensor, horizon: int) -> Tensor:
    """-mean over formulae of Σ_t R_{t+c} · cos(f_{t+c} - f_t, g_t), R_{t+c} that of the symbol c - 1 later.

    Features are `(n, T+1, F)`, goals `(n, T, F)`; the reward `(n, T)` is of each symbol, behind the end that of
    the whole formula. Only goals for symbols that were `written`, 1 or 0 `(n, T)`, count.
    """
    later = torch.cat([reward, reward[:, -1:].expand(-1, horizon - 1)], dim=1)[:, horizon - 1 :]
    similarity = torch.nn.functional.cosine_similarity(moves(features, horizon), goals, dim=2)
    return -(later * similarity * written).sum(dim=1).mean()


def intrinsic_rewards(features: Tensor, goals: Tensor, horizon: int) -> Tensor:
    """r `(n, T)` of each symbol: the mean cosine of the way from 1, …, c symbols before to the goals set there."""
    rewards = torch.zeros_like(goals[..., 0])
    for i in range(1, min(horizon, goals.shape[1]) + 1):
        way = features[:, i:] - features[:, :-i]
        followed = torch.nn.functional.cosine_similarity(way, goals[:, : goals.shape[1] - i + 1], dim=2)
        rewards[:, i - 1 :] += followed / horizon
    return rewards
