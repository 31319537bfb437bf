"""One formula as a Gymnasium environment: a batch of one, seen from inside."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from formula_env.env_options import find_estimator, whole_seed
from formula_env.errors import UnexpectedArgument
from formula_env.networks.policy import Policy
from formula_env.observations import Observation
from formula_env.rewards import RewardMode, RewardModel
from formula_env.tasks.base import SequenceTask
from formula_env.vector_env import FormulaVectorEnv
from formula_env.vocabulary import Tokens


class FormulaEnv(gym.Env[Observation, np.int64]):
    """Write a formula symbol by symbol.

    Arguments, spaces, rewards, infos and reset options are those of `FormulaVectorEnv`, for one formula.
    Environments whose reward model learns share it, unless `reward_options={"shared": False}` is given.
    """

    metadata: dict[str, Any] = FormulaVectorEnv.metadata

    def __init__(
        self, task: str | SequenceTask = "binary-sum", *, render_mode: str | None = None, **options: Any
    ) -> None:
        _check_single(options)
        estimate = {name: options[name] for name in _OF_ESTIMATE if name in options}
        find_estimator(**estimate, has_play=False)
        reward_options = options.get("reward_options") or {}
        if options.get("reward_model") in ("discriminator", "soft") and isinstance(reward_options, Mapping):
            options["reward_options"] = {"shared": True, **reward_options}
        self._batch = FormulaVectorEnv(
            task, num_envs=1, autoreset_mode=AutoresetMode.DISABLED, render_mode=render_mode, **options
        )
        self.task = self._batch.task
        self.render_mode = render_mode
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self._running = False

    def set_reward_model(self, reward_model: RewardModel) -> None:
        """Score by this model from now on."""
        self._batch.set_reward_model(reward_model)

    def set_rollout_policy(self, policy: Policy) -> None:
        """Complete prefixes by this policy from now on."""
        self._batch.set_rollout_policy(policy)

    @property
    def reward_model(self) -> RewardModel:
        """The reward model in use."""
        return self._batch.reward_model

    @property
    def reward_mode(self) -> RewardMode:
        """How rewards are given: `terminal`, `difference` or `q`."""
        return self._batch.reward_mode

    def rewards_of(
        self, prefixes: Tokens, finished: NDArray[np.bool_], generator: torch.Generator
    ) -> NDArray[np.float64]:
        """Present rewards of the last steps to these prefixes; see `FormulaVectorEnv.rewards_of`."""
        return self._batch.rewards_of(prefixes, finished, generator)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a new formula; returns the observation of its prefix, and the infos.

        Args:
            seed: random seed of the environment; without one, its random numbers continue.
            options: "prefix", text that the formula begins with, this time. Rewards are for the symbols after it.

        Raises FormulaError for anything else, for unknown options, and for a prefix that no formula has.
        """
        seed = None if seed is None else whole_seed(seed)
        super().reset(seed=seed)
        # Not seeded yet: take the seed from this environment's own generator, as Gymnasium promises.
        first = seed is None and not self._running
        own_seed = int(self.np_random.integers(2**31)) if first else seed
        observations, infos = self._batch.reset(seed=own_seed, options=options)
        self._running = True
        return observations[0], _single_info(infos)

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Append the symbol with this id to the formula.

        Returns the observation, the reward, whether the formula is finished (`terminated`), False (it is never
        `truncated`), and the infos `action_mask` `(V,)` and `is_correct`.
        """
        if not self._running:
            raise gym.error.ResetNeeded("call reset() before step()")
        observations, rewards, terminated, _, infos = self._batch.step(np.array([action]))
        return observations[0], float(rewards[0]), bool(terminated[0]), False, _single_info(infos)

    def render(self) -> Any:
        """One frame of the formula: a string ("ansi") or an image `(height, width, 3)` ("rgb_array"), or None."""
        frames = self._batch.render()
        return None if frames is None else frames[0]

    @property
    def formula(self) -> str:
        """The text of the formula that is being written, or has just been finished."""
        return self._batch.formulae[0]

    def decode(self, observation: Observation) -> str:
        """The text of the prefix that an observation shows."""
        return self._batch.decode(observation[None])[0]

    def action_masks(self) -> NDArray[np.bool_]:
        """`(V,)`: the symbols that keep the formula well-formed, in the form sb3-contrib asks for."""
        return self._batch.action_masks()[0]

    def state_dict(self) -> dict[str, Any]:
        """The running episode, with its random numbers, and the reward model's state."""
        return self._batch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned, bit for bit; the options must be the same."""
        self._batch.load_state_dict(state)
        self._running = True


_OF_ESTIMATE = ("reward_mode", "q_estimator", "num_rollouts")


def _check_single(options: dict[str, Any]) -> None:
    """Raise UnexpectedArgument for what only a batch takes."""
    for name in ("num_envs", "autoreset_mode"):
        if name in options:
            raise UnexpectedArgument(
                f"FormulaEnv got an unexpected keyword argument {name!r}: it writes one formula and takes no "
                "num_envs or autoreset_mode; use FormulaVectorEnv"
            )


def _single_info(infos: dict[str, Any]) -> dict[str, Any]:
    """Row 0 of a batch's infos."""
    return {key: value[0] for key, value in infos.items() if not key.startswith("_")}
