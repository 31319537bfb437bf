"""Time and memory of a run."""

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

MEASURED = ("seconds", "cpu_seconds", "peak_memory")
"""Entries of a row that differ between runs of the same settings."""


class Costs:
    """The time that a run has taken over all its sessions, and the most memory that one of them has held."""

    def __init__(self) -> None:
        self._before = dict.fromkeys(MEASURED, 0.0)
        self.begin()

    def begin(self) -> None:
        """Count this session's time from here."""
        self._began, self._cpu_began = time.monotonic(), time.process_time()

    def so_far(self) -> dict[str, float]:
        """Seconds of the clock and of the processor, and the process' peak memory in MB; see `docs/metrics.md`."""
        before = self._before
        return {
            "seconds": round(before["seconds"] + time.monotonic() - self._began, 3),
            "cpu_seconds": round(before["cpu_seconds"] + time.process_time() - self._cpu_began, 3),
            "peak_memory": max(before["peak_memory"], peak_memory()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the costs in a checkpoint; those of earlier versions hold only seconds."""
        self._before = {name: float(state.get(name, 0.0)) for name in MEASURED}
        self.begin()


def peak_memory() -> float:
    """The most memory that this process has held so far, in MB; 0 where the system does not tell.

    Linux keeps what `getrusage` tells from the process that started this one, so there it is read elsewhere.
    """
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) * 1024 / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, or kilobytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
