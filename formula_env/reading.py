"""Formulae in a user's file: one a line, or in a column of a CSV table."""

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError, reason

MAX_BYTES: Final = 2**30
"""Size of a file at most."""

MAX_CHARACTERS: Final = 1_000
"""Characters of a formula at most."""

MAX_SYMBOLS: Final = 10_000
"""Different symbols at most."""


@dataclass(frozen=True)
class Lines:
    """The formulae of a file, without white space, in their order."""

    path: Path
    texts: list[str]
    numbers: NDArray[np.int64]
    """The line `(n,)` on which each stands, from 1."""
    sha256: str
    """Hash of the file's bytes, in hexadecimal."""


def read_lines(path: Path, column: str = "") -> Lines:
    """The formulae of a text file, one a line; of a CSV table, those of a column. Blank lines are left out.

    Raises FormulaError, with the line's number, for what is not UTF-8 text (a byte order mark is fine), for a
    formula with control characters or with more than `MAX_CHARACTERS`, and for a file without formulae.
    """
    data = _bytes(path)
    text = _decoded(path, data)
    numbered = _column(path, text, column) if column else enumerate(text.split("\n"), 1)
    numbers: list[int] = []
    texts: list[str] = []
    for number, line in numbered:
        if not (formula := "".join(line.split())):
            continue
        if len(formula) > MAX_CHARACTERS:
            raise FormulaError(
                f"{path}, line {number}: {len(formula):,} characters; a formula has at most {MAX_CHARACTERS:,}"
            )
        if not formula.isprintable():
            raise FormulaError(f"{path}, line {number}: {formula[:40]!r} holds control characters")
        numbers.append(number)
        texts.append(formula)
    if not texts:
        raise FormulaError(f"{path} holds no formula; write one on each line")
    return Lines(path, texts, np.array(numbers), hashlib.sha256(data).hexdigest())


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise FormulaError(f"{path} is no file" if path.exists() else f"{path} does not exist")
        if path.stat().st_size > MAX_BYTES:
            raise FormulaError(f"{path} has more than {MAX_BYTES >> 20:,} MiB; split it")
        return path.read_bytes()
    except OSError as error:
        raise FormulaError(f"cannot read {path}: {reason(error)}") from None


def _decoded(path: Path, data: bytes) -> str:
    if (place := data.find(b"\0")) >= 0:
        raise FormulaError(f"{path}, line {_line(data, place)}: a NUL byte; the file must be UTF-8 text")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise FormulaError(f"{path}, line {_line(data, error.start)}: not UTF-8; save the file as UTF-8") from None


def _line(data: bytes, place: int) -> int:
    before = data[:place]
    return before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n") + 1


def _column(path: Path, text: str, column: str) -> Iterable[tuple[int, str]]:
    """The cells of a column, each with its line."""
    rows = csv.reader(text.split("\n"), strict=True)
    try:
        header = next(rows, [])
        if column not in header:
            raise FormulaError(f"{path} has no column {column!r}; its first line names {', '.join(header)}")
        place = header.index(column)
        for row in rows:
            if row and len(row) <= place:
                raise FormulaError(f"{path}, line {rows.line_num}: no column {column!r}, only {len(row)} cells")
            if row:
                yield rows.line_num, row[place]
    except csv.Error as error:
        raise FormulaError(f"{path}, line {rows.line_num}: no CSV: {error}") from None


# --- symbols --------------------------------------------------------------------------------------------------

REGEX: Final = "regex:"
"""Prefix of a rule for symbols that is a regular expression, which matches one symbol."""


def split_rule(rule: str) -> "re.Pattern[str] | None":
    """The expression that matches one symbol; None where each character is one.

    Args:
        rule: "", symbols separated by blanks, or `regex:EXPRESSION`.
    """
    if not rule:
        return None
    try:
        if rule.startswith(REGEX):
            return re.compile(rule.removeprefix(REGEX))
        return re.compile("|".join(re.escape(symbol) for symbol in sorted(rule.split(), key=len, reverse=True)))
    except (re.error, RecursionError, OverflowError) as error:
        raise FormulaError(f"tokens: {rule!r} is no regular expression: {error}") from None


def split_symbols(lines: Lines, rule: str) -> list[list[str]]:
    """The symbols of each formula; raises FormulaError, with the line, where the rule leaves characters over."""
    pattern = split_rule(rule)
    assert pattern is not None
    split = [[match.group() for match in pattern.finditer(text) if match.group()] for text in lines.texts]
    for number, text, symbols in zip(lines.numbers.tolist(), lines.texts, split, strict=True):
        if len(text) != sum(map(len, symbols)):
            left = text
            for symbol in symbols:
                left = left.replace(symbol, "", 1)
            raise FormulaError(
                f"{lines.path}, line {number}: {left[:20]!r} in {text[:40]!r} is none of the tokens"
            )
    return split
