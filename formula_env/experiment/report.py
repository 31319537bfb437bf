"""Tables for the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from formula_env.experiment.rows import Row

THESIS = {("binary-sum", 8): {"accuracy": 0.97, "jsd": 0.03}}
"""What the thesis reports for SeqGAN (its Fig 7.3 and eq. 7.4), by task and length."""


def thesis_values(summary: Row) -> dict[str, float]:
    """The thesis' figures for a run's task; empty where it has none."""
    return THESIS.get((summary["task"], summary.get("task_options", {}).get("length")), {})


def print_summary(summary: Row) -> None:
    """Random sampler, start and end of a run, side by side, and the thesis where it has figures."""
    algorithm = summary["algorithm"]
    columns: dict[str, Row] = {"random sampler": summary["random"]}
    columns[summary["start_name"]] = summary["start"]
    columns[f"after {algorithm}"] = summary
    if thesis_values(summary):
        columns["thesis (SeqGAN)"] = thesis_values(summary)
    table = Table(title=f"{algorithm} on {summary['task']}, seed {summary['seed']}", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for label, metric in (
        ("accuracy", _share("accuracy")),
        ("JSD (nats)", _jsd),
        ("coverage", _coverage),
        ("uniqueness", _share("uniqueness")),
        ("novelty", _share("novelty")),
    ):
        table.add_row(label, *(metric(column) for column in columns.values()))
    console = Console()
    console.print(table)
    if not summary["jsd_exact"]:
        console.print(f"JSD is sampled; a perfect generator scores {summary['jsd_floor']:.4f} on average.")


def print_evaluation(metrics: Row) -> None:
    """One metric a line."""
    table = Table(show_header=False)
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    Console().print(table)


def _share(name: str) -> Any:
    return lambda column: f"{column[name]:.2%}" if name in column else ""


def _jsd(column: Row) -> str:
    if "jsd" not in column:
        return ""
    return f"{column['jsd']:.4f}" + ("" if column.get("jsd_exact", True) else " (sampled)")


def _coverage(column: Row) -> str:
    if "coverage" not in column:
        return ""
    return f"{column['num_correct']}/{column['num_formulae']}"
