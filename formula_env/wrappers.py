"""The action mask as a part of the observation, where a library looks for it."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space
from numpy.typing import DTypeLike, NDArray

from formula_env.errors import FormulaError

DictObservation = dict[str, NDArray[Any]]


class MaskInObservation(gym.Wrapper[DictObservation, Any, Any, Any], RecordConstructorArgs):
    """Observations `{obs_key: …, mask_key: (V,)}`: what `env` shows, and the mask that its infos hold.

    Args:
        env: an environment with discrete actions whose infos hold an `action_mask`, as `FormulaEnv`'s do.
        obs_key: of the observation.
        mask_key: of the mask, 1 where an action is legal.
        dtype: of the mask: integer, float or bool.
    """

    def __init__(
        self,
        env: gym.Env[NDArray[Any], Any],
        obs_key: str = "observation",
        mask_key: str = "action_mask",
        dtype: DTypeLike = np.int8,
    ) -> None:
        self._merge = _Merge(obs_key, mask_key, dtype)
        # The name of the dtype, so that env.spec can be written as JSON.
        RecordConstructorArgs.__init__(self, obs_key=obs_key, mask_key=mask_key, dtype=self._merge.dtype.name)
        gym.Wrapper.__init__(self, env)
        self.observation_space = self._merge.space(env.observation_space, env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[DictObservation, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._merge(observation, _mask_of(info)), info

    def step(self, action: Any) -> tuple[DictObservation, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._merge(observation, _mask_of(info)), reward, terminated, truncated, info


class VectorMaskInObservation(gym.vector.VectorWrapper):
    """Observations `{obs_key: …, mask_key: (num_envs, V)}` of a vector environment, with the masks of its infos.

    Args:
        env: a `FormulaVectorEnv`, or another with its `action_masks()`.
        obs_key: key of the observations.
        mask_key: key of the masks, 1 where an action is legal.
        dtype: number type of the masks: integer, float or bool.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        obs_key: str = "observation",
        mask_key: str = "action_mask",
        dtype: DTypeLike = np.int8,
    ) -> None:
        super().__init__(env)
        if not hasattr(env.unwrapped, "action_masks"):
            raise FormulaError(f"{env.unwrapped} has no action_masks() to be put into the observations")
        self._merge = _Merge(obs_key, mask_key, dtype)
        self.single_observation_space = self._merge.space(env.single_observation_space, env.single_action_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[DictObservation, dict[str, Any]]:
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._merge(observations, self._masks()), infos

    def step(self, actions: Any) -> tuple[DictObservation, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if "final_obs" in infos:
            final = infos["final_obs"]
            for i in np.flatnonzero(infos["_final_obs"]):
                final[i] = self._merge(final[i], infos["final_info"]["action_mask"][i])
        return self._merge(observations, self._masks()), rewards, terminations, truncations, infos

    def _masks(self) -> NDArray[np.bool_]:
        # Not those of the infos: a partial reset has none for the environments that go on.
        return self.env.unwrapped.action_masks()  # type: ignore[attr-defined]


class _Merge:
    """Observation and mask, of one environment or of a batch, to a dictionary."""

    def __init__(self, obs_key: str, mask_key: str, dtype: DTypeLike) -> None:
        if obs_key == mask_key:
            raise FormulaError(f"obs_key and mask_key must differ, both are {obs_key!r}")
        try:
            self.dtype = np.dtype(dtype)
        except TypeError as error:
            raise FormulaError(f"unknown dtype {dtype!r} for a mask; use int8, float32 or bool") from error
        if self.dtype.kind not in "biuf":
            raise FormulaError(f"a mask of {self.dtype.name} can't be; use an integer, a float or bool")
        self.obs_key, self.mask_key = obs_key, mask_key

    def space(self, observation: gym.Space[Any], action: gym.Space[Any]) -> gym.Space[Any]:
        if not isinstance(action, gym.spaces.Discrete):
            raise FormulaError(f"only Discrete actions have a mask, not {action}")
        mask = gym.spaces.Box(0, 1, (int(action.n),), self.dtype.type)
        return gym.spaces.Dict({self.obs_key: observation, self.mask_key: mask})

    def __call__(self, observation: Any, mask: NDArray[Any]) -> DictObservation:
        return {self.obs_key: observation, self.mask_key: mask.astype(self.dtype)}


def _mask_of(info: dict[str, Any]) -> NDArray[Any]:
    if "action_mask" not in info:
        raise FormulaError('this environment gives no info["action_mask"] to be put into the observation')
    return info["action_mask"]
