"""Adversarial training within one `learn()` of Stable-Baselines3."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, unwrap_vec_normalize
from torch import Tensor

from agents.sb3.policies import SB3Policy, policy_of
from agents.sb3.replay import RelabelledReplayBuffer
from formula_env.adversarial import adam, discriminator_step, floats, set_lr
from formula_env.errors import FormulaError, check_above_zero, check_at_least, check_choice
from formula_env.evaluators import Evaluator
from formula_env.networks import DiscriminatorKind, DiscriminatorName, judge_of, make_discriminator
from formula_env.rewards import DiscriminatorReward, RewardKind
from formula_env.rollouts import write
from formula_env.sampling import draw_keys, log_prob
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens

Draw = Callable[[int], Tokens]
"""A number n to as many real formulae `(n, T)`."""


class AdversarialCallback(BaseCallback):
    """Makes a discriminator the reward of any Stable-Baselines3 model, and trains it while the model learns.

    `PPO("MlpPolicy", FormulaVecEnv("binary-sum", length=8), n_steps=8, gamma=1.0).learn(n, AdversarialCallback())`

    It takes its steps at the end of a collection of experience, on the formulae that were finished since its last
    steps against as many real ones; Monte-Carlo rollouts, where the environment makes any, follow the model. With
    a replay buffer (a `RelabelledReplayBuffer`) every reward is the present discriminator's.

    Args:
        training: the real formulae `(n, T)`, or a function that draws n of them; default: the task's own, any.
        discriminator: its architecture: "mlp", "cnn" or "recurrent".
        discriminator_kind: "ratio", logit = network - log π, or "plain": see `RatioDiscriminator`. A model that
            chooses greedily (DQN, QRDQN, ARS) has no log π: "plain" is for it.
        reward: "log-ratio", the logit, or "probability", D(x): see `DiscriminatorReward`.
        reward_clip: the logit is clipped to ± this (nats).
        learning_rate: of the discriminator's Adam; falls linearly to 0 over `learn`.
        batch_size: real, and as many finished formulae in a step.
        d_steps: steps each time.
        update_every: finished formulae from one time to the next, at least. No more than one collection finishes,
            for "ratio": the π in its logit is the model's of this moment, which must have written what is fake.
        eval_every: symbols (`num_timesteps`) from one evaluation to the next, at least; 0: none. Each logs all
            metrics of `formula_env.evaluators.Evaluator` as `eval/…`, exact ones from the policy's probabilities.
        eval_samples: formulae in an evaluation's sample.
        seed: of the discriminator and of what it is shown.

    Raises FormulaError when `learn` begins, if model and environment don't go together: another vocabulary, worker
    processes (they would judge by copies that never learn), `VecNormalize`, an off-policy model without a
    `RelabelledReplayBuffer`, Q as rewards with γ above 0; or if the callback has judged another task before.
    """

    def __init__(
        self,
        training: Tokens | Draw | None = None,
        *,
        discriminator: DiscriminatorName = "mlp",
        discriminator_kind: DiscriminatorKind = "ratio",
        reward: RewardKind = "log-ratio",
        reward_clip: float = 5.0,
        learning_rate: float = 2e-3,
        batch_size: int = 256,
        d_steps: int = 2,
        update_every: int = 64,
        eval_every: int = 0,
        eval_samples: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice(get_args(DiscriminatorName), discriminator=discriminator)
        check_choice(get_args(DiscriminatorKind), discriminator_kind=discriminator_kind)
        check_above_zero(reward_clip=reward_clip, learning_rate=learning_rate)
        check_at_least(1, batch_size=batch_size, d_steps=d_steps, update_every=update_every)
        check_at_least(0, eval_every=eval_every)
        check_at_least(1, eval_samples=eval_samples)
        self.training = training
        self.architecture: DiscriminatorName = discriminator
        self.kind: DiscriminatorKind = discriminator_kind
        self.reward: RewardKind = reward
        self.reward_clip = reward_clip
        self.learning_rate, self.batch_size, self.d_steps = learning_rate, batch_size, d_steps
        self.update_every, self.eval_every, self.eval_samples = update_every, eval_every, eval_samples
        self.seed = seed
        self.num_updates = 0
        self._evaluated_at = 0
        self._is_set_up = False
        self._to_load: dict[str, Any] | None = None

    # --- what Stable-Baselines3 calls -------------------------------------------------------------------------

    def _init_callback(self) -> None:
        """`learn` begins: for the first time, or going on with the same model."""
        env = self.training_env
        self.policy = policy_for(self.model, task_of(env), self.kind)
        check_gamma(self.model, env.get_attr("reward_mode")[0])
        if not self._is_set_up:
            self._set_up(self.policy.task)
        if self.policy.task != self.task:
            raise FormulaError(
                f"this callback's discriminator judges {self.task}, not {self.policy.task}; make a new one"
            )
        self._evaluated_at = min(self._evaluated_at, self.model.num_timesteps)  # which may begin at 0 again
        self.reward_model.forget()  # between two calls of `learn` others may have written, such as evaluate_policy
        if self._to_load is not None:
            self.load_state_dict(self._to_load)
            self._to_load = None
        env.env_method("set_reward_model", self.reward_model)
        env.env_method("set_rollout_policy", self.policy)
        if isinstance(self.model, OffPolicyAlgorithm):
            relabelled_buffer(self.model).relabel = self._reward_now

    def _set_up(self, task: Task) -> None:
        self.task = task
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.discriminator = make_discriminator(self.architecture, task).to(self.model.device)
        self.judge = judge_of(self.kind, self.discriminator, self._log_prob)
        self.optimizer = adam(self.discriminator.parameters(), self.learning_rate)
        self.reward_model = FinishedFormulae(self.judge, self.reward, self.reward_clip, task.max_length)
        self.rng = np.random.default_rng(self.seed)
        self.torch_rng = torch.Generator().manual_seed(self.seed)
        self._draw_real = self._real_formulae(task)
        self._is_set_up = True

    def _on_training_start(self) -> None:
        if not self.locals.get("use_masking", True):
            raise FormulaError(
                "MaskablePPO without masks would be judged by the density it has with them; use PPO instead"
            )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        """Experience has been collected, the model's own update follows."""
        finished = self.reward_model.finished
        if len(finished) >= self.update_every:
            self.reward_model.forget()
            self.train_discriminator(finished)
        if self.eval_every and self.num_timesteps - self._evaluated_at >= self.eval_every:
            self._evaluated_at = self.num_timesteps
            for name, value in self.evaluate().items():
                self.logger.record(f"eval/{name}", float(value))

    # --- what it does -----------------------------------------------------------------------------------------

    def train_discriminator(self, finished: Tokens) -> None:
        """Steps on real formulae against these `(n, T)`."""
        set_lr(self.optimizer, self.learning_rate * self.model._current_progress_remaining)
        for _ in range(self.d_steps):
            chosen = self.rng.choice(len(finished), self.batch_size, replace=len(finished) < self.batch_size)
            batches = (self._draw_real(self.batch_size), finished[chosen])
            real, fake = (torch.from_numpy(batch).to(self.model.device) for batch in batches)
            with torch.enable_grad():  # ARS collects without gradients
                metrics = discriminator_step(self.judge, self.optimizer, real, fake)
            for name, value in floats(metrics).items():
                self.logger.record_mean(name, value)
        self.num_updates += self.d_steps

    def evaluate(self) -> dict[str, Any]:
        """The metrics of a sample, and of the policy's own probabilities; raises FormulaError before `learn`."""
        if not self._is_set_up:
            raise FormulaError("there is no model to be judged yet; call model.learn(…, callback=…) first")
        known = self.training if isinstance(self.training, np.ndarray) else None
        keys = draw_keys(self.eval_samples, torch.Generator().manual_seed(self.num_timesteps))
        sample = write(self.policy, self.task.vocabulary, self.task.max_length, keys.to(self.model.device))
        return Evaluator(self.task, known)(sample.cpu().numpy(), self._log_prob_of)

    def _log_prob(self, tokens: Tensor) -> Tensor:
        return log_prob(self.policy, self.task.vocabulary, tokens).float()

    def _log_prob_of(self, tokens: Tokens) -> Any:
        batch = torch.from_numpy(tokens).to(self.model.device)
        return log_prob(self.policy, self.task.vocabulary, batch).cpu().numpy()

    def _reward_now(self, observations: Any, finished: Any) -> Any:
        """What the last step to each of these observations would earn now."""
        rewards_of = self.training_env.get_attr("rewards_of")[0]
        return rewards_of(self.policy.codec.read(observations), finished, self.torch_rng)

    def _real_formulae(self, task: Task) -> Draw:
        if self.training is None:
            return lambda n: task.sample(n, self.rng)
        if callable(self.training):
            return self.training
        return partial(self._some_of, check_training(self.training, task))

    def _some_of(self, formulae: Tokens, n: int) -> Tokens:
        return formulae[self.rng.integers(len(formulae), size=n)]

    # --- saved with the model ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The discriminator's, and what it has yet to see; a copy, of tensors and plain values."""
        return {
            "discriminator": deepcopy(self.discriminator.state_dict()),
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "finished": torch.from_numpy(self.reward_model.finished),
            "rng": self.rng.bit_generator.state,
            "torch_rng": self.torch_rng.get_state(),
            "num_updates": self.num_updates,
            "evaluated_at": self._evaluated_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Before the first `learn`, which says what is judged, the state waits for it."""
        if not self._is_set_up:
            self._to_load = state
            return
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # it would train the caller's tensors
        self.reward_model.forget()
        self.reward_model.observe(state["finished"].numpy())
        self.rng.bit_generator.state = state["rng"]
        self.torch_rng.set_state(state["torch_rng"])
        self.num_updates, self._evaluated_at = state["num_updates"], state["evaluated_at"]


class FinishedFormulae(DiscriminatorReward):
    """A discriminator's verdict, which keeps the formulae that the environment finishes for its trainer."""

    def __init__(self, discriminator: torch.nn.Module, kind: RewardKind, clip: float, max_length: int) -> None:
        super().__init__(discriminator, kind, clip)
        self._max_length = max_length
        self.forget()

    def observe(self, tokens: Tokens) -> None:
        self._parts.append(tokens)

    @property
    def finished(self) -> Tokens:
        """`(n, T)`, since they were last forgotten."""
        return np.concatenate([np.empty((0, self._max_length), dtype=np.int64), *self._parts])

    def forget(self) -> None:
        self._parts: list[Tokens] = []


def task_of(env: VecEnv) -> Task:
    """What is written there; raises FormulaError for environments where no callback can train a discriminator."""
    if isinstance(env.unwrapped, SubprocVecEnv):
        raise FormulaError(
            "environments in worker processes judge by copies of the discriminator that never learn; "
            "use FormulaVecEnv, or DummyVecEnv"
        )
    if unwrap_vec_normalize(env) is not None:
        raise FormulaError(
            "VecNormalize shows the policy other observations than those its formulae are judged by, and scales "
            "rewards by a past discriminator's; leave it out"
        )
    try:
        return env.get_attr("task")[0]
    except AttributeError:
        raise FormulaError("this environment writes no formulae; use FormulaVecEnv or FormulaEnv") from None


def policy_for(model: Any, task: Task, kind: DiscriminatorKind) -> SB3Policy:
    """How the model chooses symbols; raises FormulaError where this kind of discriminator needs its density."""
    policy = policy_of(model, task)
    if kind == "ratio" and not policy.has_density:
        raise FormulaError(
            f"{type(model).__name__} chooses greedily, so its formulae have no density for a ratio discriminator; "
            'use discriminator_kind "plain" and reward "probability"'
        )
    return policy


def check_gamma(model: Any, reward_mode: str) -> None:
    """Raise FormulaError where Q would be handed out as rewards to be added up."""
    gamma = getattr(model, "gamma", 1.0)  # ARS adds up all rewards
    if reward_mode == "q" and gamma != 0:
        raise FormulaError(
            f'reward_mode "q" hands out Q_t itself; {type(model).__name__} with gamma {gamma} would add these up, '
            'which is not E[D(Y)]; use reward_mode "difference" or "terminal", or gamma 0'
        )


def relabelled_buffer(model: OffPolicyAlgorithm) -> RelabelledReplayBuffer:
    """The model's; raises FormulaError where it has another one."""
    if not isinstance(model.replay_buffer, RelabelledReplayBuffer):
        raise FormulaError(
            f"{type(model).__name__} would learn from rewards of discriminators that are gone; "
            "make it with replay_buffer_class=RelabelledReplayBuffer"
        )
    return model.replay_buffer


def check_training(formulae: Tokens, task: Task) -> Tokens:
    """As tokens `(n, T)` int64; raises FormulaError for real formulae that are none of the task."""
    formulae = np.asarray(formulae)
    if not np.issubdtype(formulae.dtype, np.integer):
        raise FormulaError(
            f"training formulae are ids of symbols, got {formulae.dtype}; task.encode makes them of text"
        )
    if formulae.ndim != 2 or formulae.shape[1] != task.max_length or not len(formulae):
        raise FormulaError(f"training formulae are tokens (n, {task.max_length}), got shape {formulae.shape}")
    if formulae.min() < 0 or formulae.max() > task.vocabulary.pad:
        raise FormulaError(f"training formulae have ids from 0 to {task.vocabulary.pad}")
    return formulae.astype(np.int64)
