"""`metrics.jsonl`: a run's metrics, one row per evaluation."""

import json
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError
from formula_env.files import append_line, read_text, write_atomically

METRICS_FILE = "metrics.jsonl"

Row = dict[str, Any]


def append_row(folder: Path, row: Row) -> None:
    """Add a row. Raises FormulaError if it can't be written."""
    append_line(folder / METRICS_FILE, json.dumps(row, allow_nan=False))


def read_rows(folder: Path) -> list[Row]:
    """All rows; raises FormulaError naming a line that is none."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    return [_parse(line, path, number) for number, line in enumerate(read_text(path).splitlines(), start=1)]


def drop_rows_after(folder: Path, round_: int) -> None:
    """Take back the rows that a crash left behind the checkpoint of a round, the last of them perhaps cut short.

    Raises FormulaError, and leaves the file alone, if another line is damaged.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return
    lines = read_text(path).splitlines()
    kept = rows_until(folder, round_)
    if len(kept) < len(lines):
        write_atomically(path, "".join(f"{line}\n" for line in lines[: len(kept)]))


def rows_until(folder: Path, round_: int) -> list[Row]:
    """The rows up to a round; the last line may be cut short. Raises FormulaError naming another that is none."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    text = read_text(path)
    lines = text.splitlines()
    if lines and not text.endswith("\n"):
        lines.pop()
    rows = [_parse(line, path, number) for number, line in enumerate(lines, start=1)]
    return [row for row in rows if row["round"] <= round_]


def _parse(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("round"), int):
        raise FormulaError(f"{path}, line {number}, is not a row of metrics; mend or delete it")
    return row
