"""Stable-Baselines3 PPO as its users call it: no callback, its own defaults but for γ = 1."""

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from torch import Tensor

from benchmarks.clients.evaluation import Logits
from benchmarks.clients.learning import MakeEnv, Watch, main, trainer

LEARNING_RATE = 3e-4


def learn(
    make_env: MakeEnv,
    seed: int,
    total: int,
    *,
    num_envs: int = 1,
    falls: bool = False,
    watch: Watch | None = None,
    **ppo_options: Any,
) -> Logits:
    """The policy's logits after `total` symbols; other arguments are PPO's. The learning rate may fall to 0."""
    env = make_vec_env(make_env, n_envs=num_envs, seed=seed)
    rate = LinearSchedule(LEARNING_RATE, 0.0, 1.0) if falls else LEARNING_RATE
    options: dict[str, Any] = {"gamma": 1.0, "learning_rate": rate} | ppo_options
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", **options)
    policy: Any = model.policy

    def logits(observations: Tensor) -> Tensor:
        return policy.get_distribution(observations).distribution.logits

    if watch:
        watch(logits)
    model.learn(total)
    return logits


train = trainer(learn)

if __name__ == "__main__":
    main("SB3 PPO", learn)
