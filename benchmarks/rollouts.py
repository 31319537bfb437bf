"""How long a SeqGAN round takes, beside the plain per-position loop, in one run on one thread.

python -m benchmarks.rollouts [--length 8]
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from agents.seqgan import SeqGAN, SeqGANConfig
from formula_env.evaluators import Evaluator
from formula_env.tasks import make_task
from tests.oracles import plain_loop_q


@dataclass(frozen=True)
class Options:
    length: int = 8
    """Of the binary sum."""
    repeats: int = 30
    """Timings of each part; the median is shown."""


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1_000 * statistics.median(times)


def main(options: Options) -> None:
    torch.set_num_threads(1)
    task = make_task("binary-sum", length=options.length)
    config = SeqGANConfig()
    seqgan = SeqGAN(task, config, seed=0, device=torch.device("cpu"))
    real = task.sample(seqgan.real_per_round, np.random.default_rng(0))
    for _ in range(seqgan.pretrain_rounds):
        seqgan.pretrain(real)
    tokens = task.sample(config.batch_size, np.random.default_rng(1))
    formulae = torch.from_numpy(tokens)
    generator, score = seqgan.rollout_generator, seqgan.env.reward_model.score
    evaluate = Evaluator(task)

    def plain_loop() -> None:
        plain_loop_q(generator, score, task.vocabulary, formulae, config.num_rollouts)

    def judge() -> None:
        evaluate(seqgan.sample(10_000, seed=0), seqgan.log_prob)

    few = max(3, options.repeats // 6)
    plain = milliseconds(plain_loop, few)
    shared = milliseconds(lambda: seqgan.env.q_values(tokens), options.repeats)
    rows = {
        "rewards, plain per-position loop": plain,
        "rewards, shared prefixes": shared,
        "generator step": milliseconds(seqgan.train_generator, options.repeats),
        "round": milliseconds(lambda: seqgan.update(real), options.repeats),
        "10,000 samples drawn and judged": milliseconds(judge, few),
    }
    title = f"binary-sum {options.length}, batch {config.batch_size}, {config.num_rollouts} rollouts, LSTM-64"
    table = Table("", "ms (median)", title=title)
    for name, value in rows.items():
        table.add_row(name, f"{value:.1f}")
    console = Console()
    console.print(table)
    console.print(f"the plain loop takes {plain / shared:.0f} times as long as shared prefixes")


if __name__ == "__main__":
    main(tyro.cli(Options))
