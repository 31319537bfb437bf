"""Rows of `metrics.jsonl`: a run's metrics, one per evaluation."""

import json
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError

Row = dict[str, Any]


def row_line(row: Row) -> str:
    """A row as a line of the file, without its end."""
    return json.dumps(row, allow_nan=False)


def parse_rows(path: Path, text: str) -> list[Row]:
    """The rows of a file with this text. Raises FormulaError naming a line that is none."""
    return [_parse(line, path, number) for number, line in enumerate(_lines(text), start=1)]


def lines_until(path: Path, text: str, round_: int) -> str:
    """The lines of a text up to those of a round. A crash may leave others behind them, the last cut short.

    Raises FormulaError if another line is damaged.
    """
    whole = text[: text.rfind("\n") + 1]
    rows = parse_rows(path, whole)
    return "".join(f"{line}\n" for line, row in zip(_lines(whole), rows, strict=True) if row["round"] <= round_)


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
