"""Checkers that are a user's code, run in a process of their own that exchanges lines of JSON.

One request is a line with its number and a list of formulae, `{"id": 1, "formulae": ["1+2=3", "1+2=4"]}`; its
answer is a line with the same number and as many verdicts, `{"id": 1, "verdicts": [true, false]}`. So an answer to
another request is never taken for that to this one. A function of Python is asked in the same way, by the program
`worker.py`. So code that hangs can be given up, and one that crashes takes nothing with it.
"""

import atexit
import json
import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError

COMMAND = "command:"
"""Prefix of a checker that is any program which speaks JSON lines."""

BATCH = 4096
"""Formulae in a request at most."""

TIMEOUT = 60.0
"""Seconds that a request may take."""

MAX_ANSWER = 2**20
"""Bytes of an answer at most."""

MAX_ERROR = 300
"""Characters of an error that is passed on at most."""

ONE_LINE = "must answer each line with exactly one line, after reading it"


def is_code(spec: str) -> bool:
    """Whether a checker of this name is code: `module:function`, `path.py:function` or `command:PROGRAM`."""
    return ":" in spec


@cache
def code_checker(spec: str) -> "CodeChecker":
    """A checker from code; its process starts with the first formula."""
    return CodeChecker(spec)


class CodeChecker:
    """Verdicts of another process on formulae.

    Args:
        spec: `module:function`, `path.py:function`, or `command:PROGRAM ARGUMENTS`.
        timeout: seconds that a request of `BATCH` formulae may take.
    """

    def __init__(self, spec: str, timeout: float = TIMEOUT) -> None:
        self.spec, self.timeout = spec, timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._requests = 0

    def __call__(self, formulae: Sequence[str]) -> NDArray[np.bool_]:
        """The verdicts `(n,)`; raises FormulaError if the code is not found, raises, hangs or answers wrongly."""
        batches = [formulae[i : i + BATCH] for i in range(0, len(formulae), BATCH)]
        return np.array([verdict for batch in batches for verdict in self._ask(list(batch))], dtype=bool)

    def _ask(self, formulae: list[str]) -> list[bool]:
        self._requests += 1
        request = {"id": self._requests, "formulae": formulae}
        line = self._exchange(f"{json.dumps(request)}\n".encode())
        try:
            answer: object = json.loads(line)
        except (ValueError, RecursionError):
            raise self._failed("answered with something else than a line of JSON") from None
        return self._verdicts(answer, len(formulae))

    def _verdicts(self, answer: Any, n: int) -> list[bool]:
        """The n verdicts of an answer to the last request."""
        if not isinstance(answer, dict) or "id" not in answer:
            raise self._failed(f'must answer with {{"id": {self._requests}, "verdicts": [true, …]}}')
        if type(answer["id"]) is not int or answer["id"] != self._requests:
            raise self._failed(f"answered request {str(answer['id'])[:40]!r} instead of {self._requests}")
        if isinstance(error := answer.get("error"), str):
            raise self._failed(" ".join(error.split())[:MAX_ERROR])
        verdicts = answer.get("verdicts")
        if not isinstance(verdicts, list) or not all(isinstance(verdict, bool) for verdict in verdicts):
            raise self._failed("must answer with a list of true and false as its verdicts")
        if len(verdicts) != n:
            raise self._failed(f"gave {len(verdicts)} verdicts on {n} formulae")
        return verdicts

    def _exchange(self, request: bytes) -> bytes:
        """Send a line, and receive one."""
        self._refuse_unasked()
        process = self._running()
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self._unread:
            # Asked each time, because a program that keeps writing is always ready.
            left = max(0.0, deadline - time.monotonic())
            sending = [_pipe(process.stdin)] if request else []
            readable, writable, _ = select.select([_pipe(process.stdout)], sending, [], left)
            if not left or not (readable or writable):
                raise self._failed(f"gave no answer in {self.timeout:g} seconds")
            if writable:
                request = self._send(process, request)
            if readable:
                self._receive(process)
        line, _, self._unread = self._unread.partition(b"\n")
        if request or self._unread:
            raise self._failed(ONE_LINE)
        return line

    def _refuse_unasked(self) -> None:
        """Raise FormulaError for a line that waits before there is a request: it would be taken for the answer."""
        if self._process is not None and select.select([_pipe(self._process.stdout)], [], [], 0)[0]:
            self._receive(self._process)
            raise self._failed(ONE_LINE)

    def _send(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        """Send as much as the pipe takes; returns what is left."""
        try:
            return request[os.write(_pipe(process.stdin), request[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            return b""

    def _receive(self, process: subprocess.Popen[bytes]) -> None:
        received = os.read(_pipe(process.stdout), 2**16)
        if not received:
            raise self._failed(_ending(process))
        self._unread += received
        if len(self._unread) > MAX_ANSWER:
            raise self._failed(f"answered with more than {MAX_ANSWER:,} bytes")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            own = [sys.executable, "-m", "formula_env.checkers.worker", self.spec]
            program = shlex.split(self.spec.removeprefix(COMMAND)) if self.spec.startswith(COMMAND) else own
            try:
                self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except (OSError, IndexError, ValueError) as error:
                raise FormulaError(f"the checker {self.spec!r} can't be started: {error}") from None
            atexit.register(self.close)
        return self._process

    def _failed(self, what: str) -> FormulaError:
        self.close()
        return FormulaError(f"the checker {self.spec!r} {what}")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            # Not communicate(): it would wait for children of the program, which hold the same pipes.
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
            self._process, self._unread = None, b""


def _pipe(file: IO[bytes] | None) -> int:
    """The descriptor of a process's standard input or output, which are pipes here."""
    assert file is not None
    return file.fileno()


def _ending(process: subprocess.Popen[bytes]) -> str:
    """How a process whose output has ended gave no answer."""
    try:
        return f"ended with exit code {process.wait(timeout=1)} instead of an answer"
    except subprocess.TimeoutExpired:
        return "closed its output instead of answering"
