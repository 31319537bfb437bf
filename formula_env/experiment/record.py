"""A run's record: the files that it leaves behind, and `SHA256SUMS`, which tells whether one was altered since.

`SHA256SUMS` is in the format of `sha256sum -c`. From a run's start it lists `config.yaml`, from its end the whole
record. Records without it are from before there were checksums; they are read as they are.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError
from formula_env.files import read_bytes, read_text, write_atomically

SUMS_FILE = "SHA256SUMS"
CONFIG_FILE, METRICS_FILE, SUMMARY_FILE = "config.yaml", "metrics.jsonl", "summary.json"
SAMPLES_FILE, DISTRIBUTION_FILE = "samples.txt", "distribution.csv"
RECORD = (CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, "samples*.txt", DISTRIBUTION_FILE, "*.zip")
"""Patterns of the files that the `SHA256SUMS` of a finished run must list, where they are there."""

SUMMARY_KEYS = {"algorithm", "task", "seed", "rounds", "seconds", "jsd", "start", "random"}

Sums = dict[str, str]
"""SHA-256 in hexadecimal, by the name of the file."""


def samples_file(round_: int) -> str:
    """Name of the file with the samples of a round."""
    return f"samples-{round_:08d}.txt"


def checksum(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_sums(folder: Path, sums: Sums) -> None:
    """Write `SHA256SUMS`. Raises FormulaError if it can't be written."""
    write_atomically(folder / SUMS_FILE, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def read_sums(folder: Path) -> Sums | None:
    """The checksums of a folder, None if it has none. Raises FormulaError if they are damaged."""
    path = folder / SUMS_FILE
    if not path.exists():
        return None
    text = read_text(path)
    if not re.fullmatch(r"([0-9a-f]{64}  [^/\n]+\n)+", text):
        raise FormulaError(f"{path} is damaged: it is no list of checksums")
    return {line[66:]: line[:64] for line in text.split("\n")[:-1]}


def read_record(path: Path) -> str:
    """The text of a file of a record. Raises FormulaError if it can't be read or was altered."""
    data = read_bytes(path)
    problem = _problem(path, data, read_sums(path.parent))
    if problem is not None:
        raise FormulaError(problem)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormulaError(f"{path} is damaged: it is not UTF-8 text") from None


def altered_files(folder: Path) -> dict[str, str]:
    """The files of a record that were altered since the run ended, each with a line that says so.

    Raises FormulaError if the checksums themselves are damaged.
    """
    sums = read_sums(folder)
    if sums is None:
        return {}
    there = {path.name for pattern in RECORD for path in folder.glob(pattern)}
    there |= {name for name in sums if (folder / name).exists()}  # git keeps no exports
    problems = {name: _problem(folder / name, read_bytes(folder / name), sums) for name in sorted(there)}
    return {name: problem for name, problem in problems.items() if problem is not None}


def check_record(folder: Path) -> None:
    """Raise FormulaError naming a file of a record that was altered since the run ended."""
    for problem in altered_files(folder).values():
        raise FormulaError(problem)


def check_files(folder: Path, sums: Sums, rows: str) -> None:
    """Raise FormulaError if the rows up to a checkpoint, or files written before it, are not as it knows them."""
    for name, known in sums.items():
        data = rows.encode() if name == METRICS_FILE else read_bytes(folder / name)
        if checksum(data) != known:
            raise FormulaError(
                f"{folder / name} was altered since the last checkpoint was saved; put it back as it was, or "
                "delete the checkpoints to begin the run again"
            )


def config_was_altered(folder: Path) -> bool:
    """Whether `config.yaml` is not what it was when the run began or was last resumed, as far as can be known."""
    try:
        sums = read_sums(folder)
        return sums is not None and sums.get(CONFIG_FILE) != checksum(read_bytes(folder / CONFIG_FILE))
    except FormulaError:
        return True


def kept_samples(folder: Path) -> Sums:
    """The checksums of the samples of single rounds, as they are now."""
    return {path.name: checksum(read_bytes(path)) for path in folder.glob("samples-*.txt")}


def _problem(path: Path, data: bytes, sums: Sums | None) -> str | None:
    """What is wrong with a file that holds these bytes. Of a run that goes on, not all files are listed yet."""
    if sums is None:
        return None
    if path.name in sums:
        same = checksum(data) == sums[path.name]
        return None if same else f"{path} was altered since the run wrote it: it does not match {SUMS_FILE}"
    complete = (path.parent / SUMMARY_FILE).exists()
    return f"{path.parent / SUMS_FILE} is damaged: it lacks {path.name}" if complete else None


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of a finished run, None where there is none. Raises FormulaError if it is damaged."""
    path = folder / SUMMARY_FILE
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
