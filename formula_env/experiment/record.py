"""Names and checksums of the files of a record; `SHA256SUMS` shows whether one was altered since it was written.

`SHA256SUMS` is in the format of `sha256sum -c`. From a run's start it lists `config.yaml`, from its end the whole
record. Records without it are from before there were checksums; they are read as they are.
"""

import hashlib
import re
from pathlib import Path

from formula_env.errors import FormulaError
from formula_env.files import read_bytes, read_text, write_atomically

SUMS_FILE = "SHA256SUMS"
CONFIG_FILE, METRICS_FILE, SUMMARY_FILE = "config.yaml", "metrics.jsonl", "summary.json"
SAMPLES_FILE, DISTRIBUTION_FILE, FOUND_FILE = "samples.txt", "distribution.csv", "found.csv"
RECORD = (CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, "samples*.txt", DISTRIBUTION_FILE, FOUND_FILE, "*.zip")
"""Patterns of the files that the `SHA256SUMS` of a finished run must list, where they are there."""

Sums = dict[str, str]
"""SHA-256 in hexadecimal, by the name of the file."""


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
    """The files of a record that were altered since the run ended, each with the line to print.

    Raises FormulaError if the checksums themselves are damaged.
    """
    sums = read_sums(folder)
    if sums is None:
        return {}
    there = {path.name for pattern in RECORD for path in folder.glob(pattern)}
    there |= {name for name in sums if (folder / name).exists()}  # git keeps no exports
    problems = {name: _problem(folder / name, read_bytes(folder / name), sums) for name in sorted(there)}
    return {name: problem for name, problem in problems.items() if problem is not None}


def _problem(path: Path, data: bytes, sums: Sums | None) -> str | None:
    """The problem of a file with these bytes, or None. In an unfinished run not all files are listed yet."""
    if sums is None:
        return None
    if path.name in sums:
        same = checksum(data) == sums[path.name]
        return None if same else f"{path} was altered since the run wrote it: it does not match {SUMS_FILE}"
    complete = (path.parent / SUMMARY_FILE).exists()
    return f"{path.parent / SUMS_FILE} is damaged: it lacks {path.name}" if complete else None
