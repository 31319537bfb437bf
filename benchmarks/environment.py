"""How many symbols a second environments write, with the exact checker on one core: our vector environment by
itself, and what Stable-Baselines3 gets of it, beside its own `DummyVecEnv` of single environments.

python -m benchmarks.environment [--num-envs 1 64 4096]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.timing import milliseconds
from formula_env import FormulaEnv, FormulaVectorEnv
from formula_env.agents.sb3 import FormulaVecEnv
from formula_env.tasks import TASKS, SequenceTask

EPISODES = 4
"""In each run, of which the fastest counts."""

ADAPTED_ENVS = 64
"""Environments under Stable-Baselines3."""


@dataclass(frozen=True)
class Options:
    num_envs: tuple[int, ...] = (1, 64, 4096)
    """Environments side by side."""


def main(options: Options) -> None:
    torch.set_num_threads(1)
    table = Table(
        title="symbols written a second, fastest run, one thread",
        caption="Exact checker, terminal rewards, no rollouts; the choice of random symbols not counted.",
    )
    table.add_column("task")
    for num_envs in options.num_envs:
        table.add_column(f"{num_envs:,} envs", justify="right")
    for name in TASKS:
        table.add_row(name, *(f"{symbols_per_second(name, num_envs):,.0f}" for num_envs in options.num_envs))
    console = Console(width=120)
    console.print(table)

    table = Table(title=f"the same under Stable-Baselines3, {ADAPTED_ENVS} environments")
    for column in ("task", "DummyVecEnv", "FormulaVecEnv", "times faster"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for name in TASKS:
        theirs, ours = (adapted_per_second(env) for env in (dummy(name), adapter(name)))
        table.add_row(name, f"{theirs:,.0f}", f"{ours:,.0f}", f"{ours / theirs:.1f}")
    console.print(table)


def symbols_per_second(task: str, num_envs: int) -> float:
    env = FormulaVectorEnv(task, num_envs)
    env.reset(seed=0)
    length = env.task.max_length
    # In NEXT_STEP mode an episode takes one step more than it has symbols.
    return rate(env.step, env.task, EPISODES * (length + 1), num_envs) * length / (length + 1)


def adapted_per_second(env: Any) -> float:
    env.seed(0)
    env.reset()
    task = env.get_attr("task")[0]
    return rate(env.step, task, EPISODES * task.max_length, ADAPTED_ENVS)


def dummy(task: str) -> DummyVecEnv:
    return DummyVecEnv([lambda: FormulaEnv(task) for _ in range(ADAPTED_ENVS)])


def adapter(task: str) -> FormulaVecEnv:
    return FormulaVecEnv(task, ADAPTED_ENVS)


def rate(step: Callable[[Any], Any], task: SequenceTask, steps: int, num_envs: int) -> float:
    """Steps a second, all environments together."""
    vocab_size = task.vocabulary.size
    actions = np.random.default_rng(0).integers(vocab_size, size=(steps, num_envs))

    def run() -> None:
        for row in actions:
            step(row)

    return steps * num_envs / milliseconds(run, torch.device("cpu")) * 1_000


if __name__ == "__main__":
    main(tyro.cli(Options))
