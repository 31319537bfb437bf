"""Time and memory that reading a file of formulae takes: sums and products, one a line.

python -m benchmarks.formula_file [--lines 1000000] [--checker equation]
"""

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from formula_env.tasks.formula_file import FormulaFile


@dataclass(frozen=True)
class Options:
    lines: int = 1_000_000
    """Number of lines in the file."""
    checker: str = ""
    """Checker of the lines. Default: none."""
    longest: int = 0
    """Symbols of one more line, a sum of ones. Default: there is none."""


def write_lines(path: Path, n: int) -> None:
    """Write n random formulae such as 12+345*6=2082."""
    a, b, c = np.random.default_rng(0).integers([[1000], [1000], [100]], size=(3, n)).tolist()
    path.write_text("".join(f"{x}+{y}*{z}={x + y * z}\n" for x, y, z in zip(a, b, c, strict=True)))


def long_line(symbols: int) -> str:
    """A line of that many symbols, such as 1+1+1=3, correct or not."""
    return f"{'1+' * symbols}"[: symbols - 2] + "=1"


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.txt"
        write_lines(path, options.lines)
        if options.longest:
            with path.open("a") as file:
                print(long_line(options.longest), file=file)
        before = _peak()
        start, start_cpu = time.perf_counter(), time.process_time()
        task = FormulaFile(path=str(path), checker=options.checker)
        elapsed, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        reading = _peak()
        task.training_set()
    for note in task.notes:
        print(note)
    print(f"{elapsed:.1f} s ({cpu:.1f} s of one core), peak {reading:.2f} GB ({before:.2f} GB before reading)")
    print(f"peak {_peak():.2f} GB with the training lines as one batch, int64")


def _peak() -> float:
    """Greatest memory of this process so far, in GB: Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
