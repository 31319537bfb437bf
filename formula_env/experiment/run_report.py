"""Tables for the terminal: a run's summary, and the metrics of an evaluation."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from formula_env.experiment.rows import Row
from formula_env.experiment.terminal import SafeConsole
from formula_env.metrics import METRICS, jsd_text, metric


@cache
def _thesis_results() -> list[Row]:
    return tomllib.loads(files("formula_env.experiment").joinpath("thesis.toml").read_text())["results"]


def thesis_values(summary: Row) -> tuple[str, dict[str, float]]:
    """The thesis' numbers for a run's task, and whose they are (`thesis.toml`); empty without any."""
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
    """`binary-sum (length 8)`; of a path the file's name alone, and without hashes and options that are empty."""
    shown = {option: value for option, value in options.items() if option != "sha256" and value != ""}
    if "path" in shown:
        shown["path"] = Path(str(shown["path"])).name
    listed = ", ".join(f"{option} {value}" for option, value in shown.items())
    return f"{name} ({listed})" if listed else name


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
    for name in SHOWN:
        entries = [metric_text(name, column) for column in columns.values()]
        if any(entries):
            table.add_row(heading(name, summary), *entries)
    console = SafeConsole()
    console.print(table)
    notes = ["random sampler: draws uniformly over legal symbols."]
    notes += [f"{METRICS[name].label}: {METRICS[name].definition}" for name in EXPLAINED if name in summary]
    if not summary.get("jsd_exact", True):
        notes.append(
            f"~: estimated from {summary['num_samples']:,} samples; of a perfect generator as many give "
            f"{METRICS['jsd_floor'].text(summary['jsd_floor'])} nats on average."
        )
    for note in notes:
        console.print(note, style="dim", highlight=False)


SHOWN = (
    "accuracy", "mse", "marginal_distance", "jsd", "coverage", "num_correct", "effective_number", "uniqueness",
    "novelty", "canonical_novelty", "held_out_mass", "held_out_nll", "validation_nll", "integer_distance",
)  # fmt: skip
"""Metrics of the summary's table, in this order, where a run has them."""

EXPLAINED = ("coverage", "effective_number")
"""Metrics whose definition is printed under the table."""

TOTALS = {"num_correct": "num_formulae", "effective_number": "num_formulae", "coverage": "num_cells"}
"""Metrics with the key of the total that they are part of, where that is known."""


def metric_text(name: str, column: Row) -> str:
    """A metric of an evaluation as text; "" where it has none."""
    if name not in column:
        return ""
    return jsd_text(column) if name == "jsd" else METRICS[name].text(column[name])


def heading(name: str, summary: Row) -> str:
    """`reached (of 70)`"""
    total = summary.get(TOTALS.get(name, ""))
    return METRICS[name].heading if total is None else f"{METRICS[name].heading} (of {_short(total)})"


def _short(total: int) -> str:
    """A whole number, rounded where it has many digits: `12,870`, `9.08e+12`"""
    return f"{total:,}" if total < 10**6 else f"{total:.3g}"


def print_evaluation(metrics: Row) -> None:
    """Print one metric a line, with its unit."""
    table = Table("metric", "value", "unit")
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, metric(name).text(value), metric(name).unit)
    SafeConsole().print(table)
