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
from collections.abc import Iterator, Sequence
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
    from ray.exceptions import RayError, RayTaskError
except ImportError:
    raise FormulaError('the engine ray needs Ray; install it with: pip install "formula-env[ray]"') from None

RETRIES = 5
"""How often a run is given to another machine before it counts as failed."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Memory of a cluster of one's own for what goes between tasks: here, exit codes."""

STOP_FILE = "stop"
"""File in a run's folder that asks its process, on whatever machine, to save the run and end."""


class RayJob:
    """A run as a task of a cluster."""

    def __init__(self, run: "Run") -> None:
        self.run, self.stop_file = run, run.folder.resolve() / STOP_FILE
        self.stop_file.unlink(missing_ok=True)
        self.task: Any = _work.remote(str(self.stop_file.parent), run.consent, os.getcwd())

    def is_over(self) -> bool:
        return bool(ray.wait([self.task], timeout=0)[0])

    def ask_to_stop(self, signum: int) -> None:
        self.stop_file.touch()

    def wait(self) -> None:
        ray.wait([self.task])
        self.stop_file.unlink(missing_ok=True)

    def complaint(self) -> str:
        try:
            return complaint(self.run.folder, ray.get(self.task))
        except RayTaskError as error:
            return str(error.cause).splitlines()[0]
        except RayError as error:
            return f"its machine was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"


class RayEngine:
    """Runs as tasks of the cluster that this process is connected to."""

    def __init__(self, jobs: int | None = None) -> None:
        if jobs is not None:
            check_at_least(1, jobs=jobs)
        self.asked = jobs

    @property
    def jobs(self) -> int:
        """As many as were asked for, or as the cluster has CPUs now: machines may join."""
        return max(1, int(ray.cluster_resources().get("CPU", 1))) if self.asked is None else self.asked

    def start(self, run: "Run") -> RayJob:
        return RayJob(run)


@contextmanager
def ray_engine(jobs: int | None = None, address: str = "") -> Iterator[RayEngine]:
    """The engine of the cluster at an address; without one, of a new cluster of this machine alone.

    Raises FormulaError if there is no cluster at the address, or it breaks down.
    """
    if address:
        _check_answers(address)
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    options = {} if address else own
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, str(error).splitlines()[0]) from None
    try:
        yield RayEngine(jobs)
    except RayError as error:
        raise FormulaError(f"the Ray cluster failed: {str(error).splitlines()[0]}") from None
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise FormulaError if nobody listens at an address: Ray itself would wait long, and end this process."""
    place = address
    if address == "auto":
        place = os.environ.get("RAY_ADDRESS", "") or _current_cluster()
    if place in ("", "auto"):
        return  # Ray looks for a process of its own on this machine, and says at once that there is none
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise FormulaError(f"address must be auto or HOST:PORT, got {place!r}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _current_cluster() -> str:
    """What Ray notes as the cluster of this machine, also when it is gone; "" where there is no note."""
    try:
        return CURRENT_CLUSTER.read_text(errors="replace").strip()
    except OSError:
        return ""


CURRENT_CLUSTER = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"

CONNECT_SECONDS = 5.0


def _no_cluster(address: str, reason: str) -> FormulaError:
    return FormulaError(f"no Ray cluster at {address!r} ({reason}); start one with: ray start --head")


@ray.remote(num_cpus=1, max_retries=RETRIES)
def _work(folder: str, consent: Sequence[str], directory: str) -> int:
    """The exit status of a run's process, on the machine that Ray has chosen.

    Args:
        folder: the run's.
        consent: as `start_process` takes it.
        directory: that of the study's process, which relative paths in settings are meant from.
    """
    stop_file = Path(folder) / STOP_FILE
    wait_until_free(Path(folder))
    if stop_file.exists():
        return -signal.SIGTERM
    process = start_process(Path(folder), consent, directory)
    was_asked_to_stop = False
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        if stop_file.exists() and not was_asked_to_stop:
            process.send_signal(signal.SIGTERM)
            was_asked_to_stop = True
    return process.returncode
