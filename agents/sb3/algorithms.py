"""Stable-Baselines3's algorithms behind the bridge, each with its own settings. A new one is a class here."""

import math
from dataclasses import dataclass, replace
from typing import Any

import sb3_contrib
import stable_baselines3 as sb3

from formula_env.adversary import AdversaryConfig
from formula_env.agents.sb3.bridge import SB3Algorithm, SB3Config
from formula_env.agents.sb3.callback import SB3_DISCRIMINATOR
from formula_env.agents.sb3.replay import RelabelledReplayBuffer
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    FormulaError,
    check_at_least,
    check_fraction,
    check_positive,
    check_range,
)
from formula_env.search_space import Choice, LogRange, SearchSpace

GREEDY_DISCRIMINATOR = replace(SB3_DISCRIMINATOR, kind="plain", reward_transform="probability")
"""Settings of the discriminator for policies that choose greedily, whose formulae have no density."""

# --- on-policy ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnPolicyConfig(SB3Config):
    n_steps: int = 0
    """Symbols of each formula between two updates; 0: as many as the longest formula has."""
    gamma: float = 1.0
    """Discount factor. Only 1 makes the sum of rewards the reward of the whole formula."""
    gae_lambda: float = 1.0
    """Parameter λ of generalised advantage estimation; 1: the whole return minus the value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, MAX_REPEATS, n_steps=self.n_steps)
        check_at_least(2, num_envs=self.num_envs)  # a batch of one step has no standard deviation
        check_fraction(gamma=self.gamma, gae_lambda=self.gae_lambda)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 0 or batch_size == 1:
        raise FormulaError(
            f"batch_size must be at least 2, or 0 for all of a round, got {batch_size}: one symbol has no spread"
        )


class OnPolicy(SB3Algorithm):
    def model_options(self) -> dict[str, Any]:
        options = self.config.own()
        options["n_steps"] = options["n_steps"] or self.task.max_length
        if "batch_size" in options:
            options["batch_size"] = options["batch_size"] or options["n_steps"] * self.config.num_envs
        return options

    @property
    def timesteps_per_round(self) -> int:
        return self.model.n_steps * self.config.num_envs

    def iterate(self) -> None:
        model: Any = self.model
        model.collect_rollouts(model.env, self.callback, model.rollout_buffer, n_rollout_steps=model.n_steps)
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        model.train()


@dataclass(frozen=True)
class ActorCriticConfig(OnPolicyConfig):
    ent_coef: float = 0.0
    """Weight of the policy's entropy (nats per symbol)."""
    vf_coef: float = 0.5
    """Weight of the value function's loss."""
    max_grad_norm: float = 0.5
    """Bound of the gradient's norm."""
    normalize_advantage: bool = True
    """Division of advantages by their standard deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, ent_coef=self.ent_coef, vf_coef=self.vf_coef)
        check_positive(max_grad_norm=self.max_grad_norm)

    def search_space(self) -> SearchSpace:
        return {**super().search_space(), "ent_coef": Choice(0.0, 0.01, 0.03, 0.1)}


@dataclass(frozen=True)
class A2CConfig(ActorCriticConfig):
    normalize_advantage: bool = False
    use_rms_prop: bool = False
    """Use of RMSprop instead of Adam."""


@dataclass(frozen=True)
class PPOConfig(ActorCriticConfig):
    batch_size: int = 0
    """Symbols in a minibatch; 0: all of a round."""
    n_epochs: int = 4
    """Passes over the collected experience."""
    clip_range: float = 0.2
    """Clip range ε: the ratio to the old policy is clipped to 1 ± ε."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_batch_size(self.batch_size)
        check_at_least(1, n_epochs=self.n_epochs)
        check_positive(clip_range=self.clip_range)

    def search_space(self) -> SearchSpace:
        return {**super().search_space(), "n_epochs": Choice(2, 4, 8), "clip_range": Choice(0.1, 0.2, 0.3)}


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    rounds: int = 600


@dataclass(frozen=True)
class TRPOConfig(OnPolicyConfig):
    batch_size: int = 0
    """Symbols in a minibatch of the value's updates; 0: all of a round."""
    n_critic_updates: int = 5
    """Passes over the collected experience for the value."""
    target_kl: float = 0.03
    """Bound of the KL divergence of an update, nats per symbol."""
    cg_max_steps: int = 10
    """Number of steps of conjugate gradients."""
    normalize_advantage: bool = True
    """Division of advantages by their standard deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_batch_size(self.batch_size)
        check_at_least(1, n_critic_updates=self.n_critic_updates, cg_max_steps=self.cg_max_steps)
        check_positive(target_kl=self.target_kl)


class A2C(OnPolicy):
    """Advantage actor-critic (Mnih et al. 2016), by Stable-Baselines3."""

    Config = A2CConfig
    model_class = sb3.A2C


class PPO(OnPolicy):
    """Proximal policy optimisation (Schulman et al. 2017), by Stable-Baselines3."""

    Config = PPOConfig
    model_class = sb3.PPO


class MaskablePPO(OnPolicy):
    """PPO that never chooses a symbol which breaks the formula's form, by sb3-contrib."""

    Config = PPOConfig
    model_class = sb3_contrib.MaskablePPO


class RecurrentPPO(OnPolicy):
    """PPO with an LSTM, by sb3-contrib."""

    Config = RecurrentPPOConfig
    model_class = sb3_contrib.RecurrentPPO
    policy_name = "MlpLstmPolicy"

    def policy_options(self) -> dict[str, Any]:
        return super().policy_options() | {"net_arch": [], "lstm_hidden_size": self.config.hidden_dim}


