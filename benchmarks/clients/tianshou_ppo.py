"""Tianshou PPO with the settings of its own example (test/discrete/test_ppo_discrete.py), but for γ = 1."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import PPO  # pyright: ignore[reportPrivateImportUsage]
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, LRSchedulerFactoryLinear
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import ActorCritic, Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from benchmarks.clients.evaluation import Logits
from benchmarks.clients.learning import MakeEnv, Watch, main, trainer

NUM_ENVS = 20

COLLECTED = 2_000
"""Symbols written between two updates."""

PPO_OPTIONS: dict[str, Any] = {
    "gamma": 1.0,
    "gae_lambda": 0.95,
    "eps_clip": 0.2,
    "vf_coef": 0.5,
    "ent_coef": 0.0,
    "max_grad_norm": 0.5,
    "advantage_normalization": False,
}


def learn(
    make_env: MakeEnv,
    seed: int,
    total: int,
    *,
    falls: bool = False,
    watch: Watch | None = None,
    **ppo_options: Any,
) -> Logits:
    """The policy's logits after `total` symbols; other arguments are PPO's. The learning rate may fall to 0."""
    env, envs = make_env(), DummyVectorEnv([make_env] * NUM_ENVS)
    np.random.seed(seed)
    torch.manual_seed(seed)
    envs.seed(seed)

    # Not by way of SpaceInfo, which knows no MultiDiscrete.
    net = Net(state_shape=env.observation_space.shape, hidden_sizes=[64, 64])  # pyright: ignore[reportArgumentType]
    actor = DiscreteActor(preprocess_net=net, action_shape=gym.spaces.flatdim(env.action_space))
    critic = DiscreteCritic(preprocess_net=net)
    for module in ActorCritic(actor, critic).modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.orthogonal_(module.weight)
            torch.nn.init.zeros_(module.bias)
    categorical = torch.distributions.Categorical
    policy = DiscreteActorPolicy(actor=actor, dist_fn=categorical, action_space=env.action_space)
    adam = AdamOptimizerFactory(lr=3e-4)
    if falls:
        adam.with_lr_scheduler_factory(LRSchedulerFactoryLinear(1, total, min(COLLECTED, total)))
    algorithm = PPO(policy=policy, critic=critic, optim=adam, **PPO_OPTIONS | ppo_options)

    def logits(observations: torch.Tensor) -> torch.Tensor:
        return actor(observations)[0].log()

    if watch:
        watch(logits)
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=Collector[CollectStats](algorithm, envs, VectorReplayBuffer(20_000, NUM_ENVS)),
            max_epochs=1,
            epoch_num_steps=total,
            collection_step_num_env_steps=min(COLLECTED, total),
            update_step_num_repetitions=10,
            batch_size=64,
            show_progress=False,
            verbose=False,
        )
    )
    return logits


train = trainer(learn)

if __name__ == "__main__":
    main("Tianshou PPO", learn)
