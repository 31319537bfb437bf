"""Weights & Biases beside `metrics.jsonl`, if asked for. What fails costs a notice, never the run."""

import json
import os
import re
import secrets
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from formula_env.errors import FormulaError, reason
from formula_env.experiment.config import RunConfig, config_document
from formula_env.experiment.interrupt import StopRequest
from formula_env.experiment.rows import Row
from formula_env.files import read_text, write_atomically

WANDB_FILE = "wandb_run_id.txt"

OPEN_SECONDS = 150.0
"""How long W&B may take to open a run; it gives up itself after 90 s without a network."""
WRITE_SECONDS = 30.0
"""How long it may leave metrics unread."""
UPLOAD_SECONDS = 600.0
"""How long a finished run waits for its upload."""
LEAVE_SECONDS = 20.0
"""How long an interrupted or failed one does."""
QUIET_SECONDS = 10.0
"""How long a finished run waits without saying so."""


class Untracked(FormulaError):
    """What a tracker needs is missing or broken; the run goes on without it."""


class Tracker(Protocol):
    """Receives the metrics and results of a run."""

    def log(self, row: Row) -> None:
        """Metrics of the round `row["round"]`; later calls have the same round or a higher one."""
        ...

    def finish(self, summary: Row, formulae: list[Row], figures: list[Path], files: list[Path]) -> None:
        """The results: summary, sampled formulae with their verdicts, figures, and files of the trained model."""
        ...

    def close(self, completed: bool, stop: StopRequest) -> None:
        """End the tracking of a run that was completed, or failed or interrupted; a stop request cuts it short."""
        ...


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def log(self, row: Row) -> None:
        for tracker in self._trackers:
            tracker.log(row)

    def finish(self, summary: Row, formulae: list[Row], figures: list[Path], files: list[Path]) -> None:
        for tracker in self._trackers:
            tracker.finish(summary, formulae, figures, files)

    def close(self, completed: bool, stop: StopRequest) -> None:
        for tracker in self._trackers:
            tracker.close(completed, stop)


class WandbTracker:
    """Tracks a run by Weights & Biases, in a process of its own (`wandb_process`).

    Raises Untracked if W&B can't track the run, and another FormulaError if a setting of W&B's is invalid.
    Whatever happens to W&B afterwards is said once by `warn`, and the run goes on untracked.
    """

    def __init__(self, config: RunConfig[Any, Any], folder: Path, warn: Callable[[str], None]) -> None:
        self._warn = warn
        settings = _settings(config, folder)
        try:
            self._process: _Process | None = _Process()
        except OSError as error:
            raise Untracked(f"W&B: its process can't be started: {reason(error)}") from None
        try:
            answer = self._process.open(settings)
        except BaseException:
            self._end()
            raise
        if "error" in answer:
            self._end()
            kind = FormulaError if answer.get("is_setting") else Untracked
            raise kind(f"W&B: {answer['error']}; mend that, or leave out --track (in config.yaml: track: false)")
        try:
            write_atomically(folder / WANDB_FILE, f"{answer['id']}\n")  # in a sweep its agent chooses the id
        except FormulaError as error:
            self._end()
            raise Untracked(f"W&B: {error}") from None
        online = "--include-online " if answer["mode"] == "online" else ""
        self._sync = f"wandb sync {online}{shlex.quote(str(Path(answer['folder']).parent))}"
        if answer["mode"] == "logged out":
            warn(
                "W&B: there is no login, so this run is tracked offline; "
                f"to upload it later: wandb login && {self._sync}"
            )
        elif answer["mode"] == "disabled":
            warn("W&B: disabled by its settings (WANDB_MODE, WANDB_DISABLED), so this run is not tracked")

    def log(self, row: Row) -> None:
        self._command("log", row)

    def finish(self, summary: Row, formulae: list[Row], figures: list[Path], files: list[Path]) -> None:
        results = {
            "summary": summary,
            "formulae": formulae,
            "figures": [str(path.absolute()) for path in figures],
            "files": [str(path.absolute()) for path in files],
        }
        self._command("finish", results)

    def close(self, completed: bool, stop: StopRequest) -> None:
        self._command("close", completed)
        if self._process is None:
            return
        began, stopped_before, said = time.monotonic(), stop.signum, False
        limit = UPLOAD_SECONDS if completed else LEAVE_SECONDS
        while (code := self._process.exit_code()) is None:
            waited = time.monotonic() - began
            if waited > limit or stop.signum != stopped_before:
                self._give_up(f"did not upload everything; to do that later: {self._sync}")
                return
            if waited > QUIET_SECONDS and completed and not said:
                said = True
                self._warn(f"W&B: still uploading; Ctrl-C leaves that for later: {self._sync}")
        if code:
            self._give_up(f"{self._process.answer(0)['error']}; to upload what was tracked before: {self._sync}")
        else:
            self._end()

    def _command(self, name: str, value: Any) -> None:
        """Call W&B; if that fails, print a notice and continue without it."""
        if self._process is None:
            return
        try:
            self._process.send({name: value})
        except OSError:
            self._give_up(f"{self._process.answer(0)['error']}; the run goes on untracked")

    def _give_up(self, problem: str) -> None:
        self._warn(f"W&B: {problem}")
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None


class _Process:
    """`wandb_process`, which imports what this process does, and its two pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "formula_env.experiment.wandb_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,  # Ctrl-C is for the training
        )
        commands, answers = self._process.stdin, self._process.stdout
        assert commands is not None
        assert answers is not None
        os.set_blocking(commands.fileno(), False)
        self._commands, self._answers = commands, answers

    def open(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Let the process open the W&B run; returns its answer."""
        with suppress(OSError):
            self.send(settings)
        return self.answer(OPEN_SECONDS)

    def send(self, command: dict[str, Any]) -> None:
        """Raises OSError if the process has ended or does not read."""
        data = f"{json.dumps(command)}\n".encode()
        while data:
            if not select.select([], [self._commands], [], WRITE_SECONDS)[1]:
                raise TimeoutError
            data = data[os.write(self._commands.fileno(), data) :]

    def answer(self, seconds: float) -> dict[str, Any]:
        """The answer of the process, or an "error" with the reason why there is none."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return {"error": "it does not answer"}
        line = self._answers.readline()
        return json.loads(line) if line else {"error": "its process has ended unexpectedly"}

    def exit_code(self) -> int | None:
        """Exit code of the process, which has its last command; None if it is still at work after a moment."""
        self._commands.close()
        try:
            return self._process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End the process, if it still runs."""
        self._process.kill()
        self._process.wait()
        self._commands.close()
        self._answers.close()


def _run_id(id_file: Path) -> str:
    """The id of the W&B run that this one goes on with, or a new one."""
    if not id_file.exists():
        return secrets.token_hex(4)
    text = read_text(id_file).strip()
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text):
        raise Untracked(f"{id_file} holds no id of a W&B run; delete it to track this run as a new one")
    return text


def _settings(config: RunConfig[Any, Any], folder: Path) -> dict[str, Any]:
    """How W&B is to open the run; `wandb_process` passes most of it to `wandb.init`."""
    task = config.task_name.rpartition(":")[2]  # of module:Class the class
    name = f"{config.algorithm}-{task}"
    return {
        "argv": sys.argv,
        "folder": str(folder.resolve()),
        "training": os.getpid(),
        "id": _run_id(folder / WANDB_FILE),
        "project": config.wandb_project,
        "group": config.wandb_group or name,
        "name": f"{name}-s{config.seed}",
        "tags": [config.algorithm, task],
        "config": config_document(config),
    }
