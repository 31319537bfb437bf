"""How time and memory of playing a batch with Q grow with its length, size, rollouts and vocabulary.

python -m benchmarks.scaling [--out benchmarks/scaling.png]

Every point is measured in a process of its own. Ends with the largest case, whose memory must stay below 2 GB.
"""

import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from benchmarks.timing import milliseconds
from formula_env.experiment.drawing import BLUE, GREY, ORANGE, legend_below, set_title
from formula_env.networks import LSTMGenerator
from formula_env.networks.discriminators import MLPDiscriminator
from formula_env.rewards import DiscriminatorReward
from formula_env.rollouts import play
from formula_env.vocabulary import Vocabulary
from tests.oracles import batched_q

CPU = torch.device("cpu")
MEMORY_LIMIT_MB = 2_000


@dataclass(frozen=True)
class Case:
    length: int = 16
    batch: int = 64
    rollouts: int = 16
    vocabulary: int = 2
    hidden_dim: int = 64


LARGEST = Case(length=64, batch=64, rollouts=64, hidden_dim=256)
SWEEPS: dict[str, tuple[str, tuple[int, ...]]] = {
    "length": ("symbols of a formula, n", (4, 8, 16, 32, 64)),
    "batch": ("formulae in a batch", (16, 64, 256, 1024)),
    "rollouts": ("rollouts of a prefix", (4, 16, 64, 256)),
    "vocabulary": ("symbols to choose from", (2, 4, 16, 64, 256)),
}
SHARED, UNSHARED = "shared prefixes", "batched, nothing shared"
UNSHARED_LIMIT = 4_000_000
"""Symbols beyond which the plainer way is left out."""


@dataclass(frozen=True)
class Measured:
    milliseconds: float
    megabytes: float
    """Peak memory of the whole process, MB."""


@dataclass(frozen=True)
class Options:
    out: Path = Path("benchmarks/scaling.png")
    """File of the figure."""


def work_of(case: Case, way: str) -> Callable[[], object]:
    """Play a batch with a fresh (nearly uniform) policy, the worst case; or only its Q, nothing shared."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(chr(0x4E00 + i) for i in range(case.vocabulary)))
    generator = LSTMGenerator(vocabulary, hidden_dim=case.hidden_dim)
    reward = DiscriminatorReward(MLPDiscriminator(vocabulary, case.length))
    keys = torch.arange(case.batch)
    first = torch.ones_like(keys)
    tokens = torch.randint(case.vocabulary, (case.batch, case.length))
    if way == UNSHARED:
        return lambda: batched_q(generator, reward.score, vocabulary, tokens, case.rollouts)
    return lambda: play(generator, reward.score, vocabulary, case.length, first, keys, case.rollouts)


def measure(case: Case, way: str, seconds: float = 1.0) -> Measured:
    """In a new process, whose peak is this case's alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_here, (case, way, seconds))


def _measure_here(case: Case, way: str, seconds: float) -> Measured:
    torch.set_num_threads(1)
    took = milliseconds(work_of(case, way), CPU, seconds)
    return Measured(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024)


def symbols(case: Case) -> int:
    return case.batch * case.rollouts * case.length * (case.length - 1)


def main(options: Options) -> None:
    console = Console(stderr=True)
    points = [
        (name, value, way, replace(Case(), **{name: value}))
        for name, (_, values) in SWEEPS.items()
        for value in values
        for way in (SHARED, UNSHARED)
    ]
    points = [point for point in points if point[2] == SHARED or symbols(point[3]) <= UNSHARED_LIMIT]
    measured = {
        (name, value, way): measure(case, way)
        for name, value, way, case in track(points, description="measuring", console=console)
    }
    draw(measured, options.out)
    largest = measure(LARGEST, SHARED, seconds=0.0)
    print(
        f"{LARGEST}: {largest.milliseconds / 1_000:.1f} s, {largest.megabytes:,.0f} MB at the peak; {options.out}"
    )
    assert largest.megabytes < MEMORY_LIMIT_MB, f"more than {MEMORY_LIMIT_MB} MB"


def draw(measured: dict[tuple[str, int, str], Measured], path: Path) -> None:
    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(2, len(SWEEPS), sharey="row", sharex="col")
    for column, (name, (label, values)) in enumerate(SWEEPS.items()):
        for way, style, colour in ((SHARED, "o-", BLUE), (UNSHARED, "s--", ORANGE)):
            known = [value for value in values if (name, value, way) in measured]
            results = [measured[name, value, way] for value in known]
            axes[0, column].plot(known, [r.milliseconds for r in results], style, color=colour, label=way)
            axes[1, column].plot(known, [r.megabytes for r in results], style, color=colour, label=way)
        _finish(axes[0, column], axes[1, column], label, values, getattr(Case(), name))
    axes[1, 0].set_ylim(bottom=0)  # of the whole row, when all of it is drawn
    axes[0, 0].set_ylabel("milliseconds")
    axes[1, 0].set_ylabel("MB of the process, at its peak")
    legend_below(figure)
    case = Case()
    set_title(
        figure,
        f"Q of every prefix of a batch, fresh LSTM-{case.hidden_dim}, discriminator MLP 2x400, one thread; "
        f"where not on the axis: n = {case.length}, batch {case.batch}, {case.rollouts} rollouts, "
        f"{case.vocabulary} symbols",
    )
    figure.savefig(path, dpi=110)


def _finish(upper: Axes, lower: Axes, label: str, values: tuple[int, ...], usual: int) -> None:
    upper.set_yscale("log")
    lower.set_xlabel(label)
    for ax in (upper, lower):
        ax.set_xscale("log", base=2)
        ax.set_xticks(values, [str(value) for value in values])
        ax.axvline(usual, color=GREY, ls=":", lw=1, zorder=0, label="what the other columns have")
        ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(tyro.cli(Options))
