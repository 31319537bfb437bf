"""What a run costs: time over all its sessions, and memory."""

import sys
import time
from pathlib import Path

import pytest

from formula_env.experiment.costs import MEASURED, Costs, peak_memory


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_sessions_add_up() -> None:
    first = Costs()
    busy(0.05)
    state = first.so_far()
    time.sleep(0.1)  # between the sessions
    second = Costs()
    second.restore(state | {"other": "entries"})
    busy(0.05)
    end = second.so_far()
    assert set(end) == set(MEASURED)
    assert 0.1 <= end["cpu_seconds"] < 0.2
    assert end["cpu_seconds"] <= end["seconds"] + 0.01
    assert end["seconds"] - state["seconds"] < 0.15


def test_waiting_takes_no_processor_time() -> None:
    costs = Costs()
    time.sleep(0.1)
    so_far = costs.so_far()
    assert so_far["seconds"] >= 0.1
    assert so_far["cpu_seconds"] < 0.05


def test_the_largest_session_counts_and_old_checkpoints_are_read() -> None:
    costs = Costs()
    costs.restore({"seconds": 100.0, "peak_memory": 1e6})
    assert costs.so_far()["peak_memory"] == 1e6
    costs.restore({"seconds": 100.0})
    assert costs.so_far()["seconds"] >= 100
    assert costs.so_far()["peak_memory"] == peak_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_system_says() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = int(status["VmHWM"].split()[0])
    assert peak_memory() == pytest.approx(kilobytes * 1024 / 1e6, rel=0.02)
