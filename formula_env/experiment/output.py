"""Standard output and error that a command can write to, whatever they are connected to."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

MIN_COLUMNS = 40


@contextmanager
def safe_output() -> Iterator[None]:
    """Replace streams that are missing or closed, and characters that a stream's encoding lacks.

    What can't be written to stderr is dropped: a run goes on when the terminal that watched it is gone. Failures
    of stdout are raised, for its content is what the command was called for.
    """
    with ExitStack() as stack:
        stack.enter_context(_readable_width())
        if _is_missing(sys.stdout):
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        if _is_missing(sys.stderr):
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
        for stream in (sys.stdout, sys.stderr):
            stack.enter_context(_every_character(stream))
        stack.enter_context(redirect_stderr(_Lenient(sys.stderr)))
        yield


@contextmanager
def _readable_width() -> Iterator[None]:
    """Ignore a width (COLUMNS) that no table or help text fits in."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or int(columns) >= MIN_COLUMNS:
        yield
        return
    os.environ["COLUMNS"] = str(MIN_COLUMNS)
    try:
        yield
    finally:
        os.environ["COLUMNS"] = columns


def _is_missing(stream: Any) -> bool:
    """Python sets a stream to None if it was closed before the start."""
    return stream is None or getattr(stream, "closed", False)


@contextmanager
def _every_character(stream: Any) -> Iterator[None]:
    """Write "?" for a character that the stream's encoding lacks."""
    if not hasattr(stream, "reconfigure"):  # of another kind, such as io.StringIO
        yield
        return
    errors = stream.errors
    with suppress(OSError):
        stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # nothing to flush to any more
            stream.reconfigure(errors=errors)


class _Lenient:
    """A text stream that drops what it can't write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
