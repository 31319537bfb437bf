"""Runs as tasks of Ray, on all machines of a cluster that share the runs' folders.

A task is the very process that a run is on one machine, so its numbers are the same. What it writes lies in its
folder, on storage that all machines see under the same path: if a machine is lost, Ray gives its tasks to others,
which go on from the runs' last checkpoints.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formula_env.errors import FormulaError, check_at_least
from formula_env.studies.processes import POLL_SECONDS, complaint, start_process, wait_until_free

if TYPE_CHECKING:
    from formula_env.studies.records import Run

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a study tells nobody that it runs

try:
    import ray
    from ray.exceptions import RayError, TaskCancelledError
except ImportError:
    raise FormulaError('the engine ray needs Ray; install it with: pip install "formula-env[ray]"') from None

RETRIES = 5
"""How often a run is given to another machine before it counts as failed."""


OBJECT_STORE_BYTES = 100 * 2**20
"""Memory of a cluster of one's own for what goes between tasks: here, exit codes."""


class RayJob:
    """A run as a task of a cluster."""

    def __init__(self, run: "Run") -> None:
        self.run, self.was_asked_to_stop = run, False
        self.task: Any = _work.remote(str(run.folder.resolve()), run.consent)

    def is_over(self) -> bool:
        return bool(ray.wait([self.task], timeout=0)[0])

    def ask_to_stop(self, signum: int) -> None:
        if not self.was_asked_to_stop:
            ray.cancel(self.task, force=False)
            self.was_asked_to_stop = True

    def wait(self) -> None:
        ray.wait([self.task])
        wait_until_free(self.run.folder)  # a task that is cancelled counts as over before it has saved its run

    def complaint(self) -> str:
        try:
            return complaint(self.run.folder, ray.get(self.task))
        except TaskCancelledError:
            return "stopped"
        except RayError as error:
            return f"its machine was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"


class RayEngine:
    """Runs as tasks of the cluster that this process is connected to."""

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = max(1, int(ray.cluster_resources().get("CPU", 1))) if jobs is None else jobs
        check_at_least(1, jobs=self.jobs)

    def start(self, run: "Run") -> RayJob:
        return RayJob(run)


@contextmanager
def ray_engine(jobs: int | None = None, address: str = "") -> Iterator[RayEngine]:
    """The engine of the cluster at an address; without one, of a new cluster of this machine alone.

    Raises FormulaError if there is no cluster at the address.
    """
    _check_answers(address)
    own: dict[str, Any] = (
        {} if address else {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    )
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, str(error).splitlines()[0]) from None
    try:
        yield RayEngine(jobs)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise FormulaError if nobody listens at an address: Ray itself would wait long, and end this process."""
    known = CURRENT_CLUSTER.read_text().strip() if CURRENT_CLUSTER.exists() else ""
    place = os.environ.get("RAY_ADDRESS", known) if address == "auto" else address
    if not place:
        return
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise FormulaError(f"address must be auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


CURRENT_CLUSTER = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
"""Where Ray notes the address of the cluster of this machine, also of one that is gone."""

CONNECT_SECONDS = 5.0


def _no_cluster(address: str, reason: str) -> FormulaError:
    return FormulaError(f"no Ray cluster at {address!r} ({reason}); start one with: ray start --head")


@ray.remote(num_cpus=1, max_retries=RETRIES)
def _work(folder: str, consent: list[str]) -> int:
    """The exit status of a run's process on the machine that Ray has chosen."""
    wait_until_free(Path(folder))
    process = start_process(Path(folder), consent)
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:  # the task is cancelled
        process.send_signal(signal.SIGTERM)
    return process.wait()
