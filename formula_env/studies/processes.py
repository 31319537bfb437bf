"""A run as a process of its own. Whoever starts it need not import what it does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from formula_env.files import InUse, exclusive

LOG_FILE = "log.txt"
"""Name of the file, in the run's folder, of what the process says."""

POLL_SECONDS = 0.3


def start_process(
    folder: Path, consent: Sequence[str] = (), directory: str | None = None
) -> subprocess.Popen[bytes]:
    """The run of a prepared folder, going on as a process that no signal meant for this one reaches.

    Args:
        folder: the run's.
        consent: the arguments with which code that its settings name may run.
        directory: the process' working directory; default: this one's.
    """
    with open(folder / LOG_FILE, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "formula_env", "resume", str(folder), *consent],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=directory,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        )  # fmt: skip


def complaint(folder: Path, code: int) -> str:
    """Why the process of a run ended with this exit status, from its log; "" for one that ended well."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = (folder / LOG_FILE).read_text(errors="replace").split("\n")
    messages = [line for line in lines if line.strip()]
    return messages[-1].removeprefix("formula-env: ") if code and messages else ""


def wait_until_free(folder: Path) -> None:
    """Return when no process is at work in a folder. Raises FormulaError if there is no such folder."""
    while True:
        try:
            with exclusive(folder):
                return
        except InUse:
            time.sleep(POLL_SECONDS)
