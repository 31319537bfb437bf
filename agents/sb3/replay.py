"""A replay buffer whose rewards are never out of date."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

Relabel = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Observations after a step `(n, …)`, and whether it was the last `(n,)`, to its reward `(n,)`."""


class RelabelledReplayBuffer(ReplayBuffer):
    """Steps come out with the reward that they would earn now.

    What a discriminator said when a step was taken says little after it has moved on. `AdversarialCallback` sets
    `relabel`; without it the recorded rewards stand.
    """

    relabel: Relabel | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What `model.save_replay_buffer` writes: not the callback, which sets `relabel` again."""
        return {name: value for name, value in vars(self).items() if name != "relabel"}

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        if self.relabel is None:
            return samples
        rewards = self.relabel(samples.next_observations.cpu().numpy(), samples.dones.cpu().numpy()[:, 0] > 0)
        return samples._replace(rewards=torch.from_numpy(rewards).to(samples.rewards)[:, None])
