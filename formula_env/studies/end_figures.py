"""Figures of metrics at the end of the runs: of each variant, or over the number of examples."""

from dataclasses import dataclass
from textwrap import fill
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from formula_env.errors import FormulaError, check_types
from formula_env.experiment.drawing import (
    BLUE,
    COLOURS,
    GREY,
    SMALL,
    STYLES,
    legend_above,
    legend_below,
    set_log_scale,
)
from formula_env.experiment.rows import Row
from formula_env.metrics import METRICS
from formula_env.studies.panels import IntervalPanel, SizePanel, draw_references, log_label
from formula_env.studies.spec import Study, Variant
from formula_env.studies.statistics import STATISTICS, best_rows, interval, last_rows, mean, metric_of


def intervals(
    study: Study,
    variants: list[Variant],
    *,
    panels: list[IntervalPanel],
    statistic: Literal["mean", "iqm"] = "mean",
    best_of: list[str] | None = None,
) -> Figure:
    """Panels of metrics at the end of the runs: each seed as a dot, their mean with its 95 % bootstrap interval.

    Args:
        study: whose rows are drawn.
        variants: a row each.
        panels: side by side.
        statistic: "mean" or "iqm".
        best_of: variants whose best rows, seed by seed, make one more line, as a comparison picks them.
    """
    groups = [(variant.label, last_rows(study, variant, variant.seeds)) for variant in variants]
    if best_of:
        groups.append(_best(study, [study.variants[name] for name in best_of]))
    figure = Figure(figsize=(1.6 + 3.3 * len(panels), 1.9 + 0.62 * len(groups)), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        for place, (_, rows) in enumerate(groups):
            _draw_interval(axis, place, np.array(metric_of(study, rows, panel.metric)), statistic)
        references = draw_references(axis.axvline, panel)
        if references:
            axis.legend(
                handles=references, fontsize=SMALL, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1)
            )
        if panel.log:
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.tick_params(axis="x", labelsize=SMALL)
        axis.use_sticky_edges = False  # or a bar that ends at 1 would be cut by the frame
        if panel.xlim:
            axis.set_xlim(*panel.xlim)
        axis.set_xlabel(panel.label)
        axis.grid(alpha=0.25, axis="x")
    axes[0][0].set_yticks(range(len(groups)), [fill(label, 30) for label, _ in groups], fontsize=SMALL)
    axes[0][0].set_ylim(len(groups) - 0.4, -0.6)
    name = {"mean": "mean", "iqm": "interquartile mean"}[statistic]
    keys: list[Artist] = [
        Line2D([], [], color=BLUE, marker="|", ls="", ms=10, mew=2.2, label=name),
        Patch(color=BLUE, alpha=0.35, lw=0, label=f"95 % bootstrap interval of the {name}"),
        Line2D([], [], color=BLUE, marker=".", ls="", ms=5, label="each seed"),
    ]
    legend_below(figure, keys)
    return figure


def _best(study: Study, variants: list[Variant]) -> tuple[str, list[Row]]:
    metric, rows = best_rows(study, variants, variants[0].seeds)
    return (
        f"best of {' or '.join(variant.label for variant in variants)}, picked by its {METRICS[metric].label}",
        rows,
    )


def _draw_interval(axis: Axes, place: int, values: NDArray[np.float64], statistic: str) -> None:
    middle = STATISTICS[statistic]
    if len(values) > 1:
        low, high = interval(values, middle)
        axis.barh(place, high - low, 0.36, left=low, color=BLUE, alpha=0.35, lw=0)
    axis.vlines(middle(values), place - 0.18, place + 0.18, color=BLUE, lw=2.2)
    below = place + 0.26 + 0.07 * (np.arange(len(values)) % 2)  # in two rows, so that close ones are told apart
    axis.scatter(values, below, s=9, color=BLUE, alpha=0.8, lw=0)


@dataclass(frozen=True)
class AlgorithmLine:
    """An algorithm in a figure of several settings, such as numbers of examples: a variant for each."""

    label: str
    variants: list[str]

    def __post_init__(self) -> None:
        check_types(self)
        if not self.variants:
            raise FormulaError(f"algorithm {self.label!r} must name at least one variant")


def data_sizes(
    study: Study, variants: list[Variant], *, panels: list[SizePanel], algorithms: list[AlgorithmLine]
) -> Figure:
    """Panels of metrics at the end of the runs over the number of examples, both on logarithmic scales.

    Args:
        study: whose rows are drawn.
        variants: what the figure is about.
        panels: side by side.
        algorithms: lines, means over the seeds with their 95 % bootstrap intervals.
    """
    figure = Figure(figsize=(3.6 * len(panels) + 0.8, 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    known = {variant.name: variant for variant in variants}
    for axis, panel in zip(axes[0], panels, strict=True):
        for i, line in enumerate(algorithms):
            _draw_sizes(axis, study, [known[name] for name in line.variants], panel.metric, i, line.label)
        if references := draw_references(axis.axhline, panel):
            legend_above(axis, references)
        axis.set_xscale("log")
        sizes = sorted({variant.num_examples for variant in variants})
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.xaxis.set_minor_formatter(NullFormatter())
        if panel.log:
            set_log_scale(axis, (value for line in axis.get_lines() for value in np.ravel(line.get_ydata())))
        if panel.ylim:
            axis.set_ylim(*panel.ylim)
        axis.set_xlabel("number of examples (log scale)", fontsize=9)
        axis.set_ylabel(log_label(panel.label) if panel.log else panel.label, fontsize=9)
        axis.grid(alpha=0.25)
    legend_below(figure, [Patch(color=GREY, alpha=0.4, lw=0, label="band: 95 % bootstrap interval of the mean")])
    return figure


def _draw_sizes(axis: Axes, study: Study, variants: list[Variant], metric: str, index: int, label: str) -> None:
    """Draw the means of these variants in the colour and line style of this index."""
    ordered = sorted(variants, key=lambda variant: variant.num_examples)
    values = [np.array(metric_of(study, last_rows(study, v, v.seeds), metric)) for v in ordered]
    sizes, colour = [variant.num_examples for variant in ordered], COLOURS[index % len(COLOURS)]
    if all(len(each) > 1 for each in values):
        lows, highs = zip(*(interval(each) for each in values), strict=True)
        axis.fill_between(sizes, lows, highs, color=colour, alpha=0.15, lw=0)
    middle, style = [mean(each) for each in values], STYLES[index % len(STYLES)]
    axis.plot(sizes, middle, color=colour, ls=style, marker=".", lw=1.7, label=label)
