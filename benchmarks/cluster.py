"""A study of many runs on a cluster, simulated: how long it takes, what it costs, and what gives way first.

`python -m benchmarks.cluster` prints the table that `docs/command-line.md` has in round numbers ("Many machines").
The runs' durations are drawn from the recorded ones of `runs/studies`; runs go to the first free core; machines
are lost at random and come back, and their runs continue elsewhere from the last checkpoint. The one cost that is
measured here is the driver's, of asking Ray whether a run is over.
"""

import argparse
import heapq
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

ROOT = Path(__file__).parents[1]

HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """Machines, and what a run costs besides its own seconds."""

    machines: int
    cores: int = 16
    """Cores of each, one run at a time on each."""
    start_seconds: float = 5.0
    """Seconds from a run's task to its first round: a process, and torch."""
    mean_hours_to_loss: float = 0.0
    """Mean hours until a machine is lost; 0: never."""
    repair_seconds: float = 600.0
    """Seconds until a machine that was lost is back."""
    evaluations: int = 10
    """Evaluations of a run, evenly spaced; a checkpoint is written at each."""
    checkpoint_bytes: float = 7.4e6
    """Size of a checkpoint: a transformer's with its optimiser; an LSTM's is 0.4 to 2.5 MB."""
    poll_seconds: float = 0.3
    """Seconds that the driver sleeps from one look at all runs to the next."""


@dataclass(frozen=True)
class Outcome:
    """Time and cost of a simulated study."""

    hours: float
    """From the first task to the last result."""
    lost: float
    """Core hours that were done again because a machine was lost."""
    losses: int
    """Number of times that a run went to another machine."""
    utilisation: float
    """Share of all core hours that went into runs."""
    peak_bytes_per_second: float
    """Rate at which checkpoints are written in the busiest minute."""


@dataclass(frozen=True, order=True)
class Waiting:
    """A run, or what is left of one, that waits for a core."""

    since: float
    """Moment from which it can go on."""
    left: float
    """Seconds of work that are left."""
    every: float
    """Seconds of work from one checkpoint to the next."""


def simulate(durations: Sequence[float], cluster: Cluster, seed: int) -> Outcome:
    """Each run, in the order given, on the first core that is free; those of a lost machine come last."""
    rng = np.random.default_rng(seed)
    cores = [(0.0, machine) for machine in range(cluster.machines) for _ in range(cluster.cores)]
    losses = [_losses(cluster, rng) for _ in range(cluster.machines)]
    runs = [Waiting(0.0, float(seconds), seconds / cluster.evaluations) for seconds in reversed(durations)]
    again: list[Waiting] = []
    written: list[float] = []  # the moments of checkpoints
    end = lost = 0.0
    num_losses = 0
    while runs or again:
        now, machine = heapq.heappop(cores)
        if (back := _back_at(losses[machine], now, cluster)) > now:
            heapq.heappush(cores, (back, machine))
            continue
        run = runs.pop() if runs else heapq.heappop(again)
        begin = max(now, run.since) + cluster.start_seconds
        loss = _next_loss(losses[machine], begin - cluster.start_seconds)
        done = min(run.left, max(0.0, loss - begin))
        saved = run.left if done == run.left else done // run.every * run.every
        written += (begin + run.every * np.arange(1, round(saved / run.every) + 1)).tolist()
        if done < run.left:
            lost += done - saved
            num_losses += 1
            heapq.heappush(again, Waiting(loss, run.left - saved, run.every))
            heapq.heappush(cores, (loss + cluster.repair_seconds, machine))
        else:
            end = max(end, begin + done)
            heapq.heappush(cores, (begin + done, machine))
    utilisation = float(sum(durations)) / (end * cluster.machines * cluster.cores)
    peak = np.bincount((np.asarray(written) // 60).astype(int)).max() * cluster.checkpoint_bytes / 60
    return Outcome(end / HOUR, lost / HOUR, num_losses, utilisation, float(peak))


def _losses(cluster: Cluster, rng: np.random.Generator) -> list[float]:
    """Moments at which a machine is lost, exponential in between, for longer than any study here takes."""
    if not cluster.mean_hours_to_loss:
        return []
    gaps = rng.exponential(cluster.mean_hours_to_loss * HOUR, size=LONGEST_LIFE)
    return list(np.cumsum(gaps + cluster.repair_seconds) - cluster.repair_seconds)


LONGEST_LIFE = 1000
"""Losses of a machine that are drawn."""


def _next_loss(losses: Sequence[float], now: float) -> float:
    i = int(np.searchsorted(losses, now, side="right"))
    return losses[i] if i < len(losses) else float("inf")


def _back_at(losses: Sequence[float], now: float, cluster: Cluster) -> float:
    """When a machine that is lost at this moment is back; this moment if it is there."""
    i = int(np.searchsorted(losses, now, side="right"))
    return max(now, losses[i - 1] + cluster.repair_seconds) if i else now


def recorded_seconds() -> list[float]:
    """Seconds of all recorded runs."""
    summaries = sorted((ROOT / "runs" / "studies").glob("*/*/seed-*/summary.json"))
    return [json.loads(path.read_text())["seconds"] for path in summaries]


def poll_cost(num: int = 300) -> float:
    """Seconds in which the driver asks Ray whether one run is over, mean over so many that wait."""
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)

    @ray.remote(num_cpus=1)
    def work() -> None:
        time.sleep(60)

    tasks = [work.remote() for _ in range(num)]
    begin = time.perf_counter()
    for task in tasks:
        ray.wait([task], timeout=0)
    seconds = (time.perf_counter() - begin) / num
    ray.shutdown()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5, help="simulations of each line that has losses")
    options = parser.parse_args()
    seconds = recorded_seconds()
    durations = np.random.default_rng(options.seed).choice(seconds, size=options.runs)
    cost = poll_cost()
    print(
        f"{options.runs:,} runs, of {np.mean(durations):.0f} s on average and {np.max(durations):,.0f} s at most "
        f"(drawn from {len(seconds)} recorded ones); the driver looks at a run in {1e3 * cost:.2f} ms\n"
    )
    head = (
        "machines", "one is lost after", "hours", "cores at work", "runs that moved", "done again", "MB/s at most",
        "driver busy",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for machines in (1, 10, 30, 100, 300):
        for hours in (0.0, 2.0):
            cluster = replace(Cluster(machines), mean_hours_to_loss=hours)
            outcomes = [
                simulate(durations, cluster, options.seed + i) for i in range(options.repeats if hours else 1)
            ]
            looks = min(machines * cluster.cores, options.runs) * cost
            cells = (
                f"{machines}", f"{hours:.0f} h" if hours else "never", f"{fmean(o.hours for o in outcomes):.2f}",
                f"{fmean(o.utilisation for o in outcomes):.0%}", f"{fmean(o.losses for o in outcomes):,.0f}",
                f"{fmean(o.lost for o in outcomes):.1f} core h",
                f"{fmean(o.peak_bytes_per_second for o in outcomes) / 1e6:,.0f}",
                f"{looks / (looks + cluster.poll_seconds):.0%}",
            )  # fmt: skip
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
