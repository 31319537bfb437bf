"""Ctrl-C, SIGTERM and SIGHUP: the round is finished, the run saved, and the user told how to go on."""

import os
import signal
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
    """Note SIGINT, SIGTERM and SIGHUP instead of dying; a second one works as usual, except under torchrun."""
    request = StopRequest()
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def note(signum: int, _: FrameType | None) -> None:
        request.signum = signum
        if "TORCHELASTIC_RUN_ID" not in os.environ:  # torchrun passes on what a process may have got already
            signal.signal(signum, before[signal.Signals(signum)])

    for s in before:
        signal.signal(s, note)
    try:
        yield request
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
