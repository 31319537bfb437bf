"""Where the runs of studies and searches are at work: as processes of this machine, or on a cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from formula_env.errors import FormulaError, check_range
from formula_env.studies.processes import complaint, start_process

if TYPE_CHECKING:
    from formula_env.studies.records import Run

EngineName = Literal["local", "ray"]

MAX_JOBS = max(16, 4 * (os.cpu_count() or 1))
"""How many runs go on side by side on this machine at most: each is a process of some hundred megabytes."""


class Job(Protocol):
    """A run at work."""

    run: "Run"

    def is_over(self) -> bool:
        """Whether the run has ended, well or not."""
        ...

    def ask_to_stop(self, signum: int) -> None:
        """Ask the run to save itself and end; later calls do nothing."""
        ...

    def wait(self) -> None:
        """Return when the run has ended."""
        ...

    def complaint(self) -> str:
        """Why the run failed, as far as known; for a job that is over."""
        ...


class Engine(Protocol):
    """Starter of runs, on this machine or on a cluster."""

    @property
    def jobs(self) -> int:
        """Number of runs side by side."""
        ...

    def start(self, run: "Run") -> Job:
        """Start a run whose folder is prepared."""
        ...


class LocalJob:
    """A run as a process of this machine."""

    def __init__(self, run: "Run") -> None:
        self.run, self.process = run, start_process(run.folder, run.consent)
        self.was_asked_to_stop = False

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def ask_to_stop(self, signum: int) -> None:
        """Ask the run once to save itself and end; a second signal would not let it save."""
        if not self.is_over() and not self.was_asked_to_stop:
            self.process.send_signal(signum)
            self.was_asked_to_stop = True

    def wait(self) -> None:
        self.process.wait()

    def complaint(self) -> str:
        return complaint(self.run.folder, self.process.returncode)


class LocalEngine:
    """Runs as processes of this machine."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = (os.cpu_count() or 1) if jobs is None else jobs
        check_range(1, MAX_JOBS, jobs=self.jobs)

    def start(self, run: "Run") -> LocalJob:
        return LocalJob(run)


@contextmanager
def engine_for(name: EngineName, jobs: int | None, address: str) -> Iterator[Engine]:
    """The engine of this name, with so many jobs; None: as many as it has CPUs.

    Raises FormulaError for an address without a cluster, or one that is given for no reason.
    """
    if name == "ray":
        from formula_env.studies.ray_engine import ray_engine

        with ray_engine(jobs, address) as engine:
            yield engine
        return
    if address:
        raise FormulaError(f"address {address!r} is of a Ray cluster; give --engine ray, too")
    yield LocalEngine(jobs)
