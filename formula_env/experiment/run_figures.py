"""Figures of a run, drawn from the files in its folder alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from formula_env.experiment.alarms import effective_share
from formula_env.experiment.drawing import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    SMALL,
    STYLES,
    legend_below,
    legend_beside,
    own_style,
    save_figure,
    set_log_scale,
    set_title,
)
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.run_report import run_name, thesis_values
from formula_env.metrics import METRICS, row_key

LOSSES = ("discriminator/loss", "train/nll")
"""Losses, in nats, that a run may have."""
MEMORY = ("novelty", "memorised", "novel_coverage")
"""Metrics of new formulae, and of memorised ones."""
BARS_LIMIT = 100
"""Correct formulae beyond which a distribution is drawn sorted, as a line."""
FEW_ROWS = 30
"""Rows up to which each is marked by a dot; a single one is no line."""


def draw_figures(folder: RunFolder, summary: Row) -> None:
    """Write `figures/training` and, where there is a `distribution.csv`, `figures/distribution`; PNG and SVG."""
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    with own_style():
        save_figure(draw_training(folder.rows(), summary), figures / "training")
        if folder.has_distribution():
            save_figure(draw_distribution(folder.distribution(), summary), figures / "distribution")


def draw_training(rows: list[Row], summary: Row) -> Figure:
    """Accuracy and JSD over rounds, as in the thesis' Fig 7.3, with all to compare to; variety; and losses.

    A panel of losses is there only for a run that has any.
    """
    losses = [name for name in LOSSES if any(name in row for row in rows)]
    num_panels = 4 if losses else 3
    figure = Figure(figsize=(10, 2.6 * num_panels + 0.6), layout="constrained")
    axes = figure.subplots(num_panels, 1, sharex=True)
    if _curve(rows, "accuracy")[0]:
        _draw_metric(axes[0], rows, summary, "accuracy")
        axes[0].set_ylim(-0.02, 1.04)
    else:
        _draw_metric(axes[0], rows, summary, "mse", "log scale")
        set_log_scale(axes[0], _curve(rows, "mse")[1])
    _draw_divergence(axes[1], rows, summary)
    _draw_variety(axes[2], rows)
    if losses:
        _draw_losses(axes[3], rows, losses)
    for axis in axes:
        axis.grid(alpha=0.25)
        legend_beside(axis)
    axes[-1].set_xlabel("round")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    set_title(figure, run_name(summary))
    return figure


def _draw_divergence(axis: Axes, rows: list[Row], summary: Row) -> None:
    """Draw the JSD; where the distribution to be learnt isn't known, the NLL of held-out formulae."""
    if "jsd" not in summary:
        _draw_metric(axis, rows, summary, "held_out_nll")
        return
    kind = "exact" if summary["jsd_exact"] else "sampled"
    _draw_metric(axis, rows, summary, "jsd", kind, "log scale")
    set_log_scale(axis, _curve(rows, "jsd")[1])
    if not summary["jsd_exact"]:
        floor = summary["jsd_floor"]
        axis.axhline(
            floor, color=BLUE, ls=":", lw=1, label=f"perfect generator, mean ({METRICS['jsd_floor'].text(floor)})"
        )


def _draw_metric(axis: Axes, rows: list[Row], summary: Row, metric: str, *notes: str) -> None:
    """Draw a metric with all to compare it to; `notes` on its axis."""
    rounds, values = _curve(rows, metric)
    axis.plot(rounds, values, color=BLUE, lw=1.6, marker=_marker(values), ms=4, label=summary["algorithm"])
    others = {"random": (GREY, ":", "random sampler"), "start": (ORANGE, "--", summary["start_name"])}
    for name, (colour, style, label) in others.items():
        if metric in summary[name]:
            axis.axhline(summary[name][metric], color=colour, ls=style, lw=1.2, label=label)
    _, thesis = thesis_values(summary)
    if metric in thesis:
        axis.axhline(
            thesis[metric], color=BLACK, ls="-.", lw=1.2, label=f"thesis ({METRICS[metric].text(thesis[metric])})"
        )
    axis.set_ylabel(METRICS[metric].axis(*notes))


