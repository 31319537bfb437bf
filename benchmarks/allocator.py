"""Speed with freed memory kept, and with an LSTM's cell in tiles: `python -m benchmarks.allocator`.

Processes take turns: one with neither, one with the memory kept, one with both. Times are the fastest of some
batches of a SeqGAN that is nearly uniform, the worst case for sharing; page faults are those of one batch.
"""

import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

import tyro
from rich.console import Console
from rich.table import Table

KINDS = {"neither": (False, False), "memory kept": (True, False), "kept, and tiles": (True, True)}
"""Whether freed memory is kept, and whether cells are done in tiles."""


@dataclass(frozen=True)
class Options:
    lengths: tuple[int, ...] = (8, 16, 32)
    """Lengths of the binary sums."""
    turns: int = 5
    """Number of processes of each kind."""
    batches: int = 6
    """Number of batches in a process; the fastest counts."""


def one(length: int, kind: str, batches: int) -> tuple[float, float, float]:
    """Milliseconds of `play` and of `write`, and page faults of a `play`."""
    import torch

    from benchmarks.rollouts import make_seqgan
    from formula_env.allocator import keep_freed_memory
    from formula_env.networks import generators

    keeps, tiles = KINDS[kind]
    if keeps:
        keep_freed_memory()
    if not tiles:
        generators.TILE = sys.maxsize
    torch.set_num_threads(1)
    seqgan = make_seqgan(length, is_trained=False, hidden_dim=64, device=torch.device("cpu"))
    keys = torch.arange(4096)
    play, write, faults = [], [], []
    for _ in range(batches):
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        seqgan.env.play(seqgan.generator)
        play.append(time.perf_counter() - began)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        began = time.perf_counter()
        seqgan.sampler.write(keys)
        write.append(time.perf_counter() - began)
    return 1000 * min(play), 1000 * min(write), min(faults)


def main(options: Options) -> None:
    table = Table(title="median over processes that take turns, one thread")
    for name in ("n", "", "play, ms", "times faster", "write, ms", "times faster", "page faults of play"):
        table.add_column(name, justify="right")
    for length in options.lengths:
        found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
        for _ in range(options.turns):
            for kind, values in found.items():
                settings = (f"{length}", kind, f"{options.batches}")
                command = [sys.executable, "-m", "benchmarks.allocator", "--one", *settings]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                values.append([float(word) for word in done.stdout.split()])
        medians = {
            kind: [median(column) for column in zip(*values, strict=True)] for kind, values in found.items()
        }
        first = medians["neither"]
        for kind, (play, write, faults) in medians.items():
            cells = f"{play:.1f}", f"{first[0] / play:.2f}", f"{write:.1f}", f"{first[1] / write:.2f}"
            table.add_row(f"{length}", kind, *cells, f"{faults:,.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    if "--one" in sys.argv:
        print(*one(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    else:
        main(tyro.cli(Options))