class TRPO(OnPolicy):
    """Trust region policy optimisation (Schulman et al. 2015), by sb3-contrib."""

    Config = TRPOConfig
    model_class = sb3_contrib.TRPO


MAX_BUFFER = 10**6
"""Steps in a replay buffer at most: it is held in memory."""

# --- off-policy -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DQNConfig(SB3Config):
    discriminator: AdversaryConfig = GREEDY_DISCRIMINATOR
    gamma: float = 1.0
    """Discount factor. Only 1 makes the sum of rewards the reward of the whole formula."""
    buffer_size: int = 20_000
    """Steps in the replay buffer."""
    learning_starts: int = 2_000
    """Steps with random symbols before the first update."""
    batch_size: int = 256
    """Steps in an update."""
    train_freq: int = 1
    """Symbols of each formula between updates."""
    gradient_steps: int = 1
    """Number of updates each time."""
    target_update_interval: int = 2_000
    """Steps from one update of the target network to the next."""
    exploration_fraction: float = 0.3
    """Share of the training in which the rate of random symbols falls."""
    exploration_final_eps: float = 0.05
    """Rate of random symbols after that."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_BUFFER, buffer_size=self.buffer_size)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, train_freq=self.train_freq)
        check_at_least(1, gradient_steps=self.gradient_steps, target_update_interval=self.target_update_interval)
        check_at_least(0, learning_starts=self.learning_starts)
        check_fraction(gamma=self.gamma, exploration_final_eps=self.exploration_final_eps)
        check_fraction(exploration_fraction=self.exploration_fraction)
        check_positive(exploration_fraction=self.exploration_fraction)

    def search_space(self) -> SearchSpace:
        return {**super().search_space(), "exploration_final_eps": Choice(0.02, 0.05, 0.1, 0.2)}


class DQN(SB3Algorithm):
    """Deep Q-network (Mnih et al. 2015), by Stable-Baselines3; its formulae are those of its ε-greedy policy.

    Rewards in the replay buffer are always the present discriminator's.
    """

    Config = DQNConfig
    model_class = sb3.DQN

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.exploration-final-eps; a greedy policy holds few formulae by nature"

    def model_options(self) -> dict[str, Any]:
        return self.config.own() | {"replay_buffer_class": RelabelledReplayBuffer}

    def _make_model(self, seed: int) -> Any:
        model = super()._make_model(seed)
        model.exploration_rate = model.exploration_schedule(1.0)  # as from the first symbol on
        return model

    @property
    def iterations(self) -> int:
        return math.ceil(self.task.max_length / self.config.train_freq)

    @property
    def timesteps_per_round(self) -> int:
        return self.iterations * self.config.train_freq * self.config.num_envs

    def iterate(self) -> None:
        model: Any = self.model
        for _ in range(self.iterations):
            model.collect_rollouts(
                model.env,
                self.callback,
                model.train_freq,
                model.replay_buffer,
                learning_starts=model.learning_starts,
                log_interval=None,
            )
            if model.num_timesteps > model.learning_starts:
                model.train(batch_size=model.batch_size, gradient_steps=model.gradient_steps)


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    rounds: int = 500


class QRDQN(DQN):
    """Quantile-regression DQN (Dabney et al. 2018), by sb3-contrib; the other settings are those of DQN."""

    Config = QRDQNConfig
    model_class = sb3_contrib.QRDQN

    def policy_options(self) -> dict[str, Any]:
        return super().policy_options() | {"n_quantiles": NUM_QUANTILES}


NUM_QUANTILES = 32
"""Number of quantiles of a value's distribution; sb3-contrib's default, 200, is thirty times as slow."""


# --- without gradients ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ARSConfig(SB3Config):
    rounds: int = 200
    num_envs: int = 1
    discriminator: AdversaryConfig = GREEDY_DISCRIMINATOR
    learning_rate: float = 0.05
    discriminator_batch_size: int = 64
    n_delta: int = 32
    """Directions tried in a round, each forwards and backwards."""
    n_top: int = 8
    """Number of the best directions, which make the update."""
    delta_std: float = 0.1
    """Size of the steps tried."""
    zero_policy: bool = False
    """Start from weights that are all 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, MAX_REPEATS, n_delta=self.n_delta, n_top=self.n_top)
        check_positive(delta_std=self.delta_std)
        if self.n_top > self.n_delta:
            raise FormulaError(f"n_top must be at most n_delta, {self.n_delta}; got {self.n_top}")

    def search_space(self) -> SearchSpace:
        return {"learning_rate": LogRange(5e-3, 0.2), "delta_std": Choice(0.03, 0.1, 0.3)}


class ARS(SB3Algorithm):
    """Augmented random search (Mania et al. 2018), by sb3-contrib. Its policy is deterministic: one formula.

    A round's finished formulae are those of all policies that it tried.
    """

    Config = ARSConfig
    model_class = sb3_contrib.ARS

    @property
    def collapse_advice(self) -> str:
        return "train ppo or another algorithm that draws at random; the policy of ars holds one formula"

    def policy_options(self) -> dict[str, Any]:
        return {"net_arch": [self.config.hidden_dim]}  # it has no place for an embedding

    def model_options(self) -> dict[str, Any]:
        return self.config.own() | {"n_eval_episodes": self.config.num_envs}

    @property
    def timesteps_per_round(self) -> int:
        return 2 * self.config.n_delta * self.config.num_envs * self.task.max_length

    def iterate(self) -> None:
        model: Any = self.model
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        model._do_one_update(self.callback, None)
