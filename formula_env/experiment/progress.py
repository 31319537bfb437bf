"""What a person sees while a run goes on."""

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from formula_env.experiment.rows import METRICS_FILE, Row
from formula_env.experiment.terminal import SafeConsole, printable


class RunProgress(Protocol):
    def advance(self, round_: int, metrics: dict[str, float]) -> None: ...

    def evaluated(self, row: Row) -> None: ...

    def warn(self, sentence: str) -> None:
        """Say something that stays on the screen."""
        ...

    def close(self) -> None: ...


def make_progress(total: int, start: int) -> RunProgress:
    """A live bar on a terminal, a line for each evaluation elsewhere; both on stderr."""
    return Bar(total, start) if sys.stderr.isatty() else Lines(total, start)


class NoProgress:
    """For a process that nobody watches."""

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        pass

    def evaluated(self, row: Row) -> None:
        pass

    def warn(self, sentence: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Clock:
    """Time left, from the pace of this session."""

    def __init__(self, total: int, start: int) -> None:
        self.total, self.start, self.began = total, start, time.monotonic()

    def left(self, round_: int) -> str:
        done = round_ - self.start
        if not done:
            return "–"
        seconds = (time.monotonic() - self.began) / done * (self.total - round_)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Bar:
    """`training ━━━━ 620/1040  accuracy 0.981  JSD 0.0213  D loss 0.655  0:14 left`"""

    def __init__(self, total: int, start: int) -> None:
        self._clock = _Clock(total, start)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[live]}", markup=False),
            console=SafeConsole(stderr=True),
        )
        self._task = self._progress.add_task("starting", total=total, completed=start, live="")
        self._quality, self._loss = "", ""
        self._progress.start()

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        self._loss = _loss(metrics) or self._loss
        live = "  ".join(filter(None, (self._quality, self._loss, f"{self._clock.left(round_)} left")))
        self._progress.update(self._task, completed=round_, live=live)

    def evaluated(self, row: Row) -> None:
        self._quality = _quality(row)
        self._progress.update(self._task, description=row["phase"])

    def warn(self, sentence: str) -> None:
        self._progress.console.print(Text(sentence, style="yellow"))

    def close(self) -> None:
        self._progress.stop()


class Lines:
    """`training 620/1040  accuracy 0.981  JSD 0.0213  D loss 0.655  0:14 left`, once per evaluation."""

    def __init__(self, total: int, start: int) -> None:
        self._clock = _Clock(total, start)
        self._loss = ""

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        self._loss = _loss(metrics) or self._loss

    def evaluated(self, row: Row) -> None:
        place = f"{row['phase']} {row['round']}/{self._clock.total}"
        left = f"{self._clock.left(row['round'])} left"
        print("  ".join(filter(None, (place, _quality(row), self._loss, left))), file=sys.stderr, flush=True)

    def warn(self, sentence: str) -> None:
        print(printable(sentence), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def _quality(row: Row) -> str:
    first = f"accuracy {row['eval/accuracy']:.4f}" if "eval/accuracy" in row else f"MSE {row['eval/mse']:.2e}"
    return f"{first}  JSD {row['eval/jsd']:.4f}{'' if row['eval/jsd_exact'] else ' (sampled)'}"


def _loss(metrics: dict[str, float]) -> str:
    if "discriminator/loss" in metrics:
        return f"D loss {metrics['discriminator/loss']:.3f}"
    return f"NLL {metrics['train/nll']:.3f}" if "train/nll" in metrics else ""


class StudyProgress:
    """Runs done of all, and how those at work stand: a bar and a line for each of them, live on a terminal.

    Elsewhere a line for each run that is done.
    """

    def __init__(self, total: int, done: int) -> None:
        self._is_live = sys.stderr.isatty()
        self._count, self._total = done, total
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[live]}", markup=False),
        )
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=SafeConsole(stderr=True), disable=not self._is_live
        )
        self._all = self._progress.add_task("runs done", total=total, completed=done, live=f"{done}/{total}")
        self._active: dict[str, tuple[Path, TaskID]] = {}

    def __enter__(self) -> "StudyProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, folder: Path) -> None:
        """This run is at work."""
        self._active[name] = folder, self._progress.add_task(name, total=None, live="starting")

    def refresh(self) -> None:
        """Show each run's newest row."""
        if not self._is_live:
            return
        for folder, task in self._active.values():
            row = _last_row(folder)
            if row is not None:
                self._progress.update(task, live=f"round {row['round']}  {_quality(row)}")

    def done(self, name: str, summary: Row | None) -> None:
        """This run has ended; `summary` is None if it failed, empty for an analysis."""
        self._count += summary is not None
        if name in self._active:
            _, task = self._active.pop(name)
            self._progress.remove_task(task)
        self._progress.update(self._all, completed=self._count, live=f"{self._count}/{self._total}")
        if not self._is_live:
            rows = {f"eval/{key}": value for key, value in (summary or {}).items()}
            told = "failed" if summary is None else _quality(rows) if rows else "computed"
            print(printable(f"{self._count}/{self._total}  {name}  {told}"), file=sys.stderr, flush=True)


def _last_row(folder: Path) -> Row | None:
    """None where there is none yet, or it is just being written."""
    try:
        return json.loads((folder / METRICS_FILE).read_text().splitlines()[-1])
    except (OSError, IndexError, ValueError):
        return None
