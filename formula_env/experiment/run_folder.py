"""The folder of a run: the names and formats of all files that a run leaves behind.

config.yaml            settings, versions and commit (`formula_env.experiment.config`)
metrics.jsonl          a row per evaluation (`formula_env.experiment.rows`)
samples*.txt           formulae with their verdicts: of the end, and of the rounds in `keep_samples`
found.csv              correct formulae that are not in the training set (`formula_env.experiment.found`)
distribution.csv       the correct formulae, their probabilities and counts, where they can be listed
checkpoint-ROUND.pt    the last two (`formula_env.experiment.checkpoint`)
summary.json           written last: where it is, the record is complete
SHA256SUMS             checksums of all but the checkpoints, which have their own (`formula_env.experiment.record`)
figures/               drawn from the rows (`formula_env.experiment.run_figures`)
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError
from formula_env.experiment.checkpoint import (
    checkpoint_path,
    checkpoints,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from formula_env.experiment.record import (
    CONFIG_FILE,
    DISTRIBUTION_FILE,
    FOUND_FILE,
    METRICS_FILE,
    SAMPLES_FILE,
    SUMMARY_FILE,
    SUMS_FILE,
    Sums,
    altered_files,
    checksum,
    read_record,
    read_sums,
    write_sums,
)
from formula_env.experiment.rows import Row, lines_until, parse_rows, row_line
from formula_env.files import (
    append_line,
    exclusive,
    is_unused,
    read_bytes,
    read_text,
    reason,
    remove_leftovers,
    sync_directory,
    write_atomically,
)

SUMMARY_KEYS = {"algorithm", "task", "seed", "rounds", "seconds", "start", "random"}


@dataclass(frozen=True)
class RunFolder:
    """Reading side of a run's folder, without weights or algorithm; `Record` is the side that writes."""

    path: Path

    # --- rows ---

    def rows(self) -> list[Row]:
        """All rows. Raises FormulaError naming a line that is none, or if they were altered afterwards."""
        path = self.path / METRICS_FILE
        return parse_rows(path, read_record(path)) if path.exists() else []

    def newest_row(self) -> Row | None:
        """The last row of a run that may be at work; None where there is none yet, or it is just being written."""
        try:
            return json.loads((self.path / METRICS_FILE).read_text().splitlines()[-1])
        except (OSError, IndexError, ValueError):
            return None

    def rows_until(self, round_: int) -> str:
        """The text of the rows up to a checkpoint's round. Raises FormulaError if one of them is damaged."""
        path = self.path / METRICS_FILE
        return lines_until(path, read_text(path), round_) if path.exists() else ""

    def append_row(self, row: Row) -> str:
        """Add a row; returns its line. Raises FormulaError if it can't be written."""
        line = row_line(row)
        append_line(self.path / METRICS_FILE, line)
        return f"{line}\n"

    def drop_rows_after(self, round_: int) -> None:
        """Take back the rows behind a checkpoint's round. Raises FormulaError."""
        path, left = self.path / METRICS_FILE, self.rows_until(round_)
        if path.exists() and read_text(path) != left:
            write_atomically(path, left)

    # --- results ---

    def summary(self) -> Row | None:
        """The summary of a finished run, None where there is none. Raises FormulaError if it is damaged."""
        path = self.path / SUMMARY_FILE
        if not path.exists():
            return None
        try:
            summary = json.loads(read_record(path))
        except FormulaError:
            raise
        except (ValueError, RecursionError):
            summary = None
        if not isinstance(summary, dict) or not set(summary) >= SUMMARY_KEYS:
            raise FormulaError(f"{path} is damaged: it is no summary of a run")
        return summary

    def samples_path(self, round_: int | None = None) -> Path:
        """The file with the samples of the end, or of a round in `keep_samples`."""
        return self.path / (SAMPLES_FILE if round_ is None else f"samples-{round_:08d}.txt")

    def samples(self, round_: int | None = None) -> list[tuple[str, str]]:
        """Formulae and verdicts of the end, or of a round. Raises FormulaError where they lack or are damaged."""
        path = self.samples_path(round_)
        pairs = [line.split("\t") for line in read_record(path).splitlines()]
        if not all(len(pair) == 2 for pair in pairs):
            raise FormulaError(f"{path} is not a file of samples")
        return [(text, verdict) for text, verdict in pairs]

    def has_distribution(self) -> bool:
        return (self.path / DISTRIBUTION_FILE).exists()

    def distribution(self) -> list[dict[str, str]]:
        """`formula`, `probability` (perhaps empty) and `sampled` of each correct formula. Raises FormulaError."""
        return list(csv.DictReader(io.StringIO(read_record(self.path / DISTRIBUTION_FILE))))

    # --- checkpoints ---

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return checkpoints(self.path)

    def load_checkpoint(self) -> dict[str, Any]:
        """The state of the newest checkpoint that is whole, on the CPU. Raises FormulaError if there is none."""
        return load_checkpoint(self.path)

    def load_checkpoint_of(self, round_: int) -> dict[str, Any]:
        """The state of the checkpoint of a round, on the CPU. Raises FormulaError if it is damaged, or gone."""
        return read_checkpoint(checkpoint_path(self.path, round_))

    def save_checkpoint(self, round_: int, state: dict[str, Any], kept: int | None = None) -> None:
        """Write a checkpoint, and keep it, the one before, and that of the round `kept`.

        Raises FormulaError if it can't be written.
        """
        save_checkpoint(self.path, round_, state, kept)

    # --- checks ---

    def altered_files(self) -> dict[str, str]:
        """The files that were altered since the run ended, each with a line that names it.

        Raises FormulaError if the checksums themselves are damaged.
        """
        return altered_files(self.path)

    def check(self) -> None:
        """Raise FormulaError naming a file that was altered since the run ended."""
        for problem in self.altered_files().values():
            raise FormulaError(problem)

    def check_written(self, sums: Sums, rows: str) -> None:
        """Raise FormulaError if the rows up to a checkpoint, or files before it, differ from its `sums`."""
        for name, known in sums.items():
            data = rows.encode() if name == METRICS_FILE else read_bytes(self.path / name)
            if checksum(data) != known:
                raise FormulaError(
                    f"{self.path / name} was altered since the last checkpoint was saved; put it back as it was, "
                    "or delete the checkpoints to begin the run again"
                )

    def config_was_altered(self) -> bool:
        """Whether `config.yaml` differs from what the run began or was last resumed with, as far as is known."""
        try:
            sums = read_sums(self.path)
            return sums is not None and sums.get(CONFIG_FILE) != checksum(read_bytes(self.path / CONFIG_FILE))
        except FormulaError:
            return True

    def clear(self) -> None:
        """Delete rows, results and checkpoints, so that the run begins again; its settings stay."""
        results = [self.path / name for name in (SUMMARY_FILE, SUMS_FILE, METRICS_FILE, FOUND_FILE)]
        for path in (*results, *self.checkpoints()):
            path.unlink(missing_ok=True)


