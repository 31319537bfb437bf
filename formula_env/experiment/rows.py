"""`metrics.jsonl`: a run's metrics, one row per evaluation."""

import json
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError
from formula_env.experiment.record import METRICS_FILE, read_record
from formula_env.files import append_line, read_text, write_atomically

Row = dict[str, Any]


def append_row(folder: Path, row: Row) -> str:
    """Add a row; returns its line. Raises FormulaError if it can't be written."""
    line = json.dumps(row, allow_nan=False)
    append_line(folder / METRICS_FILE, line)
    return f"{line}\n"


def read_rows(folder: Path) -> list[Row]:
    """All rows. Raises FormulaError naming a line that is none, or if they were altered since the run ended."""
    path = folder / METRICS_FILE
    return parse_rows(path, read_record(path)) if path.exists() else []


def parse_rows(path: Path, text: str) -> list[Row]:
    """The rows of a file with this text. Raises FormulaError naming a line that is none."""
    return [_parse(line, path, number) for number, line in enumerate(_lines(text), start=1)]


def rows_until(folder: Path, round_: int) -> str:
    """The text of the rows up to a checkpoint's round. A crash may leave others behind them, the last cut short.

    Raises FormulaError if another line is damaged.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return ""
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]
    rows = parse_rows(path, whole)
    return "".join(f"{line}\n" for line, row in zip(_lines(whole), rows, strict=True) if row["round"] <= round_)


def drop_rows_after(folder: Path, round_: int) -> str:
    """Take back the rows behind a checkpoint's round; returns the text that is left. Raises FormulaError."""
    path, left = folder / METRICS_FILE, rows_until(folder, round_)
    if path.exists() and read_text(path) != left:
        write_atomically(path, left)
    return left


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _parse(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("round"), int):
        raise FormulaError(f"{path}, line {number}, is not a row of metrics; mend or delete it")
    return row
