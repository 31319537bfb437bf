"""ARS of sb3-contrib with its own defaults but for γ = 1."""

from sb3_contrib import ARS
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.clients.learning import MakeEnv


def learn(make_env: MakeEnv, seed: int, total: int) -> None:
    env = make_vec_env(make_env, n_envs=2, seed=seed)
    ARS("MlpPolicy", env, seed=seed, device="cpu").learn(total)
