"""Progress of studies, as shown on stderr."""

import sys
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from formula_env.experiment.progress import quality
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.terminal import SafeConsole, printable
from formula_env.metrics import evaluation_of

MAX_BARS = 24
"""Runs at work that have a bar: more would not fit on a terminal, and each costs a look at its folder."""


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
        self._active: dict[str, tuple[RunFolder, TaskID]] = {}

    def __enter__(self) -> "StudyProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, folder: RunFolder) -> None:
        """Show that a run has begun; only the first of very many have a bar."""
        if len(self._active) == MAX_BARS:
            return
        self._active[name] = folder, self._progress.add_task(name, total=None, live="starting")

    def refresh(self) -> None:
        """Show each run's newest row."""
        if not self._is_live:
            return
        for folder, task in self._active.values():
            row = folder.newest_row()
            if row is not None:
                self._progress.update(task, live=f"round {row['round']}  {quality(evaluation_of(row))}")

    def note(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(printable(line), markup=False, highlight=False)

    def done(self, name: str, summary: Row | None) -> None:
        """Show that a run has ended; `summary` is None if it failed, empty for an analysis."""
        self._count += summary is not None
        if name in self._active:
            _, task = self._active.pop(name)
            self._progress.remove_task(task)
        self._progress.update(self._all, completed=self._count, live=f"{self._count}/{self._total}")
        if not self._is_live:
            message = "failed" if summary is None else quality(summary) if summary else "computed"
            print(printable(f"{self._count}/{self._total}  {name}  {message}"), file=sys.stderr, flush=True)
