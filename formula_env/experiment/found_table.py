"""The formulae that a run has found, as text, a table or a page."""

import html
import math
from collections.abc import Callable, Sequence
from typing import Literal

from formula_env.experiment.found import FoundFormula, csv_text
from formula_env.tasks.base import BaseTask

Order = Literal["log-prob", "length", "round"]
FoundFormat = Literal["text", "csv", "latex", "html"]

ORDERS: dict[Order, Callable[[FoundFormula], float]] = {
    "log-prob": lambda row: math.inf if math.isnan(row.log_prob) else -row.log_prob,
    "length": lambda row: len(row.formula),
    "round": lambda row: row.round,
}


def in_order(rows: Sequence[FoundFormula], order: Order) -> list[FoundFormula]:
    """Found formulae sorted: the most probable first, or the shortest, or the oldest."""
    return sorted(rows, key=ORDERS[order])


def found_table(rows: Sequence[FoundFormula], form: Literal["text", "csv", "html"]) -> str:
    """Found formulae one a line, as a CSV table, or as a page of HTML."""
    if form == "text":
        return "".join(f"{row.formula}\n" for row in rows)
    if form == "csv":
        return csv_text(rows, header=True)
    return _html(rows)


def latex_table(task: BaseTask, rows: Sequence[FoundFormula]) -> str:
    """Found formulae of a task as a table for a LaTeX document."""
    lines = [f"${task.to_latex(row.formula)}$ & {row.round} & {_number(row)} \\\\" for row in rows]
    return "\n".join(
        [
            r"\begin{tabular}{lrr}",
            r"formula & round & $\log \pi$ \\ \hline",
            *lines,
            r"\end{tabular}",
            "",
        ]
    )


def _html(rows: Sequence[FoundFormula]) -> str:
    cells = [(row.formula, row.canonical, row.round, _number(row), "yes" if row.held_out else "") for row in rows]
    body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in cells)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Found formulae</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
td, th {{ padding: 0.2em 1em; text-align: left; border-bottom: 1px solid #ccc; }}
td:first-child {{ font-family: monospace; }}
</style>
<h1>{len(rows):,} formulae that are correct and not in the training set</h1>
<table>
<tr><th>formula</th><th>canonical form</th><th>round</th><th>log π, nats</th><th>held out</th></tr>
{body}
</table>
</html>
"""


def _number(row: FoundFormula) -> str:
    return "" if math.isnan(row.log_prob) else f"{row.log_prob:.2f}"
