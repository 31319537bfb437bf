"""AgileRL PPO by its own loop, on its own vector environment in this process; γ = 1."""

from agilerl.algorithms import PPO
from agilerl.training.train_on_policy import train_on_policy
from agilerl.utils.utils import make_vect_envs

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int) -> None:
    env = make_vect_envs(environment.env_id, num_envs=2, should_async_vector=False, **environment.options)
    pop = PPO.population(
        size=1,
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        num_envs=2,
        learn_step=128,
        gamma=1.0,
    )
    train_on_policy(
        env, environment.env_id, "PPO", pop, max_steps=total, evo_steps=total, eval_steps=20, verbose=False
    )
