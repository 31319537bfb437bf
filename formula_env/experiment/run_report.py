"""What is printed of one run: its summary, and the metrics of an evaluation."""

import tomllib
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from rich.table import Table
from rich.text import Text

from formula_env.experiment.rows import Row
from formula_env.experiment.terminal import SafeConsole


@cache
def _thesis_results() -> list[Row]:
    return tomllib.loads(files("formula_env.experiment").joinpath("thesis.toml").read_text())["results"]


def thesis_values(summary: Row) -> tuple[str, dict[str, float]]:
    """Whose result it is, and the thesis' numbers for a run's task (`thesis.toml`); empty where it has none."""
    for result in _thesis_results():
        options = summary.get("task_options", {}).items()
        if summary["task"] == result["task"] and result["task_options"].items() <= options:
            return result["name"], result["metrics"]
    return "", {}


def run_name(summary: Row) -> str:
    """`ppo on binary-sum (length 8), seed 0`"""
    task = task_name(summary["task"], summary.get("task_options", {}))
    return f"{summary['algorithm']} on {task}, seed {summary['seed']}"


def task_name(name: str, options: dict[str, Any]) -> str:
    """`binary-sum (length 8)`"""
    told = ", ".join(f"{option} {value}" for option, value in options.items())
    return f"{name} ({told})" if told else name


def print_summary(summary: Row) -> None:
    """Print the random sampler, start and end of a run side by side, and the thesis where it has figures."""
    columns: dict[str, Row] = {"random sampler": summary["random"]}
    columns[summary["start_name"]] = summary["start"]
    columns["trained"] = summary
    name, values = thesis_values(summary)
    if values:
        columns[name] = values
    table = Table("", title=Text(run_name(summary)), title_justify="left", padding=(0, 1))
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    total = summary["num_formulae"] if "num_formulae" in summary else summary["num_cells"]
    for label, metric in METRICS:
        entries = [metric(column) for column in columns.values()]
        if any(entries):
            table.add_row(label.format(total=_short(total)), *entries)
    console = SafeConsole()
    console.print(table)
    notes = [note for metric, note in NOTES.items() if metric in summary]
    if not summary["jsd_exact"]:
        notes.append(
            f"~: estimated from {summary['num_samples']:,} samples; of a perfect generator as many give "
            f"{summary['jsd_floor']:.4f} nats on average."
        )
    for note in notes:
        console.print(note, style="dim", highlight=False)


NOTES = {
    "random": "random sampler: draws uniformly over legal symbols.",
    "coverage": "coverage: the correct formulae, or cells of vectors, that the sample reaches.",
    "effective_number": "effectively: how many formulae, all equally probable, would be as varied.",
}
"""What an entry of the summary means that its name does not say, by metric."""


def print_evaluation(metrics: Row) -> None:
    """Print one metric a line, with its unit."""
    table = Table("metric", "value", "unit")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        number = f"{value:.6g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
        table.add_row(name, number, UNITS.get(name, ""))
    SafeConsole().print(table)


UNITS = {
    "accuracy": "share of the generator's mass",
    "jsd": "nats",
    "jsd_exact": "",
    "jsd_floor": "nats",
    "coverage": "share of all",
    "num_correct": "formulae",
    "num_formulae": "formulae",
    "num_cells": "cells",
    "num_samples": "formulae",
    "uniqueness": "share of the sample",
    "novelty": "share of the generator's mass",
    "memorised": "share of the generator's mass",
    "novel_coverage": "share of the unseen",
    "entropy": "nats",
    "nll": "nats",
    "kl": "nats",
    "reverse_kl": "nats",
    "effective_number": "formulae",
    "ratio_error": "nats",
    "ratio_correlation": "from -1 to 1",
    "calibration_error": "difference of probabilities",
    "mse": "squared number",
    "marginal_distance": "number",
    "integer_distance": "number",
}
"""The unit of each metric of an evaluation; `evaluators` says what they mean."""


def share(value: float) -> str:
    """A share as the summary and the progress line write it: `98.10%`"""
    return f"{value:.2%}"


def nats(value: float, is_exact: bool = True) -> str:
    """A divergence as both write it: `0.0213`; `~0.0213` if it is estimated from a sample"""
    return f"{'' if is_exact else '~'}{value:.4f}"


def number(value: float) -> str:
    """A number of a vector task as both write it: `0.00478`"""
    return f"{value:.3g}"


def _entry(name: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda column: write(column[name]) if name in column else ""


def _jsd(column: Row) -> str:
    return nats(column["jsd"], column.get("jsd_exact", True)) if "jsd" in column else ""


def _coverage(column: Row) -> str:
    if "coverage" not in column:
        return ""
    total = column["num_formulae"] if "num_formulae" in column else column["num_cells"]
    return f"{round(column['coverage'] * total):,}"


def _short(total: int) -> str:
    """A whole number, rounded where it has many digits: `601,080,390`, `9.08e+12`"""
    return f"{total:,}" if total < 10**6 else f"{total:.3g}"


METRICS: list[tuple[str, Callable[[Row], str]]] = [
    ("accuracy", _entry("accuracy", share)),
    ("MSE of a + b - c", _entry("mse", number)),
    ("distance of a, b", _entry("marginal_distance", number)),
    ("JSD (nats)", _jsd),
    ("coverage (of {total})", _coverage),
    ("effectively (of {total})", _entry("effective_number", "{:,.1f}".format)),
    ("uniqueness", _entry("uniqueness", share)),
    ("novelty", _entry("novelty", share)),
    ("to next integer", _entry("integer_distance", number)),
]
"""Rows of the summary, as label and how a column is written there."""
