"""A replay buffer whose rewards are never out of date."""

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from formula_env.errors import FormulaError

Relabel = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Maps observations `(n, …)` and the actions on them `(n,)` to rewards `(n,)`."""


class RelabelledReplayBuffer(ReplayBuffer):
    """Steps come out with the reward that they would earn now.

    What a discriminator paid when a step was taken means little once it has moved on. `AdversarialCallback` sets
    `relabel`; without it the recorded rewards stand.

    Rewards follow from observation and action alone, so `optimize_memory_usage=True`, which overwrites the last
    observation of an episode, changes none of them.

    Raises FormulaError for dictionaries as observations, and for n-step returns.
    """

    relabel: Relabel | None = None

    def __init__(self, buffer_size: int, observation_space: spaces.Space, *args: Any, **options: Any) -> None:
        if isinstance(observation_space, spaces.Dict):
            raise FormulaError("RelabelledReplayBuffer holds one-hot or token observations, not dictionaries")
        check_n_steps(options.pop("n_steps", 1))
        super().__init__(buffer_size, observation_space, *args, **options)

    def __getstate__(self) -> dict[str, Any]:
        """State for `model.save_replay_buffer`, without the callback, which sets `relabel` again."""
        return {name: value for name, value in vars(self).items() if name != "relabel"}

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        if self.relabel is None:
            return samples
        rewards = self.relabel(samples.observations.cpu().numpy(), samples.actions.cpu().numpy()[:, 0])
        return samples._replace(rewards=torch.from_numpy(rewards).to(samples.rewards)[:, None])


def check_n_steps(n_steps: int) -> None:
    """Raise FormulaError for returns over several steps."""
    if n_steps != 1:
        raise FormulaError(f"RelabelledReplayBuffer replays single steps; leave out n_steps={n_steps}")
