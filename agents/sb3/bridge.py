"""Bridge to Stable-Baselines3: its algorithms, trained, evaluated, tracked, saved and resumed like SeqGAN.

A round is one iteration of the algorithm's own `learn` (for DQN and QRDQN as many as make an episode), with the
same result as a plain call of `learn` with an `AdversarialCallback`.
"""

import io
import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecMonitor

from formula_env import distributed
from formula_env.adversary import AdversaryConfig
from formula_env.agents.sb3.callback import SB3_DISCRIMINATOR, AdversarialCallback
from formula_env.agents.sb3.checks import check_gamma, check_proposal
from formula_env.agents.sb3.extractor import SymbolEmbedding
from formula_env.agents.sb3.policies import SB3Policy, policy_of
from formula_env.agents.sb3.state import load_model_state, model_state
from formula_env.agents.sb3.vec_env import FormulaVecEnv
from formula_env.algorithm import Algorithm, DensityRatio, LogProb
from formula_env.env_options import QEstimator
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    MAX_WIDTH,
    FormulaError,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.observations import ObservationName
from formula_env.randomness import IsolatedRNG
from formula_env.rewards import RewardMode, SoftReward
from formula_env.sampling import Sampler
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class SB3Config:
    """Settings that all share. The other fields of a subclass are the algorithm's own, by the names they have in
    Stable-Baselines3."""

    rounds: int = 1000
    """Rounds of collecting experience and learning from it."""
    num_envs: int = 64
    """Number of formulae written side by side."""
    observation: ObservationName = "one-hot"
    """Form of the prefix that the policy reads; "tokens" come with an embedding."""
    hidden_dim: int = 128
    """Size of both hidden layers of policy and value (RecurrentPPO: of its LSTMs)."""
    learning_rate: float = 2e-3
    """Learning rate of the policy in the first round."""
    lr_end_factor: float = 0.0
    """Share of the learning rate that is left at the end, reached linearly."""
    reward_model: Literal["discriminator", "exact", "soft", "constant"] = "discriminator"
    """Source of the reward: "discriminator", trained along; "exact", the checker; "soft", the checker and the
    policy's entropy, so that variety pays; "constant", the control."""
    beta: float = 0.0
    """Penalty β of an incorrect formula in the soft reward, nats, which rises in the first half of the rounds; 0:
    by the number of correct formulae."""
    reward_mode: RewardMode = "terminal"
    """Rewards of single symbols: "terminal"; "difference", Q_t - Q_{t-1} by Monte-Carlo rollouts; "q"."""
    num_rollouts: int = 16
    """Monte-Carlo completions behind each Q, where rewards aren't terminal."""
    q_estimator: QEstimator = "monte-carlo"
    """Estimator of Q; "exact" replaces sampling by backward recursion, where the prefix tree is small."""
    discriminator: AdversaryConfig = SB3_DISCRIMINATOR
    """Settings of the discriminator."""
    d_steps: int = 2
    """Discriminator updates in a round."""
    discriminator_batch_size: int = 256
    """Real and as many fake formulae in a discriminator update."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_WIDTH, hidden_dim=self.hidden_dim)
        check_range(1, MAX_REPEATS, num_rollouts=self.num_rollouts, d_steps=self.d_steps)
        check_range(1, MAX_BATCH, num_envs=self.num_envs, discriminator_batch_size=self.discriminator_batch_size)
        check_positive(learning_rate=self.learning_rate)
        check_fraction(lr_end_factor=self.lr_end_factor)
        check_proposal(self.discriminator)
        self._check_no_effect()

    def _check_no_effect(self) -> None:
        """Raise FormulaError for a setting that another one makes dead."""
        if self.reward_mode == "terminal":
            check_no_effect(self, "reward_mode terminal", "num_rollouts", "q_estimator")
        if self.q_estimator == "exact":
            check_no_effect(self, "q_estimator exact", "num_rollouts")
        check_at_least(0, beta=self.beta)
        if self.reward_model != "soft":
            check_no_effect(self, f"reward_model {self.reward_model}", "beta")
        if self.reward_model != "discriminator":
            dead = ("discriminator", "d_steps", "discriminator_batch_size")
            check_no_effect(self, f"reward_model {self.reward_model}", *dead)

    def search_space(self) -> SearchSpace:
        space: SearchSpace = {"learning_rate": LogRange(1e-4, 1e-2), "num_envs": Choice(32, 64, 128)}
        if self.reward_model != "discriminator":
            return space
        return {**space, "d_steps": Choice(1, 2, 5), "discriminator.learning_rate": LogRange(1e-4, 1e-2)}

    def own(self) -> dict[str, Any]:
        """The algorithm's own hyper-parameters."""
        common = {field.name for field in fields(SB3Config)}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in common}


