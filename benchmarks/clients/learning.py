"""Environment, evaluation and command line that the learning scripts share."""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from benchmarks.clients.evaluation import Logits, ObservingPolicy, evaluate
from formula_env.rewards import RewardModel
from formula_env.sampling import log_prob
from formula_env.tasks.base import SequenceTask

TOTAL = 400_000
"""Symbols written while learning."""

SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "falling learning rate": {"falls": True},
    "constant learning rate": {"falls": False},
    "exact reward": {},
    "checker": {"falls": True},
    "checker, soft": {"falls": True},
}
"""As the client's users have it, another schedule, a reward without error, and the checker: what each costs."""

REWARD_MODELS = {"exact reward": "constant", "checker": "exact", "checker, soft": "soft"}
"""Where it isn't the discriminator."""

MakeEnv = Callable[[], gym.Env[Any, Any]]
Watch = Callable[[Logits], None]
"""Called with the policy's logits before it learns."""

Metrics = dict[str, float]


@dataclass(frozen=True)
class Environment:
    """An environment as `gymnasium.make` is asked for it; calling it makes one."""

    env_id: str = "formula_env:Formula/BinarySum-v0"
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> gym.Env[Any, Any]:
        return gym.make(self.env_id, **self.options)


class DensityRatio(RewardModel):
    """The reward log p(x) - log π(x), exactly, within ±clip nats: what a self-training discriminator estimates.

    p is uniform over the correct formulae, and π is the policy of the moment, known once `watch` has been called.
    """

    def __init__(self, task: SequenceTask, clip: float = 5.0) -> None:
        self.task, self.clip = task, clip
        count = task.count()
        assert count is not None
        self.log_p = -math.log(count)

    def watch(self, logits: Logits) -> None:
        self.policy = ObservingPolicy(self.task, logits)

    def score(self, tokens: Tensor) -> Tensor:
        ratio = self.log_p - log_prob(self.policy, self.task.vocabulary, tokens)
        is_correct = torch.from_numpy(self.task.is_correct(tokens.numpy()))
        return torch.where(is_correct, ratio, -self.clip).clamp(-self.clip, self.clip)


def with_exact_reward(
    learn: Callable[..., Logits], make_env: MakeEnv, seed: int, total: int, **options: Any
) -> Logits:
    """`learn`, paid by `DensityRatio` of its own policy instead of a discriminator's estimate of it."""
    reward = DensityRatio(make_env().get_wrapper_attr("task"))

    def make_paid_env() -> gym.Env[Any, Any]:
        env = make_env()
        env.get_wrapper_attr("set_reward_model")(reward)
        return env

    return learn(make_paid_env, seed, total, watch=reward.watch, **options)


def trainer(learn: Callable[..., Logits]) -> Callable[..., Metrics]:
    """`train(seed, env_kwargs, make_env=None, total=TOTAL, **client_options)` of a client's `learn`.

    It trains for `total` symbols and returns the metrics of the policy at the end. `make_env` replaces
    `gymnasium.make`, for a reward model of one's own in every environment.
    """

    def train(
        seed: int, env_kwargs: dict[str, Any], make_env: MakeEnv | None = None, total: int = TOTAL, **options: Any
    ) -> Metrics:
        return evaluate(learn(make_env or Environment(options=env_kwargs), seed, total, **options), env_kwargs)

    return train


def main(client: str, learn: Callable[..., Logits]) -> None:
    """Print one line of JSON for each seed, and append it to a record where one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--env", type=json.loads, default={}, help="environment options as JSON")
    parser.add_argument("--client", type=json.loads, default={}, help="the client's own options as JSON")
    parser.add_argument("--total", type=int, default=TOTAL, help="symbols written while learning")
    parser.add_argument("--setting", choices=SETTINGS, default="usual", help="what is other than usual")
    parser.add_argument("--record", type=Path, help="file that the lines are appended to")
    args = parser.parse_args()
    reward_model = REWARD_MODELS.get(args.setting, "discriminator")
    env_kwargs = {"length": 8, "reward_model": reward_model} | args.env
    if args.setting == "exact reward":
        learn = partial(with_exact_reward, learn)
    options = SETTINGS[args.setting] | args.client
    for seed in args.seeds:
        metrics = trainer(learn)(seed, env_kwargs, total=args.total, **options)
        line = json.dumps({"client": client, "setting": args.setting, "seed": seed} | metrics)
        print(line, flush=True)
        if args.record:
            with args.record.open("a") as record:
                record.write(line + "\n")
