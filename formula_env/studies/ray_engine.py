"""Runs as tasks of Ray, on all machines of a cluster that share the runs' folders.

A task is the very process that a run is on one machine, so its numbers are the same. What it writes lies in its
folder, on storage that all machines see under the same path: if a machine is lost, Ray gives its tasks to others,
which go on from the runs' last checkpoints.
"""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
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

PROBE_SECONDS = 20
"""Seconds that a cluster may take to answer before a study begins."""

LOST_SECONDS = 15.0
"""Seconds without an answer after which a cluster is given up. After 60, Ray itself would end this process."""

SAVE_SECONDS = 15.0
"""Seconds that the runs of a cluster that was lost may take to save themselves."""

RETRIES = 5
"""How often a run is given to another machine before it counts as failed."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Memory of a cluster of one's own for what goes between tasks: here, exit codes."""

STOP_FILE = "stop"
"""File in a run's folder that asks its process, on whatever machine, to save the run and end."""


class RayJob:
    """A run as a task of a cluster."""

    def __init__(self, run: "Run", head: "Head") -> None:
        self.run, self.head, self.stop_file = run, head, run.folder.resolve() / STOP_FILE
        self.stop_file.unlink(missing_ok=True)
        self.task: Any = _work.remote(str(self.stop_file.parent), run.consent, os.getcwd())

    def is_over(self) -> bool:
        """Whether it has ended. Raises FormulaError if the cluster is lost."""
        self.head.check()
        return self._has_ended(0.0)

    def _has_ended(self, seconds: float) -> bool:
        return bool(ray.wait([self.task], timeout=seconds)[0])

    def ask_to_stop(self, signum: int) -> None:
        self.stop_file.touch()

    def wait(self) -> None:
        """Return when it has ended, or when a lost cluster has had its time to let it save itself."""
        while not self._has_ended(POLL_SECONDS):
            if self.head.is_silent_for(LOST_SECONDS + SAVE_SECONDS):
                return  # the stop file stays: its process may still see it
        self.stop_file.unlink(missing_ok=True)

    def complaint(self) -> str:
        try:
            return complaint(self.run.folder, ray.get(self.task))
        except RayTaskError as error:
            return str(error.cause).splitlines()[0]
        except RayError as error:
            return f"its process or its machine was lost {RETRIES + 1} times: {str(error).splitlines()[0]}"


class Head:
    """The head of the cluster that this process is connected to, by whether its port accepts connections.

    Without a head, Ray's own calls block, and after a minute they end this process.
    """

    def __init__(self, place: str) -> None:
        self.place, self.tried = place, -math.inf
        self.silent_since: float | None = None

    def answers(self) -> bool:
        """Whether it answered when it was last tried, which is at most once in `POLL_SECONDS`."""
        if time.monotonic() - self.tried > POLL_SECONDS:
            self.tried = time.monotonic()
            try:
                _connect(self.place)
                self.silent_since = None
            except OSError:
                self.silent_since = self.tried if self.silent_since is None else self.silent_since
        return self.silent_since is None

    def is_silent_for(self, seconds: float) -> bool:
        """Whether all tries of so many seconds have failed."""
        return not self.answers() and self.silent_since is not None and self.tried - self.silent_since > seconds

    def check(self) -> None:
        """Raise FormulaError if it has been silent for too long."""
        if self.is_silent_for(LOST_SECONDS):
            raise FormulaError(
                f"the Ray cluster at {self.place} was lost: no answer for {LOST_SECONDS:.0f} s; the runs are kept "
                "up to their last checkpoints, and the same command goes on from there once a cluster answers"
            )


class RayEngine:
    """Runs as tasks of the cluster that this process is connected to."""

    def __init__(self, head: Head, jobs: int | None = None) -> None:
        if jobs is not None:
            check_at_least(1, jobs=jobs)
        self.head, self.asked = head, jobs

    @property
    def jobs(self) -> int:
        """As many as were asked for, or as the cluster has CPUs now: machines may join.

        While the head does not answer, none beyond those that are at work.
        """
        self.head.check()
        if not self.head.answers():
            return 0
        return max(1, int(ray.cluster_resources().get("CPU", 1))) if self.asked is None else self.asked

    def start(self, run: "Run") -> RayJob:
        return RayJob(run, self.head)


@contextmanager
def ray_engine(jobs: int | None = None, address: str = "") -> Iterator[RayEngine]:
    """The engine of the cluster at an address; without one, of a new cluster of this machine alone.

    Raises FormulaError if there is no cluster at the address, or it breaks down.
    """
    place = _place_of(address) if address else ""
    if place:
        _check_answers(address, place)
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    options = {} if address else own
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, str(error).splitlines()[0]) from None
    try:
        is_client = place.startswith("ray://")
        yield RayEngine(Head(place if is_client else ray.get_runtime_context().gcs_address), jobs)
    except RayError as error:
        raise FormulaError(f"the Ray cluster failed: {str(error).splitlines()[0]}") from None
    finally:
        ray.shutdown()


def _place_of(address: str) -> str:
    """HOST:PORT, perhaps behind ray://, of the cluster that an address means; "" where Ray has noted none.

    Raises FormulaError for an address of another form.
    """
    place = address
    if address == "auto":
        place = os.environ.get("RAY_ADDRESS", "") or _current_cluster()
    if place in ("", "auto"):
        return ""  # Ray looks for a process of its own on this machine, and reports at once that there is none
    host, _, port = place.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise FormulaError(f"address must be auto or HOST:PORT, got {place!r}")
    return place


def _connect(place: str) -> None:
    """Connect to a place and leave again. Raises OSError if no process listens there."""
    host, _, port = place.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OverflowError as error:  # a port that there can't be
        raise OSError(str(error)) from None


def _check_answers(address: str, place: str) -> None:
    """Raise FormulaError if no Ray cluster answers there.

    Ray itself would wait long, print lines of its own and end this process; here a process of its own tries it.
    """
    try:
        _connect(place)
    except OSError as error:
        raise _no_cluster(address, str(error)) from None
    probe = subprocess.run(
        [sys.executable, "-m", "formula_env.studies.ray_probe", place, str(PROBE_SECONDS)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )  # fmt: skip
    if probe.returncode:
        silent = f"a process listens there, but did not answer as Ray does within {PROBE_SECONDS} s"
        raise _no_cluster(address, probe.stdout.strip() or silent)


def _current_cluster() -> str:
    """What Ray notes as the cluster of this machine, also when it is gone; "" where there is no note."""
    try:
        return CURRENT_CLUSTER.read_text(errors="replace").strip()
    except OSError:
        return ""


CURRENT_CLUSTER = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"

CONNECT_SECONDS = 2.0


def _no_cluster(address: str, reason: str) -> FormulaError:
    return FormulaError(f"no Ray cluster answers at {address!r} ({reason}); start one with: ray start --head")


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
