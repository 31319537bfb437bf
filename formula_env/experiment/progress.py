"""Progress of a run, as shown on stderr."""

import sys
import time
from typing import Protocol

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from formula_env.experiment.rows import Row
from formula_env.experiment.terminal import SafeConsole, printable
from formula_env.metrics import METRICS, evaluation_of, jsd_text


class RunProgress(Protocol):
    def advance(self, round_: int, metrics: dict[str, float]) -> None: ...

    def evaluated(self, row: Row) -> None: ...

    def warn(self, sentence: str) -> None:
        """Print a line that stays on the screen."""
        ...

    def close(self) -> None: ...


def make_progress(schedule: "Schedule", last: Row | None) -> RunProgress:
    """A live bar on a terminal, a line for each evaluation elsewhere; both on stderr.

    `last` is the newest evaluation of a run that is resumed.
    """
    return Bar(schedule, last) if sys.stderr.isatty() else Lines(schedule)


class NoProgress:
    """Progress of a process whose output is not shown."""

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        pass

    def evaluated(self, row: Row) -> None:
        pass

    def warn(self, sentence: str) -> None:
        pass

    def close(self) -> None:
        pass


class Schedule:
    """How many rounds a run has, how many of them are pretraining, and from which one this session goes on."""

    def __init__(self, total: int, pretraining: int, start: int) -> None:
        self.total, self.pretraining, self.start = total, pretraining, start
        self._began = time.monotonic()

    def phase(self, round_: int) -> str:
        """The phase of the run after this round."""
        if round_ >= self.total:
            return "done"
        return "pretraining" if round_ < self.pretraining else "training"

    def left(self, round_: int) -> str:
        """Time left, from the pace of this session; empty where there is none."""
        done = round_ - self.start
        if done <= 0 or round_ >= self.total:
            return ""
        seconds = (time.monotonic() - self._began) / done * (self.total - round_)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


class Bar:
    """`training ━━━━ 620/1040 accuracy 98.10%  JSD 0.0213  loss 0.6552  0:14 left`"""

    def __init__(self, schedule: Schedule, last: Row | None, console: SafeConsole | None = None) -> None:
        self._schedule = schedule
        self._progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(min_width=len("training"), no_wrap=True)
            ),
            BarColumn(bar_width=None),  # whatever the text leaves
            TextColumn("{task.completed}/{task.total} {task.fields[live]}", markup=False),
            console=console or SafeConsole(stderr=True),
            expand=True,
        )
        self._round = schedule.start
        self._quality, self._loss = quality(evaluation_of(last)) if last is not None else "", ""
        self._task = self._progress.add_task("", total=schedule.total, live="")
        self._show()
        self._progress.start()

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        self._round, self._loss = round_, _loss(metrics) or self._loss
        self._show()

    def evaluated(self, row: Row) -> None:
        self._quality = quality(evaluation_of(row))
        self._show()

    def _show(self) -> None:
        live = "  ".join(filter(None, (self._quality, self._loss, self._schedule.left(self._round))))
        phase = self._schedule.phase(self._round)
        self._progress.update(self._task, description=phase, completed=self._round, live=live)

    def warn(self, sentence: str) -> None:
        self._progress.console.print(Text(sentence, style="yellow"))

    def close(self) -> None:
        self._progress.stop()


class Lines:
    """`training 620/1040  accuracy 98.10%  JSD 0.0213  loss 0.6552  0:14 left`, once per evaluation."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._loss = ""

    def advance(self, round_: int, metrics: dict[str, float]) -> None:
        self._loss = _loss(metrics) or self._loss

    def evaluated(self, row: Row) -> None:
        round_ = row["round"]
        place = f"{self._schedule.phase(round_)} {round_}/{self._schedule.total}"
        parts = (place, quality(evaluation_of(row)), self._loss, self._schedule.left(round_))
        print("  ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def warn(self, sentence: str) -> None:
        print(printable(sentence), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def quality(metrics: Row) -> str:
    """The two most important numbers of an evaluation, written as in the summary."""
    first = METRICS["accuracy" if "accuracy" in metrics else "mse"]
    numbers = [f"{first.label} {first.text(metrics[first.name])}"]
    if "jsd" in metrics:
        numbers.append(f"{METRICS['jsd'].label} {jsd_text(metrics)}")
    elif "held_out_nll" in metrics:
        numbers.append(f"{METRICS['held_out_nll'].label} {METRICS['held_out_nll'].text(metrics['held_out_nll'])}")
    return "  ".join(numbers)


def _loss(metrics: dict[str, float]) -> str:
    for name, label in (("discriminator/loss", "loss"), ("train/nll", METRICS["train/nll"].label)):
        if name in metrics:
            return f"{label} {METRICS[name].text(metrics[name])}"
    return ""
