"""Our vector environment as the one that Stable-Baselines3 asks for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from formula_env.errors import FormulaError
from formula_env.observations import Observation
from formula_env.tasks.base import SequenceTask
from formula_env.vector_env import FormulaVectorEnv

Info = dict[str, Any]


class FormulaVecEnv(VecEnv):
    """`num_envs` formulae written side by side, for Stable-Baselines3; what `DummyVecEnv` makes of as many
    `FormulaEnv`, field by field, in one batch.

    Args:
        task: a name from `formula_env.tasks`, a `SequenceTask`, or a `FormulaVectorEnv` with SAME_STEP autoreset.
        num_envs: formulae at a time.
        **options: of `FormulaVectorEnv`, the task's among them: `length=8, reward_model="exact"`.

    Raises FormulaError for an environment that resets in another way, or comes with options.
    """

    def __init__(
        self, task: str | SequenceTask | FormulaVectorEnv = "binary-sum", num_envs: int = 64, **options: Any
    ):
        if isinstance(task, FormulaVectorEnv):
            if options:
                raise FormulaError(
                    f"options {sorted(options)} belong to a task, not to an environment that exists"
                )
            self.vector_env = task
        else:
            self.vector_env = FormulaVectorEnv(task, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        if self.vector_env.autoreset_mode != AutoresetMode.SAME_STEP:
            raise FormulaError(
                f"Stable-Baselines3 resets in the same step; make the environment with "
                f'autoreset_mode="SameStep", not {self.vector_env.autoreset_mode.value!r}'
            )
        self.metadata = self.vector_env.metadata
        self._actions = np.zeros(self.vector_env.num_envs, dtype=np.int64)
        super().__init__(
            self.vector_env.num_envs, self.vector_env.single_observation_space, self.vector_env.single_action_space
        )

    # --- episodes ---------------------------------------------------------------------------------------------

    def reset(self) -> Observation:
        observations, infos = self.vector_env.reset(seed=self._seeds)
        self.reset_infos = _split(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        observations, rewards, dones, _, info = self.vector_env.step(self._actions)
        infos = _split(info)
        for i in np.flatnonzero(dones):
            self.reset_infos[i] = infos[i]
            infos[i] = _row(info["final_info"], int(i)) | {"terminal_observation": info["final_obs"][i]}
        for each in infos:
            each["TimeLimit.truncated"] = False
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        self.vector_env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        frames = self.vector_env.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else frames

    # --- attributes and methods of the single environments ----------------------------------------------------

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch has one value for all its environments. Raises AttributeError for what it doesn't have."""
        if attr_name == "action_masks":  # whether there are masks is found out by asking for this
            return [lambda i=i: self.vector_env.action_masks()[i] for i in self._get_indices(indices)]
        return [getattr(self.vector_env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        self._check_all(indices, attr_name)
        setattr(self.vector_env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """`action_masks` of any environments; other methods, such as `set_reward_model`, only for all at once."""
        if method_name == "action_masks":
            masks = self.vector_env.action_masks()
            return [masks[i] for i in self._get_indices(indices)]
        self._check_all(indices, method_name)
        return [getattr(self.vector_env, method_name)(*method_args, **method_kwargs)] * self.num_envs

    def _check_all(self, indices: Any, name: str) -> None:
        if indices is not None and len(list(self._get_indices(indices))) < self.num_envs:
            raise FormulaError(
                f"{name} is common to all {self.num_envs} environments of the batch; leave out indices"
            )

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def _split(infos: Info) -> list[Info]:
    """Gymnasium's infos of a batch as one dictionary for each environment."""
    return [_row(infos, i) for i in range(len(infos["action_mask"]))]


def _row(infos: Info, i: int) -> Info:
    return {key: infos[key][i] for key in ("action_mask", "is_correct")}
