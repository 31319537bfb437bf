"""Figures of a run, drawn from the files in its folder alone."""

import csv
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from formula_env.experiment.alarms import effective_share
from formula_env.experiment.files import read_text, write_atomically
from formula_env.experiment.report import thesis_values
from formula_env.experiment.rows import Row, read_rows

INK, START, THESIS, RANDOM = "#1f4e8c", "#2e8b57", "#b22222", "#8a8a8a"
MEMORY = {"novelty": "#d98200", "memorised": "#8c564b", "novel_coverage": "#7b3fa0"}
BARS_LIMIT = 100
"""With more correct formulae than this the distribution is drawn sorted, as a line."""


def draw_figures(folder: Path, summary: Row) -> None:
    """Write `figures/training.png` and, where there is a `distribution.csv`, `figures/distribution.png`."""
    rows = read_rows(folder)
    (folder / "figures").mkdir(exist_ok=True)
    _draw(draw_training(rows, summary), folder / "figures" / "training.png")
    distribution = folder / "distribution.csv"
    if distribution.exists():
        entries = list(csv.DictReader(io.StringIO(read_text(distribution))))
        _draw(draw_distribution(entries, summary), folder / "figures" / "distribution.png")


def draw_training(rows: list[Row], summary: Row) -> Figure:
    """Accuracy and JSD over rounds, as in the thesis' Fig 7.3, with all to compare to; variety; and losses."""
    figure, axes = plt.subplots(4, 1, figsize=(8, 11.5), sharex=True, layout="constrained")
    if any("eval/accuracy" in row for row in rows):
        _draw_metric(axes[0], rows, summary, "accuracy", "correct (share)")
        axes[0].set_ylim(0, 1.02)
    else:
        _draw_metric(axes[0], rows, summary, "mse", "MSE of the equation (log scale)")
        axes[0].set_yscale("log")
    axes[0].legend(fontsize=8)
    kind = "exact" if summary["jsd_exact"] else "sampled"
    _draw_metric(axes[1], rows, summary, "jsd", f"JSD (nats, {kind}, log scale)")
    axes[1].set_yscale("log")
    if not summary["jsd_exact"]:
        axes[1].axhline(summary["jsd_floor"], color=INK, ls=":", lw=1)
    _draw_variety(axes[2], rows)
    _draw_losses(axes[3], rows)
    axes[3].set_xlabel("round")
    options = ", ".join(f"{name} {value}" for name, value in summary.get("task_options", {}).items())
    figure.suptitle(f"{summary['algorithm']} on {summary['task']} ({options}), seed {summary['seed']}")
    return figure


def _draw_metric(axis: Axes, rows: list[Row], summary: Row, metric: str, label: str) -> None:
    axis.plot(*_curve(rows, metric), color=INK, lw=1.6, label=summary["algorithm"])
    axis.axhline(summary["random"][metric], color=RANDOM, ls=":", lw=1, label="random sampler")
    axis.axhline(summary["start"][metric], color=START, ls="--", lw=1, label=summary["start_name"])
    _, thesis = thesis_values(summary)
    if metric in thesis:
        axis.axhline(thesis[metric], color=THESIS, ls="-.", lw=1, label=f"thesis ({thesis[metric]:g})")
    axis.set_ylabel(label)
    axis.grid(alpha=0.25)


def _draw_variety(axis: Axes, rows: list[Row]) -> None:
    """What there is of these shares, and where the alarm was raised first."""
    axis.plot(*_curve(rows, "coverage"), color=INK, lw=1.6, label="coverage of the sample")
    effective = [(row["round"], share) for row in rows if (share := effective_share(row)) is not None]
    if effective:
        axis.plot(*zip(*effective, strict=True), color=START, lw=1.4, label="effective number / count")
    if any(row.get("eval/novelty") for row in rows):  # otherwise there is nothing that is not in the training set
        for metric, color in MEMORY.items():
            axis.plot(*_curve(rows, metric), color=color, lw=1.4, label=metric.replace("_", " "))
    alarms = [row["round"] for row in rows if row.get("eval/collapse")]
    if alarms:
        axis.axvline(alarms[0], color=THESIS, ls=":", lw=1.2, label=f"collapsed in round {alarms[0]}")
    axis.set_ylim(-0.02, 1.04)
    axis.set_ylabel("variety (share)")
    axis.grid(alpha=0.25)
    # Six curves leave no room inside.
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _curve(rows: list[Row], metric: str) -> tuple[list[int], list[float]]:
    """The rounds that know this metric of the judge, and its values."""
    known = [row for row in rows if f"eval/{metric}" in row]
    return [row["round"] for row in known], [row[f"eval/{metric}"] for row in known]


def _draw_losses(axis: Axes, rows: list[Row]) -> None:
    for name in ("discriminator/loss", "train/nll"):
        known = [(row["round"], row[name]) for row in rows if name in row]
        if len(known) > 1:
            axis.plot(*zip(*known, strict=True), label=f"{name} (nats)", marker=".", ms=3, lw=1.2)
    if any("discriminator/loss" in row for row in rows):
        axis.axhline(np.log(2), color=RANDOM, ls="--", lw=1, label="log 2: D can't tell")
    axis.set_ylabel("loss (nats)")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)


def draw_distribution(entries: list[dict[str, str]], summary: Row) -> Figure:
    """Generated against true distribution over the correct formulae, as in the thesis' Fig 7.4."""
    names = [entry["formula"] for entry in entries]
    probs = np.array([float(entry["probability"] or "nan") for entry in entries])
    sampled = np.array([int(entry["sampled"]) for entry in entries]) / summary["num_samples"]
    figure, axis = plt.subplots(figsize=(11, 4.2), layout="constrained")
    if len(names) <= BARS_LIMIT:
        positions = np.arange(len(names))
        axis.bar(positions, sampled, color=INK, alpha=0.45, label=f"share of {summary['num_samples']} samples")
        if np.isfinite(probs).all():
            axis.plot(positions, probs, "_", color=INK, ms=7, mew=2, label="probability")
        axis.set_xticks(positions, names, rotation=90, fontsize=6, family="monospace")
        axis.margins(x=0.01)
    else:
        known = np.isfinite(probs).all()
        curve, name = (probs, "probability, sorted") if known else (sampled, "share of the sample, sorted")
        axis.plot(np.sort(curve)[::-1], color=INK, lw=1.6, label=name)
        axis.set_xlabel("correct formulae, most probable first")
    axis.axhline(1 / len(names), color=THESIS, ls="-.", lw=1.2, label=f"true: 1/{len(names)}")
    axis.set_ylabel("probability")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    axis.set_title(f"{summary['algorithm']}: JSD {summary['jsd']:.4f} nats", fontsize=10)
    return figure


def _draw(figure: Figure, path: Path) -> None:
    save_figure(figure, path)
    plt.close(figure)


def save_figure(figure: Figure, path: Path) -> None:
    """Write PNG or SVG, by the path's suffix: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    form = path.suffix.removeprefix(".")
    with plt.rc_context({"svg.hashsalt": "formula-env"}):
        figure.savefig(buffer, format=form, dpi=120, metadata={"Date": None} if form == "svg" else None)
    write_atomically(path, buffer.getvalue())
