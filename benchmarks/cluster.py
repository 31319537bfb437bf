"""A study of many runs on a cluster, simulated: how long it takes, what it costs, and what gives way first.

`python -m benchmarks.cluster` prints the table of "Many machines" in `docs/command-line.md`. The runs' durations
are drawn from the recorded ones of `runs/studies`; runs go to the first free core; machines are lost at random and
come back, and what they were at goes on from its last checkpoint elsewhere. The one cost that is measured here is
the driver's, of asking Ray whether a run is over.
"""

import argparse
import heapq
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
    """Size of a checkpoint: a transformer's with its optimiser; an LSTM's is .4 to 2.5 MB."""
    poll_seconds: float = 0.3
    """Seconds between the driver's looks at the runs."""


@dataclass(frozen=True)
class Outcome:
    """What a simulated study took."""

    hours: float
    """From the first task to the last result."""
    work: float
    """Core hours of the runs themselves."""
    lost: float
    """Core hours that were done again because a machine was lost."""
    losses: int
    """Runs that went to another machine."""
    utilisation: float
    """Share of all core hours that went into runs."""
    bytes_per_second: float
    """Mean rate at which checkpoints are written."""


def simulate(durations: Sequence[float], cluster: Cluster, seed: int) -> Outcome:
    """Each run, in the order given, on the first core that is free; those of a lost machine come last."""
    rng = np.random.default_rng(seed)
    slots = [(0.0, machine) for machine in range(cluster.machines) for _ in range(cluster.cores)]
    losses_of = [_losses(cluster, rng) for _ in range(cluster.machines)]
    waiting = [(0.0, float(duration)) for duration in reversed(durations)]
    later: list[tuple[float, float]] = []  # (when a machine was lost, seconds that a run of it has left)
    end = lost = 0.0
    num_losses = 0
    heapq.heapify(slots)
    while waiting or later:
        now, machine = heapq.heappop(slots)
        if (down := _is_down(losses_of[machine], now, cluster)) > now:
            heapq.heappush(slots, (down, machine))
            continue
        known, left = waiting.pop() if waiting else heapq.heappop(later)
        begin = max(now, known)
        finish = begin + cluster.start_seconds + left
        loss = _next_loss(losses_of[machine], begin)
        if loss < finish:
            done = _saved(left, loss - begin - cluster.start_seconds, left / cluster.evaluations)
            lost += max(0.0, loss - begin - cluster.start_seconds) - done
            num_losses += 1
            heapq.heappush(later, (loss, left - done))
            heapq.heappush(slots, (loss + cluster.repair_seconds, machine))
            continue
        end = max(end, finish)
        heapq.heappush(slots, (finish, machine))
    work = float(sum(durations))
    written = len(durations) * cluster.evaluations * cluster.checkpoint_bytes
    capacity = end * cluster.machines * cluster.cores
    return Outcome(end / HOUR, work / HOUR, lost / HOUR, num_losses, work / capacity, written / end)


def _losses(cluster: Cluster, rng: np.random.Generator) -> list[float]:
    """Moments at which a machine is lost, exponential in between, for longer than any study here takes."""
    if not cluster.mean_hours_to_loss:
        return []
    gaps = rng.exponential(cluster.mean_hours_to_loss * HOUR, size=LONGEST_LIFE)
    return list(np.cumsum(gaps + cluster.repair_seconds))


LONGEST_LIFE = 1000
"""Losses of a machine that are drawn."""


def _next_loss(losses: Sequence[float], now: float) -> float:
    i = int(np.searchsorted(losses, now, side="right"))
    return losses[i] if i < len(losses) else float("inf")


def _is_down(losses: Sequence[float], now: float, cluster: Cluster) -> float:
    """When a machine that is lost at this moment is back; this moment if it is there."""
    i = int(np.searchsorted(losses, now, side="right"))
    return losses[i - 1] + cluster.repair_seconds if i and now < losses[i - 1] + cluster.repair_seconds else now


def _saved(left: float, done: float, every: float) -> float:
    """Seconds of work that the last checkpoint holds, of those done."""
    return min(left, max(0.0, done) // every * every)


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
    options = parser.parse_args()
    seconds = recorded_seconds()
    durations = np.random.default_rng(options.seed).choice(seconds, size=options.runs)
    cost = poll_cost()
    print(
        f"{options.runs:,} runs, of {np.mean(durations):.0f} s on average and {np.max(durations):,.0f} s at most "
        f"(drawn from {len(seconds)} recorded ones); the driver looks at a run in {1e3 * cost:.2f} ms\n"
    )
    head = (
        "machines", "one is lost after", "hours", "cores at work", "runs that moved", "done again", "MB/s written",
        "driver busy",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("|" + "---|" * len(head))
    for machines in (1, 10, 100, 300):
        for hours in (0.0, 24.0, 2.0):
            cluster = replace(Cluster(machines), mean_hours_to_loss=hours)
            outcome = simulate(durations, cluster, options.seed)
            busy = min(machines * cluster.cores, options.runs) * cost / cluster.poll_seconds
            cells = (
                f"{machines}", f"{hours:.0f} h" if hours else "never", f"{outcome.hours:.2f}",
                f"{outcome.utilisation:.0%}", f"{outcome.losses:,}", f"{outcome.lost:.1f} core h",
                f"{outcome.bytes_per_second / 1e6:,.0f}", f"{busy:.0%}",
            )  # fmt: skip
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
