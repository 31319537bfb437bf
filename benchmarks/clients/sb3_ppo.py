"""Stable-Baselines3 PPO as its users call it: no callback, its own defaults but for γ = 1."""

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.clients.evaluation import evaluate
from benchmarks.clients.learning import TOTAL, MakeEnv, environment, main


def train(
    seed: int,
    env_kwargs: dict[str, Any],
    make_env: MakeEnv | None = None,
    total: int = TOTAL,
    num_envs: int = 1,
    **ppo_options: Any,
) -> dict[str, float]:
    """Train for `total` symbols; metrics of the policy at the end. Other arguments are PPO's."""
    env = make_vec_env(make_env or environment(env_kwargs), n_envs=num_envs, seed=seed)
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", **{"gamma": 1.0} | ppo_options)
    model.learn(total)
    return evaluate(lambda obs: model.policy.get_distribution(obs).distribution.logits, env_kwargs)


if __name__ == "__main__":
    main(train)
