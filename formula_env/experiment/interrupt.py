"""Ctrl-C, SIGTERM and SIGHUP: the round is finished, the run saved, and a line says how to resume it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """The run was asked to stop and has saved itself; `exit_code` is the shell's for that signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


class StopRequest:
    """The signal that asked to stop, if any."""

    signum: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying; a second one works as usual, except under torchrun.

    A signal that is ignored stays so (`nohup`), and so does one whose handler can't be put back, for it is not
    Python's. Outside of the main thread, where Python lets no one handle signals, none is noted.
    """
    request = StopRequest()
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {s: handler for s, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        before = {}

    def note(signum: int, _: FrameType | None) -> None:
        request.signum = signum
        if "TORCHELASTIC_RUN_ID" not in os.environ:  # torchrun passes on what a process may have got already
            signal.signal(signum, before[signal.Signals(signum)])

    try:
        for s in before:
            signal.signal(s, note)
        yield request
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
