"""TensorBoard beside `metrics.jsonl`, if asked for: an event file in the run's folder. It never fails a run.

Each event is written at once, in this thread. TensorBoard's own writer has a thread and a queue, and what fails
there is noticed late, or not at all.
"""

import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from formula_env.errors import reason
from formula_env.experiment.config import RunConfig, settings_text
from formula_env.experiment.interrupt import StopRequest
from formula_env.experiment.rows import Row
from formula_env.experiment.tracking import Untracked

TENSORBOARD_FOLDER = "tensorboard"

NOT_METRICS = ("round",)
"""Numbers of a row that are no curves."""


class TensorBoardTracker:
    """Tracks a run by TensorBoard; raises Untracked if its package is missing or the folder can't be written.

    Whatever fails afterwards is said once by `warn`, and the run goes on untracked.

    Args:
        config: the run's settings, shown as text.
        folder: the run's folder; the events are in its folder `tensorboard`.
        round_: round that the run goes on from; events of later rounds, of a run that was killed, are hidden.
        warn: shows a notice.
    """

    def __init__(
        self, config: RunConfig[Any, Any], folder: Path, round_: int, warn: Callable[[str], None]
    ) -> None:
        self._warn = warn
        try:
            events: Any = import_module("tensorboard.compat.proto.event_pb2")  # no type checker knows its names
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except Exception as error:  # one that does not fit others that are installed fails in other ways, too
            why = "its package is missing" if isinstance(error, ImportError) else " ".join(str(error).split())
            raise Untracked(
                f"TensorBoard: {why}; install it by pip install 'formula-env[tensorboard]', or "
                "leave out --tensorboard (in config.yaml: tensorboard: false)"
            ) from None
        self._event, self._summary = events.Event, summary
        self._waiting: Row = {}
        path = folder / TENSORBOARD_FOLDER / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        try:
            path.parent.mkdir(exist_ok=True)
            self._file: Any = open(path, "xb")  # noqa: SIM115  (until the run ends)
        except OSError as error:
            raise Untracked(
                f"TensorBoard: {path} can't be written: {reason(error)}; mend that, or leave out --tensorboard"
            ) from None
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=round_ + 1, session_log=events.SessionLog(status=events.SessionLog.START))
        self._write(step=round_, summary=summary.text("config", f"```yaml\n{settings_text(config)}```"))

    def log(self, row: Row) -> None:
        """Rows of one round are joined, so that a curve has one point there."""
        if row["round"] != self._waiting.get("round"):
            self._write_row()
        self._waiting |= row

    def _write_row(self) -> None:
        row, self._waiting = self._waiting, {}
        for name, value in row.items():
            if isinstance(value, int | float) and name not in NOT_METRICS:
                self._write(step=row["round"], summary=self._summary.scalar(name, float(value)))

    def finish(self, summary: Row, formulae: list[Row], figures: list[Path], files: list[Path]) -> None:
        try:
            self._finish(summary, formulae, figures)
        except Exception as error:  # such as a figure that can't be read
            self._give_up(" ".join(str(error).split()) or type(error).__name__)

    def _finish(self, summary: Row, formulae: list[Row], figures: list[Path]) -> None:
        from matplotlib.image import imread

        self._write_row()
        round_ = summary["rounds"]
        self._write(step=round_, summary=self._summary.text("formulae", _table(formulae)))
        for path in figures:
            pixels = (imread(path)[..., :3] * 255).round().astype(np.uint8)
            image = self._summary.image(f"figures/{path.stem}", pixels, dataformats="HWC")
            self._write(step=round_, summary=image)

    def close(self, completed: bool, stop: StopRequest) -> None:
        self._write_row()
        self._end()

    def _write(self, **content: Any) -> None:
        """Append an event; if that fails, print a notice and continue without TensorBoard."""
        if self._file is None:
            return
        try:
            self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()
        except OSError as error:
            self._give_up(str(error.strerror))

    def _give_up(self, why: str) -> None:
        self._warn(f"TensorBoard: {why}; the run goes on without it")
        self._end()

    def _end(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:  # what is left in its buffer
                self._warn(f"TensorBoard: {error.strerror}; its last entries are missing")


def _table(formulae: list[Row]) -> str:
    """Sampled formulae with their verdicts as a Markdown table."""
    names = list(formulae[0])
    lines = [names, ["---"] * len(names), *([f"`{value}`" for value in row.values()] for row in formulae)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
