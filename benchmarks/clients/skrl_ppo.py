"""skrl PPO on one environment, in the manner of its Gymnasium examples, but for γ = 1."""

from typing import Any

import gymnasium as gym
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.spaces.torch import compute_space_size
from torch import nn

from benchmarks.clients.learning import MakeEnv

ROLLOUT = 128


class Policy(CategoricalMixin, Model):
    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self)
        self.net = mlp(self.observation_space, self.num_actions)

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"].float()), {}


class Value(DeterministicMixin, Model):
    def __init__(self, num_outputs: int = 1, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = mlp(self.observation_space, num_outputs)

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"].float()), {}


def mlp(observation_space: gym.Space[Any], num_outputs: int) -> nn.Module:
    num_inputs = compute_space_size(observation_space, occupied_size=True)  # not the one-hot's of MultiDiscrete
    hidden = 64
    return nn.Sequential(
        nn.Linear(num_inputs, hidden), nn.ELU(),
        nn.Linear(hidden, hidden), nn.ELU(),
        nn.Linear(hidden, num_outputs),
    )  # fmt: skip


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    set_seed(seed)
    env = wrap_env(make_env())
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    memory = RandomMemory(memory_size=ROLLOUT, num_envs=env.num_envs, device=env.device)
    cfg = PPO_CFG(rollouts=ROLLOUT, discount_factor=1.0)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    agent = PPO(models={"policy": Policy(**spaces), "value": Value(**spaces)}, memory=memory, cfg=cfg, **spaces)
    settings = {"timesteps": total, "headless": True, "disable_progressbar": True}
    SequentialTrainer(cfg=settings, env=env, agents=agent).train()
