"""DQN of SBX (Stable-Baselines3 in JAX) with its own defaults but for γ = 1."""

from sbx import DQN
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.clients.learning import MakeEnv


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    env = make_vec_env(make_env, n_envs=1, seed=seed)
    DQN("MlpPolicy", env, seed=seed, gamma=1.0, learning_starts=100).learn(total)
