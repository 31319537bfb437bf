"""RLlib PPO with its own default modules, by the environment's id, in one worker process; γ = 1."""

from ray.rllib.algorithms.ppo import PPOConfig

from benchmarks.clients.learning import Environment
from benchmarks.clients.rllib import train


def learn(environment: Environment, seed: int, total: int) -> None:
    config = PPOConfig().training(gamma=1.0, train_batch_size_per_learner=256, minibatch_size=64, num_epochs=2)
    train(config, environment, seed, total)
