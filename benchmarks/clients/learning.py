"""What the learning scripts share: their environment and their command line."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym

ENV_ID = "formula_env:Formula/BinarySum-v0"

TOTAL = 400_000
"""Symbols written while learning."""

MakeEnv = Callable[[], gym.Env[Any, Any]]


def environment(env_kwargs: dict[str, Any]) -> MakeEnv:
    """Makes environments with these options."""
    return lambda: gym.make(ENV_ID, **env_kwargs)


def main(train: Callable[..., dict[str, float]]) -> None:
    """One line of JSON for each seed."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--env", type=json.loads, default={}, help="environment options as JSON")
    parser.add_argument("--client", type=json.loads, default={}, help="the client's own options as JSON")
    parser.add_argument("--total", type=int, default=TOTAL, help="symbols written while learning")
    args = parser.parse_args()
    env_kwargs = {"length": 8, "reward_model": "discriminator"} | args.env
    for seed in args.seeds:
        start = time.perf_counter()
        found = train(seed, env_kwargs, total=args.total, **args.client)
        print(json.dumps({"seed": seed} | found | {"seconds": round(time.perf_counter() - start)}), flush=True)
