"""How many symbols a second the native vector environment writes, with the exact checker on one core.

python -m benchmarks.environment [--num-envs 1 64 4096]
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import milliseconds
from formula_env import FormulaVectorEnv
from formula_env.tasks import TASKS

EPISODES = 4
"""In each run, of which the fastest counts."""


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
    Console(width=120).print(table)


def symbols_per_second(task: str, num_envs: int) -> float:
    env = FormulaVectorEnv(task, num_envs, reward_mode="terminal", num_rollouts=0)
    env.reset(seed=0)
    length, vocab_size = env.task.max_length, env.task.vocabulary.size
    # In NEXT_STEP mode an episode takes one step more than it has symbols.
    actions = np.random.default_rng(0).integers(vocab_size, size=(EPISODES * (length + 1), num_envs))

    def episodes() -> None:
        for row in actions:
            env.step(row)

    return EPISODES * length * num_envs / milliseconds(episodes, torch.device("cpu")) * 1_000


if __name__ == "__main__":
    main(tyro.cli(Options))
