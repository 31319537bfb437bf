"""The simulation of a study on a cluster, against what can be reckoned by hand."""

import numpy as np
import pytest

from benchmarks.cluster import HOUR, Cluster, _losses, simulate


def test_one_core_does_one_run_after_another() -> None:
    outcome = simulate([10.0, 20.0, 30.0], Cluster(1, cores=1, start_seconds=5.0), seed=0)
    assert outcome.hours == pytest.approx(75 / HOUR)
    assert outcome.utilisation == pytest.approx(60 / 75)
    assert (outcome.losses, outcome.lost) == (0, 0)


def test_runs_go_to_the_first_core_that_is_free() -> None:
    """On two cores 3 and 5 begin; 4 follows 3, and 1 follows 5."""
    outcome = simulate([3.0, 5.0, 4.0, 1.0], Cluster(2, cores=1, start_seconds=0.0), seed=0)
    assert outcome.hours == pytest.approx(7 / HOUR)


def test_no_schedule_is_shorter_than_the_work_or_the_longest_run_nor_longer_than_both() -> None:
    durations = np.random.default_rng(0).exponential(100.0, size=2000)
    for machines in (1, 7, 100):
        cluster = Cluster(machines, start_seconds=0.0)
        share = durations.sum() / (machines * cluster.cores)
        end = simulate(list(durations), cluster, seed=0).hours * HOUR
        assert max(share, durations.max()) <= end * (1 + 1e-9)
        assert end <= (share + durations.max()) * (1 + 1e-9)


def test_a_lost_machine_costs_what_came_after_the_last_checkpoint() -> None:
    """Whatever is lost: each run loses less than a tenth of itself, every time."""
    durations = [1000.0] * 200
    cluster = Cluster(4, cores=2, start_seconds=0.0, mean_hours_to_loss=0.5)
    outcome = simulate(durations, cluster, seed=1)
    assert outcome.losses > 10
    assert 0 < outcome.lost * HOUR < outcome.losses * 1000 / cluster.evaluations
    assert outcome.hours > simulate(durations, Cluster(4, cores=2, start_seconds=0.0), seed=1).hours


def test_machines_are_lost_from_the_beginning_on() -> None:
    """Of many short lives the share that ends within the mean is 1 - 1/e, the first one's too."""
    cluster = Cluster(2000, cores=1, start_seconds=0.0, mean_hours_to_loss=1.0)
    outcome = simulate([HOUR] * 2000, cluster, seed=0)
    first = sum(losses[0] < HOUR for losses in all_losses(cluster, seed=0))
    assert first / 2000 == pytest.approx(1 - np.exp(-1), abs=0.03)
    assert outcome.losses >= first


def all_losses(cluster: Cluster, seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [_losses(cluster, rng) for _ in range(cluster.machines)]


def test_the_busiest_minute_is_that_in_which_most_checkpoints_are_written() -> None:
    """Two cores write one each 15 s for the first two minutes, then one core does."""
    cluster = Cluster(2, cores=1, start_seconds=0.0, evaluations=10, checkpoint_bytes=600.0)
    outcome = simulate([150.0, 600.0], cluster, seed=0)
    assert outcome.peak_bytes_per_second == pytest.approx((4 + 1) * 600 / 60)
