"""Checkers that are somebody's code, run in a process of their own that speaks JSON lines.

One request is a line with a list of formulae, `["1+2=3", "1+2=4"]`; its answer is a line with as many verdicts,
`[true, false]`. A function of Python is asked in the same way, by the program `worker.py`. So code that hangs can
be given up, and one that crashes takes nothing with it.
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

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError

COMMAND = "command:"
"""Prefix of a checker that is any program which speaks JSON lines."""

BATCH = 4096
"""Formulae in a request at most."""

TIMEOUT = 60.0
"""Seconds that a request may take."""


def is_code(spec: str) -> bool:
    """Whether a checker of this name is code: `module:function`, `path.py:function` or `command:PROGRAM`."""
    return ":" in spec


@cache
def code_checker(spec: str) -> "CodeChecker":
    """The checker that this code is; its process starts with the first formula."""
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

    def __call__(self, formulae: Sequence[str]) -> NDArray[np.bool_]:
        """The verdicts `(n,)`; raises FormulaError if the code is not found, raises, hangs or answers wrongly."""
        batches = [formulae[i : i + BATCH] for i in range(0, len(formulae), BATCH)]
        return np.array([verdict for batch in batches for verdict in self._ask(list(batch))], dtype=bool)

    def _ask(self, formulae: list[str]) -> list[bool]:
        line = self._exchange(f"{json.dumps(formulae)}\n".encode())
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise self._failed("answered with something else than a line of JSON") from None
        if isinstance(answer, str):  # what our own program answers when the function raises
            raise self._failed(answer)
        if not isinstance(answer, list) or not all(isinstance(verdict, bool) for verdict in answer):
            raise self._failed("must answer with a list of true and false")
        if len(answer) != len(formulae):
            raise self._failed(f"gave {len(answer)} verdicts on {len(formulae)} formulae")
        return answer

    def _exchange(self, request: bytes) -> bytes:
        """Send a line, and receive one."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self._unread:
            sending = [process.stdin] if request else []
            left = deadline - time.monotonic()
            readable, writable, _ = select.select([process.stdout], sending, [], max(0.0, left))
            if not readable and not writable:
                raise self._failed(f"gave no answer in {self.timeout:g} seconds")
            if writable:
                try:
                    request = request[os.write(process.stdin.fileno(), request[: select.PIPE_BUF]) :]
                except BrokenPipeError:
                    request = b""
            if readable:
                received = os.read(process.stdout.fileno(), 2**16)
                if not received:
                    raise self._failed(f"ended with exit code {process.wait()} instead of an answer")
                self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line

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
            self._process.communicate()
            self._process, self._unread = None, b""
