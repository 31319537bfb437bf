"""Cost of a round of each algorithm, as a multiple of SeqGAN's: `python -m benchmarks.rounds`.

Every algorithm that plays against a discriminator has one task, one batch and one discriminator step a round; what
else it does is its own. Rounds of all are timed by turns, so that what disturbs the machine disturbs all.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from formula_env.algorithm import Algorithm
from formula_env.experiment.registry import algorithm_class
from formula_env.tasks import SequenceTask, make_task

ROUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "seqgan, 16 rollouts": ("seqgan", {"num_rollouts": 16}),
    "seqgan": ("seqgan", {}),
    "eb-gfn": ("eb-gfn", {}),
    "leakgan, 16 rollouts": ("leakgan", {"num_rollouts": 16}),
    "rankgan, 16 rollouts": ("rankgan", {}),
    "maligan": ("maligan", {}),
    "bgan": ("bgan", {}),
    "cot": ("cot", {}),
    "relgan": ("relgan", {}),
    "relgan, LSTM": ("relgan", {"generator": "lstm"}),
    "wgan-gp": ("wgan-gp", {}),
    "gumbel-softmax-gan": ("gumbel-softmax-gan", {}),
}
"""Algorithms of the table, with settings other than the defaults; all are compared with the first."""


@dataclass(frozen=True)
class Options:
    length: int = 8
    """Length of the binary sums."""
    batch_size: int = 64
    """Number of formulae in a batch."""
    repeats: int = 30
    """Number of rounds of each; the fastest counts."""


def main(options: Options) -> None:
    torch.set_num_threads(1)
    task = make_task("binary-sum", length=options.length)
    algorithms = {label: build(name, settings, task, options) for label, (name, settings) in ROUNDS.items()}
    fastest = dict.fromkeys(algorithms, float("inf"))
    rng = np.random.default_rng(0)
    for repeat in range(options.repeats):
        for label, algorithm in algorithms.items():
            real = task.sample(algorithm.real_batch_size, rng)
            began = time.perf_counter()
            algorithm.update(real, repeat / options.repeats)
            fastest[label] = min(fastest[label], time.perf_counter() - began)
    table = Table(title=f"a round, binary-sum {options.length}, batch {options.batch_size}, one thread, fastest")
    table.add_column("algorithm")
    table.add_column("milliseconds", justify="right")
    table.add_column("times SeqGAN's", justify="right")
    first = next(iter(fastest.values()))
    for label, seconds in fastest.items():
        table.add_row(label, f"{1000 * seconds:.1f}", f"{seconds / first:.2f}")
    Console(width=100).print(table)


def build(name: str, settings: dict[str, Any], task: SequenceTask, options: Options) -> Algorithm:
    """The algorithm with one step of its discriminator, if it has steps, to one of its generator."""
    cls = algorithm_class(name)
    config = replace(cls.Config(), batch_size=options.batch_size, **settings)
    config = replace(config, d_steps=1) if hasattr(config, "d_steps") else config
    return cls(task, config, 0, torch.device("cpu"))


if __name__ == "__main__":
    main(tyro.cli(Options))
