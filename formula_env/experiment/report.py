"""Tables for the terminal."""

from typing import Any

from rich.table import Table

from formula_env.experiment.rows import Row
from formula_env.experiment.terminal import SafeConsole

THESIS = {
    "thesis (SeqGAN)": ("binary-sum", {"length": 8}, {"accuracy": 0.97, "jsd": 0.03}),
    "thesis (vanilla GAN)": ("integer-sum", {"largest": 10}, {"mse": 3.94e-4}),
}
"""What the thesis reports (its Fig 7.3 and eq. 7.4; section 4.2), by task and options."""


def thesis_values(summary: Row) -> tuple[str, dict[str, float]]:
    """Whose result it is, and the thesis' figures for a run's task; empty where it has none."""
    for name, (task, options, values) in THESIS.items():
        if summary["task"] == task and options.items() <= summary.get("task_options", {}).items():
            return name, values
    return "", {}


def print_summary(summary: Row) -> None:
    """Random sampler, start and end of a run, side by side, and the thesis where it has figures."""
    algorithm = summary["algorithm"]
    columns: dict[str, Row] = {"random sampler": summary["random"]}
    columns[summary["start_name"]] = summary["start"]
    columns[f"after {algorithm}"] = summary
    name, values = thesis_values(summary)
    if values:
        columns[name] = values
    table = Table(title=f"{algorithm} on {summary['task']}, seed {summary['seed']}", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for label, metric in METRICS:
        entries = [metric(column) for column in columns.values()]
        if any(entries):
            table.add_row(label, *entries)
    console = SafeConsole()
    console.print(table)
    if not summary["jsd_exact"]:
        console.print(f"JSD is sampled; a perfect generator scores {summary['jsd_floor']:.4f} on average.")


def print_evaluation(metrics: Row) -> None:
    """One metric a line."""
    table = Table(show_header=False)
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    SafeConsole().print(table)


def _share(name: str) -> Any:
    return lambda column: f"{column[name]:.2%}" if name in column else ""


def _jsd(column: Row) -> str:
    if "jsd" not in column:
        return ""
    return f"{column['jsd']:.4f}" + ("" if column.get("jsd_exact", True) else " (sampled)")


def _coverage(column: Row) -> str:
    if "coverage" not in column:
        return ""
    total = column["num_formulae"] if "num_formulae" in column else column["num_cells"]
    return f"{round(column['coverage'] * total)}/{total}"


def _effective(column: Row) -> str:
    if "effective_number" not in column:
        return ""
    return f"{column['effective_number']:.1f}/{column['num_formulae']}"


def _number(name: str) -> Any:
    return lambda column: f"{column[name]:.3g}" if name in column else ""


METRICS: list[tuple[str, Any]] = [
    ("accuracy", _share("accuracy")),
    ("MSE of a + b - c", _number("mse")),
    ("distance of a, b", _number("marginal_distance")),
    ("JSD (nats)", _jsd),
    ("coverage", _coverage),
    ("effectively", _effective),
    ("uniqueness", _share("uniqueness")),
    ("novelty", _share("novelty")),
    ("to next integer", _number("integer_distance")),
]
"""Rows of the summary, as label and how a column is written there."""