class SB3Algorithm(Algorithm):
    """A Stable-Baselines3 model in an adversarial game; see `formula_env.algorithm.Algorithm`."""

    Config: ClassVar[type[SB3Config]]
    model_class: ClassVar[Any]
    policy_name = "MlpPolicy"
    task_type = SequenceTask

    def __init__(self, task: SequenceTask, config: Any, seed: int, device: torch.device) -> None:
        distributed.check_alone(self.model_class.__name__)
        self.task, self.config, self.device = task, config, device
        self.rounds = config.rounds
        self.real_batch_size = config.d_steps * config.discriminator_batch_size
        self.randomness = IsolatedRNG(seed)
        with self.randomness.active():
            self.env = VecMonitor(self._make_env())
            self.model = self._make_model(seed)
            check_gamma(self.model, config.reward_mode)
            self._policy = policy_of(self.model, task)
            self.env.env_method("set_rollout_policy", self._policy)
            self.sampler = Sampler(self._policy, task, device)
            self.soft = self._make_soft_reward() if config.reward_model == "soft" else None
            self.reals = RoundOfFormulae()
            self.adversary = self._make_adversary(seed) if config.reward_model == "discriminator" else None
            self.logged = Logged()
            self.model.set_logger(Logger(None, [self.logged]))
            self.callback = self._begin()

    @property
    def collapse_advice(self) -> str:
        config = self.config
        entropy = "raise --algo.ent-coef or " if "ent_coef" in config.own() else ""
        general = f"{entropy}lower --algo.learning-rate"
        if config.reward_model == "soft":
            return f"raise --algo.rounds or --algo.num-envs, {general}"
        if config.reward_model == "exact":
            return f"set --algo.reward-model soft (the verdict alone pays no variety), {general}"
        if config.reward_model != "discriminator":
            return f"set --algo.reward-model discriminator ({config.reward_model} pays no variety), {general}"
        advice = config.discriminator.advice or "raise --algo.discriminator.learning-rate, "
        return f"{advice}{general}"

    def _make_env(self) -> FormulaVecEnv:
        config = self.config
        credit: dict[str, Any] = {}
        if config.reward_mode != "terminal":
            credit["q_estimator"] = config.q_estimator
            if config.q_estimator == "monte-carlo":
                credit["num_rollouts"] = config.num_rollouts
        return FormulaVecEnv(
            self.task,
            config.num_envs,
            observation=config.observation,
            reward_model="exact" if config.reward_model == "exact" else "constant",  # others come later
            reward_mode=config.reward_mode,
            **credit,
            device=self.device,
        )

    def _make_model(self, seed: int) -> Any:
        rate = self.config.learning_rate
        return self.model_class(
            self.policy_name,
            self.env,
            learning_rate=LinearSchedule(rate, rate * self.config.lr_end_factor, 1.0),
            policy_kwargs=self.policy_options(),
            seed=seed,
            device=self.device,
            **self.model_options(),
        )

    def model_options(self) -> dict[str, Any]:
        """The arguments that only this model's class has."""
        return self.config.own()

    def policy_options(self) -> dict[str, Any]:
        """The arguments of the policy's class."""
        # tanh, the default, is slow on a CPU.
        network = {"net_arch": [self.config.hidden_dim] * 2, "activation_fn": torch.nn.ReLU}
        return network if self.config.observation == "one-hot" else {**network, **EMBEDDED}

    def _make_adversary(self, seed: int) -> AdversarialCallback:
        config = self.config
        return AdversarialCallback(
            self.reals.take,
            discriminator=config.discriminator,
            batch_size=config.discriminator_batch_size,
            d_steps=config.d_steps,
            update_every=config.num_envs,
            warmup_steps=0,  # model and discriminator begin together
            seed=seed,
        )

    def _make_soft_reward(self) -> SoftReward:
        if not self._policy.has_density:
            raise FormulaError(
                f"{self.model_class.__name__} chooses greedily, so its formulae have no density, which a soft "
                "reward needs; use ppo, maskable-ppo, a2c or trpo"
            )
        soft = SoftReward(self.task, self._policy, self.config.beta or None)
        self.beta = soft.beta
        self.env.env_method("set_reward_model", soft)
        return soft

    # --- rounds -----------------------------------------------------------------------------------------------

    @property
    def timesteps_per_round(self) -> int:
        """Symbols that the model counts in a round."""
        raise NotImplementedError

    def iterate(self) -> None:
        """One round of `learn`."""
        raise NotImplementedError

    def _begin(self) -> BaseCallback:
        """The part of `learn` before its loop."""
        callbacks = CallbackList([self.adversary] if self.adversary else [])
        _, callback = self.model._setup_learn(self.rounds * self.timesteps_per_round, callbacks)
        callback.on_training_start({}, {})
        return callback

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        self.reals.put(real)
        if self.soft:
            self.soft.beta = self.beta * min(1.0, BETA_START + progress / BETA_RISE)
        with self.randomness.active():
            self.iterate()
            self.model.dump_logs()
        return self.logged.take()

    @property
    def env_steps(self) -> int:  # type: ignore[override]
        return int(self.model.num_timesteps)

    # --- the generator ----------------------------------------------------------------------------------------

    def sample(self, n: int, seed: int) -> Tokens:
        return self.sampler.sample(n, seed)

    @property
    def policy(self) -> SB3Policy:
        return self._policy

    @property
    def log_prob(self) -> LogProb:
        return self.sampler.log_prob

    @property
    def density_ratio(self) -> DensityRatio | None:
        if self.adversary is None or not self.policy.has_density:
            return None
        return self.adversary.adversary.ratio_to(self.sampler)

    # --- files ------------------------------------------------------------------------------------------------

    def extra_files(self) -> dict[str, bytes]:
        file = io.BytesIO()
        self.model.save(file, exclude=["replay_buffer_class"])  # of ours, which plain Stable-Baselines3 can't know
        return {"model.zip": file.getvalue()}

    def state_dict(self) -> dict[str, Any]:
        state = {
            "model": model_state(self.model),
            "environment": self.env.unwrapped.vector_env.state_dict(),  # type: ignore[attr-defined]
            "returns": torch.from_numpy(self.env.episode_returns.copy()),
            "lengths": torch.from_numpy(self.env.episode_lengths.copy()),
            "randomness": self.randomness.state,
        }
        return state | ({"adversary": self.adversary.state_dict()} if self.adversary else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_model_state(self.model, state["model"])
        self.env.unwrapped.vector_env.load_state_dict(state["environment"])  # type: ignore[attr-defined]
        self.env.episode_returns = state["returns"].numpy().copy()
        self.env.episode_lengths = state["lengths"].numpy().copy()
        self.randomness.state = state["randomness"]
        if self.adversary:
            self.adversary.load_state_dict(state["adversary"])
        self.callback.num_timesteps = self.model.num_timesteps


BETA_START, BETA_RISE = 0.2, 0.5
"""Share of β in the first round, and share of the rounds in which it would rise by all of β."""

EMBEDDED = {"features_extractor_class": SymbolEmbedding}


class RoundOfFormulae:
    """The real formulae of a round, handed out in order, and from the front again if they don't suffice."""

    def put(self, formulae: Tokens) -> None:
        self.formulae, self._next = formulae, 0

    def take(self, n: int) -> Tokens:
        rows = np.arange(self._next, self._next + n) % len(self.formulae)
        self._next += n
        return self.formulae[rows]


class Logged(KVWriter):
    """The values that a model has logged, for the rows of a run."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._values |= key_values

    def take(self) -> dict[str, float]:
        """Numbers logged since the last call, without clocks, which differ from run to run."""
        logged = {name: float(value) for name, value in self._values.items() if not name.startswith("time/")}
        self._values = {}
        if math.isnan(logged.get("train/explained_variance", 0.0)):  # of returns that are all alike
            del logged["train/explained_variance"]
        return logged

    def close(self) -> None:
        pass
