"""Checks of model, environment and replay buffer before adversarial training; each error is one line."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, unwrap_vec_normalize

from formula_env.adversary import AdversaryConfig
from formula_env.agents.sb3.policies import PrefixCodec, SB3Policy, policy_of
from formula_env.agents.sb3.replay import RelabelledReplayBuffer, check_n_steps
from formula_env.errors import FormulaError
from formula_env.networks import DiscriminatorKind
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


def task_of(env: VecEnv) -> SequenceTask:
    """The task of the environments; raises FormulaError where no callback can train a discriminator."""
    if isinstance(env.unwrapped, SubprocVecEnv):
        raise FormulaError(
            "rewards in worker processes come from copies of the discriminator that never learn; "
            "use FormulaVecEnv, or DummyVecEnv"
        )
    if unwrap_vec_normalize(env) is not None:
        raise FormulaError(
            "VecNormalize shows the policy other observations than those its formulae are rewarded by, and scales "
            "rewards by a past discriminator's; leave it out"
        )
    try:
        return env.get_attr("task")[0]
    except AttributeError:
        raise FormulaError("this environment writes no formulae; use FormulaVecEnv or FormulaEnv") from None


def policy_for(model: Any, task: SequenceTask, kind: DiscriminatorKind) -> SB3Policy:
    """How the model chooses symbols; raises FormulaError where this kind of discriminator needs its density."""
    policy = policy_of(model, task)
    if kind == "ratio" and not policy.has_density:
        raise FormulaError(
            f"{type(model).__name__} chooses greedily, so its formulae have no density for a ratio discriminator; "
            'use kind "plain" with reward_transform "probability"'
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
    """The model's replay buffer; raises FormulaError for one of another kind, or of other environments."""
    buffer = model.replay_buffer
    if not isinstance(buffer, RelabelledReplayBuffer):
        raise FormulaError(
            f"{type(model).__name__} would learn from rewards of discriminators that are gone; "
            "make it with replay_buffer_class=RelabelledReplayBuffer"
        )
    check_n_steps(getattr(model, "n_steps", 1))
    if (buffer.observation_space, buffer.n_envs) != (model.observation_space, model.n_envs):
        raise FormulaError(
            f"the replay buffer holds {buffer.observation_space} of {buffer.n_envs} environments; "
            f"{type(model).__name__} acts on {model.observation_space} of {model.n_envs}"
        )
    return buffer


def check_observations(observations: Any, codec: PrefixCodec) -> None:
    """Raise FormulaError for observations `(n, …)` that are no prefixes, such as scaled ones."""
    if not np.array_equal(codec.observe(torch.from_numpy(codec.read(observations))).numpy(), observations):
        raise FormulaError(
            "a wrapper changes the observations, so the policy reads other prefixes than those its formulae are "
            "judged by; leave it out"
        )


def check_proposal(config: AdversaryConfig) -> None:
    """Raise FormulaError for a proposal temperature, where the fakes are the policy's own."""
    if config.proposal_temperature != 1:
        raise FormulaError(
            "proposal_temperature has no effect here, where the policy itself writes the fakes; leave it out"
        )


def check_whole(**values: Any) -> None:
    """Raise FormulaError for the first value that is not a whole number, by its name."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise FormulaError(f"{name} must be a whole number, got {value!r}")


def check_training(formulae: Any, task: SequenceTask) -> Tokens:
    """Real formulae as tokens `(n, T)` int64; raises FormulaError for those that are none of the task."""
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
