"""State of a Stable-Baselines3 model for a bit-for-bit resume, as tensors and plain values: nothing to unpickle.

(`model.save` writes another format, for other programs; loading that executes what is in it.)
"""

from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
    "_n_calls",
)
REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def model_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Weights, optimiser, counters, where its episodes stand, and its replay buffer, where it has one."""
    episodes = model.ep_info_buffer or ()
    state: dict[str, Any] = {
        "policy": model.policy.state_dict(),
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "returns": torch.from_numpy(np.array([info["r"] for info in episodes], dtype=np.float32)),
        "lengths": [int(info["l"]) for info in episodes],
        "random_actions": model.action_space.np_random.bit_generator.state,
    }
    if hasattr(model.policy, "optimizer"):
        state["optimizer"] = model.policy.optimizer.state_dict()
    if model._last_obs is not None:
        state["last_observations"] = torch.from_numpy(np.array(model._last_obs))
        state["last_starts"] = torch.from_numpy(np.array(model._last_episode_starts))
    if (memory := getattr(model, "_last_lstm_states", None)) is not None:
        state["last_memory"] = [list(memory.pi), list(memory.vf)]
    if (buffer := getattr(model, "replay_buffer", None)) is not None:
        state["replay"] = _replay_state(buffer)
    return state


def load_model_state(model: Any, state: dict[str, Any]) -> None:
    """Take up a state of a model that was made alike."""
    model.policy.load_state_dict(state["policy"])
    for name, value in state["counters"].items():
        setattr(model, name, value)
    episodes = zip(state["returns"].numpy(), state["lengths"], strict=True)
    infos = [{"r": r, "l": length, "t": 0.0} for r, length in episodes]
    model.ep_info_buffer = deque(infos, maxlen=model._stats_window_size)
    model.action_space.np_random.bit_generator.state = state["random_actions"]
    if "optimizer" in state:
        model.policy.optimizer.load_state_dict(state["optimizer"])
    if "last_observations" in state:
        model._last_obs = state["last_observations"].numpy().copy()
        model._last_episode_starts = state["last_starts"].numpy().copy()
    if "last_memory" in state:
        on_device = (tuple(part.to(model.device) for part in parts) for parts in state["last_memory"])
        model._last_lstm_states = type(model._last_lstm_states)(*on_device)
    if "replay" in state:
        _load_replay_state(model.replay_buffer, state["replay"])
    if hasattr(model, "weights"):  # ARS holds its policy's as one vector, too
        model.weights = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach()


def _replay_state(buffer: ReplayBuffer) -> dict[str, Any]:
    held = {name: torch.from_numpy(getattr(buffer, name)[: buffer.size()].copy()) for name in REPLAYED}
    return {"held": held, "position": buffer.pos, "full": buffer.full}


def _load_replay_state(buffer: Any, state: dict[str, Any]) -> None:
    for name, held in state["held"].items():
        getattr(buffer, name)[: len(held)] = held.numpy()
    buffer.pos, buffer.full = state["position"], state["full"]