def _draw_variety(axis: Axes, rows: list[Row]) -> None:
    """Draw what there is of these shares, and where the alarm was raised first."""
    curves = {"coverage of the sample": _curve(rows, "coverage")}
    effective = [(row["round"], share) for row in rows if (share := effective_share(row)) is not None]
    if effective:
        rounds, shares = zip(*effective, strict=True)
        curves["effective number / count"] = list(rounds), list(shares)
    if any(_curve(rows, "novelty")[1]):  # otherwise there is nothing that is not in the training set
        curves |= {METRICS[metric].label: _curve(rows, metric) for metric in MEMORY}
    for (label, (rounds, values)), colour, style in zip(curves.items(), COLOURS, STYLES, strict=False):
        if values:
            axis.plot(rounds, values, color=colour, ls=style, lw=1.5, marker=_marker(values), ms=4, label=label)
    alarms = [row["round"] for row in rows if row.get(row_key("collapse"))]
    if alarms:
        axis.axvline(alarms[0], color=BLACK, ls=":", lw=1.2, label=f"collapsed in round {alarms[0]}")
    axis.set_ylim(-0.02, 1.04)
    axis.set_ylabel("variety (share)")


def _curve(rows: list[Row], metric: str) -> tuple[list[int], list[float]]:
    """The rounds whose evaluation has this metric, and its values."""
    known = [row for row in rows if row_key(metric) in row]
    return [row["round"] for row in known], [row[row_key(metric)] for row in known]


def _draw_losses(axis: Axes, rows: list[Row], names: list[str]) -> None:
    for name, colour, style in zip(names, COLOURS, STYLES, strict=False):
        rounds, values = zip(*((row["round"], row[name]) for row in rows if name in row), strict=True)
        axis.plot(
            rounds, values, color=colour, ls=style, lw=1.3, marker=_marker(values), ms=4, label=METRICS[name].label
        )
    if "discriminator/loss" in names:
        axis.axhline(np.log(2), color=GREY, ls="--", lw=1.2, label="log 2: real and fake look alike")
    axis.set_ylabel("loss (nats)")


def _marker(values: list[float] | tuple[float, ...]) -> str:
    return "." if len(values) <= FEW_ROWS else ""


def draw_distribution(entries: list[dict[str, str]], summary: Row) -> Figure:
    """Generated against true distribution over the correct formulae, as in the thesis' Fig 7.4."""
    names = [entry["formula"] for entry in entries]
    probs = np.array([float(entry["probability"] or "nan") for entry in entries])
    sampled = np.array([int(entry["sampled"]) for entry in entries]) / summary["num_samples"]
    are_known = bool(np.isfinite(probs).all())
    with_bars = len(names) <= BARS_LIMIT
    width = max(8.0, 0.12 * len(names) + 1.5) if with_bars else 11.0
    figure = Figure(figsize=(width, 4.8), layout="constrained")
    axis = figure.subplots()
    if with_bars:
        positions = np.arange(len(names))
        of_sample = f"share of the {summary['num_samples']:,} samples"
        axis.bar(positions, sampled, color=BLUE, alpha=0.5, label=of_sample)
        if are_known:
            axis.plot(positions, probs, "_", color=ORANGE, ms=7, mew=2, label="probability")
        axis.set_xticks(positions, names, rotation=90, fontsize=7, family="monospace", parse_math=False)
        axis.margins(x=0.01)
        axis.set_xlabel(f"the {len(names)} correct formulae")
    else:
        curve, name = (
            (probs, "probability") if are_known else (sampled, f"share of the {summary['num_samples']:,} samples")
        )
        axis.plot(np.sort(curve)[::-1], color=BLUE, lw=1.6, label=f"{name}, sorted")
        axis.set_xlabel(f"the {len(names):,} correct formulae, most probable first")
    axis.axhline(1 / len(names), color=BLACK, ls="-.", lw=1.2, label=f"true: 1/{len(names):,}")
    axis.set_ylabel("probability")
    axis.set_ylim(bottom=0)
    axis.tick_params(axis="y", labelsize=SMALL)
    legend_below(figure)
    kind = "exact" if summary["jsd_exact"] else "sampled"
    set_title(figure, run_name(summary), f"JSD {METRICS['jsd'].text(summary['jsd'])} nats ({kind})")
    return figure
