"""Coverage by K = 10^2 ... 10^10 draws of a generator whose formulae can't be listed, timed on one core.

The mean over uniformly drawn correct formulae of 1 - (1 - p)^K, with its 95 % interval, beside that of an ideal
generator. The generator is an LSTM after a little maximum likelihood, which is not timed. The time covers
drawing the formulae, their probabilities and the curve.

python -m benchmarks.coverage [--length 32] [--formulae 20000] [--updates 200]
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from formula_env import make_task
from formula_env.adversarial import mle_step
from formula_env.evaluators import CoveragePoint, coverage_curve
from formula_env.networks import LSTMGenerator
from formula_env.optimizers import adam
from formula_env.sampling import log_prob
from formula_env.tasks.base import SequenceTask

DRAWS = [10**exponent for exponent in range(2, 11)]
BATCH_SIZE = 128
LEARNING_RATE = 1e-2
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class Options:
    length: int = 32
    """Symbols of a formula of binary-sum."""
    formulae: int = 20_000
    """Number of correct formulae that the coverage is estimated from."""
    updates: int = 200
    """Number of updates of maximum likelihood before."""
    seed: int = 0
    """Random seed of the generator, its data and the drawn formulae."""


def trained(task: SequenceTask, options: Options) -> LSTMGenerator:
    """A generator after some updates of maximum likelihood on fresh correct formulae."""
    torch.manual_seed(options.seed)
    generator, rng = LSTMGenerator(task.vocabulary), np.random.default_rng(options.seed)
    optimizer = adam(generator.parameters(), LEARNING_RATE)
    for _ in range(options.updates):
        real = torch.from_numpy(task.sample(BATCH_SIZE, rng))
        mle_step(generator, optimizer, real, task.vocabulary.pad, MAX_GRAD_NORM)
    return generator


def curve(task: SequenceTask, generator: LSTMGenerator, options: Options) -> list[CoveragePoint]:
    """The coverage by `DRAWS`, estimated from formulae of a seed that training has not used."""
    formulae = task.sample(options.formulae, np.random.default_rng(options.seed + 1))
    log_probs = log_prob(generator, task.vocabulary, torch.from_numpy(formulae)).numpy()
    return coverage_curve(log_probs, DRAWS, task.count())


def main(options: Options) -> None:
    torch.set_num_threads(1)
    task = make_task("binary-sum", length=options.length)
    generator = trained(task, options)
    start = time.perf_counter()
    points = curve(task, generator, options)
    seconds = time.perf_counter() - start
    title = f"binary-sum {options.length}, {task.count():,} correct formulae, {options.formulae:,} drawn"
    table = Table("draws", "coverage", "± 95 %", "ideal", "share of the ideal", title=title)
    for point in points:
        numbers = (point.coverage, 1.96 * point.error, point.ideal, point.share)
        table.add_row(f"{point.draws:.0e}", *(f"{number:.4g}" for number in numbers))
    Console(width=120).print(table)
    print(f"{seconds:.1f} s on one core")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