class Record:
    """The writing side of a run's folder: every file that is written is remembered by its checksum."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        """All rows so far."""
        self._rows_hash = hashlib.sha256()  # of what `metrics.jsonl` must hold by now
        self._config_sum = ""
        self._sums: Sums = {}  # of the other files that are written by now

    @property
    def sums(self) -> Sums:
        """Checksums of the files so far, which a checkpoint keeps."""
        return {**self._sums, METRICS_FILE: self._rows_hash.hexdigest()}

    def restore(self, sums: Sums) -> None:
        """Set the checksums to those of a checkpoint."""
        self._sums = dict(sums)

    def take_up(self, round_: int) -> None:
        """Continue the files after the checkpoint of a round: later rows, which a crash left, are dropped.

        Raises FormulaError, and changes nothing, if one was altered since.
        """
        path = self.folder.path
        text = self.folder.rows_until(round_)
        self.folder.check_written(self._sums, text)
        self._sums.pop(METRICS_FILE, None)
        (path / SUMMARY_FILE).unlink(missing_ok=True)  # first: from here on the record is incomplete
        self._config_sum = checksum(read_bytes(path / CONFIG_FILE))
        write_sums(path, {CONFIG_FILE: self._config_sum})
        self.folder.drop_rows_after(round_)
        self.rows, self._rows_hash = parse_rows(path / METRICS_FILE, text), hashlib.sha256(text.encode())

    def write_row(self, row: Row) -> None:
        """Add a row to `metrics.jsonl`."""
        self.rows.append(row)
        self._rows_hash.update(self.folder.append_row(row).encode())

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the record, and remember its checksum."""
        data = content.encode() if isinstance(content, str) else content
        write_atomically(self.folder.path / name, data)
        self._sums[name] = checksum(data)

    def write_samples(self, described: list[Row], round_: int | None = None) -> None:
        """One formula a line, then a tab and the verdict; `described` by the evaluator."""
        lines = [f"{row['formula']}\t{_verdict(row)}\n" for row in described]
        self.write(self.folder.samples_path(round_).name, "".join(lines))

    def write_distribution(self, bars: list[Row]) -> None:
        """`distribution.csv`, from the histogram of the evaluator; no file where that is empty."""
        if bars:
            probs = ["" if bar["probability"] is None else f"{bar['probability']:.9g}" for bar in bars]
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(("formula", "probability", "sampled"))
            writer.writerows((bar["formula"], p, bar["sampled"]) for bar, p in zip(bars, probs, strict=True))
            self.write(DISTRIBUTION_FILE, buffer.getvalue())

    def write_summary(self, summary: Row) -> None:
        """Checksums first: where there is a summary, the record is complete."""
        document = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        last = {CONFIG_FILE: self._config_sum, SUMMARY_FILE: checksum(document.encode())}
        if (found := self.folder.path / FOUND_FILE).exists():
            last[FOUND_FILE] = checksum(read_bytes(found))
        write_sums(self.folder.path, self.sums | last)
        write_atomically(self.folder.path / SUMMARY_FILE, document)


def _verdict(row: Row) -> str:
    if "error" in row:
        return f"error {row['error']:.4f}"
    return "correct" if row["correct"] else "wrong"


# --- new folders ----------------------------------------------------------------------------------------------


@contextmanager
def default_run_folder(name: str) -> Iterator[Path]:
    """Make `runs/NAME`, or `runs/NAME-2` and so on where that is taken; remove it again if nothing was written.

    Of several processes that ask for the same name at once each gets another folder.
    """
    for number in count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise FormulaError(f"cannot make the folder {folder}: {reason(error)}") from None
        try:
            yield folder
        finally:
            with suppress(OSError):  # it is not empty: the run is in it
                folder.rmdir()
        return


@contextmanager
def new_run_folder(folder: Path) -> Iterator[None]:
    """Make a folder for a new run, and hold it. Raises FormulaError if it is taken or can't be made.

    What a process left behind that was killed before it had written the settings is cleared away.
    """
    if str(folder) in ("", "."):
        raise FormulaError("--out is empty or this very folder; give one to make, such as --out runs/first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {folder}: {reason(error)}") from None
    with exclusive(folder):
        if (folder / CONFIG_FILE).exists():
            raise FormulaError(f"{folder} holds a run already; continue it with: formula-env resume {folder}")
        if not is_unused(folder):
            raise FormulaError(f"{folder} is not empty; give another folder with --out")
        remove_leftovers(folder)
        sync_directory(folder.parent)
        yield
