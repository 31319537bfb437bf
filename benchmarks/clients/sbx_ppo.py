"""PPO of SBX (Stable-Baselines3 in JAX) with its own defaults but for γ = 1."""

from sbx import PPO
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.clients.learning import MakeEnv


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    env = make_vec_env(make_env, n_envs=2, seed=seed)
    PPO("MlpPolicy", env, n_steps=128, seed=seed, gamma=1.0).learn(total)
