"""RLlib DQN with its own default modules, by the environment's id, in one worker process; γ = 1."""

import ray
from ray.rllib.algorithms.dqn import DQNConfig

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    config = (
        DQNConfig()
        .environment(environment.env_id, env_config=environment.options)
        .env_runners(num_env_runners=1, rollout_fragment_length="auto")
        .training(gamma=1.0, num_steps_sampled_before_learning_starts=100, train_batch_size=32)
        .debugging(seed=seed)
    )
    algorithm = config.build_algo()
    try:
        written = 0
        while written < total:
            written = algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"]
    finally:
        algorithm.stop()
