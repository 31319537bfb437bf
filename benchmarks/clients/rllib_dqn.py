"""RLlib DQN with its own default modules, by the environment's id, in one worker process; γ = 1."""

from ray.rllib.algorithms.dqn import DQNConfig

from benchmarks.clients.learning import Environment
from benchmarks.clients.rllib import train


def learn(environment: Environment, seed: int, total: int) -> None:
    config = DQNConfig().training(gamma=1.0, num_steps_sampled_before_learning_starts=100, train_batch_size=32)
    train(config, environment, seed, total)
