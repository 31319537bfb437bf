"""The correct and new formulae that a run wrote: `found.csv`, to which lines are only added.

A line is complete with its line end. What a killed run wrote behind its last checkpoint is dropped when it goes
on, and found again: the file holds every formula once.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from formula_env.algorithm import LogProb
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.experiment.record import FOUND_FILE, read_record
from formula_env.files import append_line, read_text, write_atomically
from formula_env.vocabulary import Tokens, distinct_rows

FOUND_LIMIT = 10**6
"""Formulae that are kept at most."""


@dataclass(frozen=True)
class FoundFormula:
    """A correct formula that is not in the training set."""

    formula: str
    canonical: str
    round: int
    """Round of the evaluation in whose sample it was first."""
    log_prob: float
    """Log-likelihood under the generator of that round, nats; NaN where it is not known."""
    held_out: bool
    """Whether it is one of the formulae that the task keeps from the training."""


HEADER = ",".join(field.name for field in fields(FoundFormula))


def read_found(folder: Path) -> list[FoundFormula]:
    """The formulae that a run has found so far, in the order in which it found them.

    Raises FormulaError where there is no such file, or it is damaged or was altered after the run's end.
    """
    path = folder / FOUND_FILE
    if not path.exists():
        raise FormulaError(f"{folder} holds no {FOUND_FILE}: nothing new and correct was found, or it is no run")
    return _parse(path, _whole_lines(read_record(path)))


def _whole_lines(text: str) -> str:
    return text[: text.rfind("\n") + 1]


def _parse(path: Path, text: str) -> list[FoundFormula]:
    if not text:  # killed while it wrote the first line
        return []
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        if next(rows, None) != HEADER.split(","):
            raise ValueError("its first line is another")
        return [
            FoundFormula(
                formula, canonical, int(round_), float(log_prob), {"True": True, "False": False}[held_out]
            )
            for formula, canonical, round_, log_prob, held_out in rows
        ]
    except (csv.Error, ValueError, KeyError) as error:
        raise FormulaError(f"{path}, line {rows.line_num}: damaged: {error}") from None


class Finder:
    """The writing side of `found.csv`."""

    def __init__(self, folder: Path, evaluator: SequenceEvaluator) -> None:
        self.path, self.evaluator = folder / FOUND_FILE, evaluator
        held_out = evaluator.task.held_out()
        self._held_out = set() if held_out is None else set(evaluator.task.decode(held_out))
        self._known: set[str] = set()

    def take_up(self, round_: int) -> None:
        """Continue after a checkpoint's round. Raises FormulaError if the file is damaged."""
        self._known = set()
        if not self.path.exists():
            return
        text = read_text(self.path)
        rows = [row for row in _parse(self.path, _whole_lines(text)) if row.round <= round_]
        if text != (left := csv_text(rows, header=True)):
            write_atomically(self.path, left)
        self._known = {row.formula for row in rows}

    def add(self, sample: Tokens, log_prob: LogProb | None, round_: int) -> None:
        """Record the correct new formulae of a sample `(n, T)`. Raises FormulaError if it can't be written."""
        task = self.evaluator.task
        tokens = sample[np.sort(distinct_rows(sample)[0])]
        tokens = tokens[self.evaluator.is_novel(tokens)]
        texts = task.decode(tokens)
        is_new = np.array([text not in self._known for text in texts], dtype=bool)
        is_new &= np.cumsum(is_new) <= FOUND_LIMIT - len(self._known)
        if not is_new.any():
            return
        tokens, texts = tokens[is_new], [text for text, new in zip(texts, is_new, strict=True) if new]
        log_probs = np.full(len(texts), math.nan) if log_prob is None else log_prob(tokens)
        rows = [
            FoundFormula(text, canonical, round_, round(value, 4), text in self._held_out)
            for text, canonical, value in zip(texts, task.canonical(texts), log_probs.tolist(), strict=True)
        ]
        append_line(self.path, csv_text(rows, header=not self.path.exists()).removesuffix("\n"))
        self._known.update(texts)


def csv_text(rows: Sequence[FoundFormula], header: bool) -> str:
    """Lines of `found.csv`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if header:
        writer.writerow(HEADER.split(","))
    writer.writerows(astuple(row) for row in rows)
    return buffer.getvalue()
