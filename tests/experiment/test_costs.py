"""What a run costs: time over all its sessions, and memory."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from formula_env.experiment.costs import MEASURED, Costs, peak_memory


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Times that only the test moves."""
    now = {"monotonic": 1000.0, "process_time": 50.0}
    for name in now:
        monkeypatch.setattr(time, name, lambda name=name: now[name])
    return now


def test_sessions_add_up_and_what_is_between_them_does_not_count(clock: dict[str, float]) -> None:
    first = Costs()
    clock["monotonic"] += 20
    clock["process_time"] += 15
    state = first.so_far()
    clock["monotonic"] += 5000
    clock["process_time"] = 1.0  # another process
    second = Costs()
    second.restore(state | {"other": "entries"})
    clock["monotonic"] += 3
    clock["process_time"] += 2
    end = second.so_far()
    assert set(end) == set(MEASURED)
    assert (end["seconds"], end["cpu_seconds"]) == (23, 17)


def test_the_largest_session_counts_and_old_checkpoints_are_read() -> None:
    costs = Costs()
    costs.restore({"seconds": 100.0, "peak_memory": 1e6})
    assert costs.so_far()["peak_memory"] == 1e6
    costs.restore({"seconds": 100.0})
    assert costs.so_far()["seconds"] >= 100
    assert costs.so_far()["peak_memory"] == peak_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process begins with its parent's peak")
def test_a_process_does_not_begin_with_the_peak_of_the_one_that_started_it() -> None:
    held = np.ones(25_000_000)  # 200 MB
    code = "from formula_env.experiment.costs import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(child.stdout) < peak_memory() - held.nbytes / 2e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_what_the_system_says() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = int(status["VmHWM"].split()[0])
    assert peak_memory() == pytest.approx(kilobytes * 1024 / 1e6, rel=0.02)
