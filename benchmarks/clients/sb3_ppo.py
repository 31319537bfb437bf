"""Stable-Baselines3 PPO as its users call it: no callback, its own defaults but for γ = 1."""

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.clients.evaluation import Logits
from benchmarks.clients.learning import MakeEnv, main, trainer


def learn(make_env: MakeEnv, seed: int, total: int, num_envs: int = 1, **ppo_options: Any) -> Logits:
    """The policy's logits after `total` symbols; other arguments are PPO's."""
    env = make_vec_env(make_env, n_envs=num_envs, seed=seed)
    options: dict[str, Any] = {"gamma": 1.0} | ppo_options
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", **options)
    model.learn(total)
    policy: Any = model.policy
    return lambda obs: policy.get_distribution(obs).distribution.logits


train = trainer(learn)

if __name__ == "__main__":
    main(train)
