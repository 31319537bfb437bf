"""AgileRL DQN by its own loop, on its own vector environment in this process; γ = 1."""

from agilerl.algorithms import DQN
from agilerl.components.replay_buffer import ReplayBuffer
from agilerl.training.train_off_policy import train_off_policy
from agilerl.utils.utils import make_vect_envs

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    env = make_vect_envs(environment.env_id, num_envs=2, should_async_vector=False, **environment.options)
    pop = DQN.population(
        size=1, observation_space=env.single_observation_space, action_space=env.single_action_space, gamma=1.0
    )
    memory = ReplayBuffer(max_size=10_000)
    train_off_policy(
        env, environment.env_id, "DQN", pop, memory, max_steps=total, evo_steps=total, eval_steps=20, verbose=False
    )
