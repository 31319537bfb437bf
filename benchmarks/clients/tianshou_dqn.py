"""Tianshou DQN with the settings of its own example (examples/discrete/discrete_dqn.py), but for γ = 1."""

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import DQN  # pyright: ignore[reportPrivateImportUsage]
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

from benchmarks.clients.learning import MakeEnv

NUM_ENVS = 10


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    env, envs = make_env(), DummyVectorEnv([make_env] * NUM_ENVS)
    np.random.seed(seed)
    torch.manual_seed(seed)
    envs.seed(seed)
    # Not by way of SpaceInfo, which knows no MultiDiscrete.
    net = Net(
        state_shape=env.observation_space.shape,  # pyright: ignore[reportArgumentType]
        action_shape=gym.spaces.flatdim(env.action_space),
        hidden_sizes=[128, 128, 128],
    )
    policy = DiscreteQLearningPolicy(
        model=net, action_space=env.action_space, eps_training=0.1, eps_inference=0.05
    )
    algorithm = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=1.0,
        n_step_return_horizon=3,
        target_update_freq=320,
    )
    algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector[CollectStats](
                algorithm, envs, VectorReplayBuffer(20_000, NUM_ENVS), exploration_noise=True
            ),
            max_epochs=1,
            epoch_num_steps=total,
            collection_step_num_env_steps=NUM_ENVS,
            update_step_num_gradient_steps_per_sample=1 / NUM_ENVS,
            batch_size=64,
            show_progress=False,
            verbose=False,
        )
    )
