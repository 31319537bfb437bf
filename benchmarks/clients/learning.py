"""What the learning scripts share: their environment, their evaluation and their command line."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from benchmarks.clients.evaluation import Logits, evaluate

TOTAL = 400_000
"""Symbols written while learning."""

MakeEnv = Callable[[], gym.Env[Any, Any]]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Environment:
    """An environment as `gymnasium.make` is asked for it; calling it makes one."""

    env_id: str = "formula_env:Formula/BinarySum-v0"
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> gym.Env[Any, Any]:
        return gym.make(self.env_id, **self.options)


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


def main(train: Callable[..., Metrics]) -> None:
    """Print one line of JSON for each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--env", type=json.loads, default={}, help="environment options as JSON")
    parser.add_argument("--client", type=json.loads, default={}, help="the client's own options as JSON")
    parser.add_argument("--total", type=int, default=TOTAL, help="symbols written while learning")
    args = parser.parse_args()
    env_kwargs = {"length": 8, "reward_model": "discriminator"} | args.env
    for seed in args.seeds:
        start = time.perf_counter()
        metrics = train(seed, env_kwargs, total=args.total, **args.client)
        print(json.dumps({"seed": seed} | metrics | {"seconds": round(time.perf_counter() - start)}), flush=True)
