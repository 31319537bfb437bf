"""RLlib PPO with its own default modules, by the environment's id, in one worker process; γ = 1."""

import ray
from ray.rllib.algorithms.ppo import PPOConfig

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    config = (
        PPOConfig()
        .environment(environment.env_id, env_config=environment.options)
        .env_runners(num_env_runners=1, rollout_fragment_length="auto")
        .training(gamma=1.0, train_batch_size_per_learner=256, minibatch_size=64, num_epochs=2)
        .debugging(seed=seed)
    )
    algorithm = config.build_algo()
    try:
        written = 0
        while written < total:
            written = algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"]
    finally:
        algorithm.stop()
