"""The figure of quality against cost, task by task."""

from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from formula_env.experiment.drawing import BLACK, COLOURS, SMALL, legend_below, set_log_scale
from formula_env.experiment.run_report import task_name
from formula_env.metrics import EVALUATION, row_key
from formula_env.studies.end_figures import AlgorithmLine
from formula_env.studies.panels import SizePanel, draw_references, log_label
from formula_env.studies.spec import Study, Variant
from formula_env.studies.statistics import interval, last_rows, mean, metric_of

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Marks in the order in which algorithms take them; with as many colours less one, a pair comes back after 42."""

TITLE_WIDTH = 40
"""Number of characters of a line above a column of panels."""


def quality_and_cost(
    study: Study,
    variants: list[Variant],
    *,
    panels: list[SizePanel],
    algorithms: list[AlgorithmLine],
    cost: str = "cpu_seconds",
    cost_label: str = "CPU seconds",
) -> Figure:
    """Metrics at the end of the runs against what the runs cost, a column of panels for each task.

    A mark is the mean over the seeds, its bar the metric's 95 % bootstrap interval; a line is random symbols.

    Args:
        study: whose rows are drawn.
        variants: what the figure is about.
        panels: one above the other.
        algorithms: marks; the variants of each have different tasks.
        cost: key of the rows, on a logarithmic scale.
        cost_label: its label, with the unit.
    """
    known = {variant.name: variant for variant in variants}
    titles = _titles(variants)
    tasks = list(dict.fromkeys(titles.values()))
    size = (max(9.5, 0.9 + 3.1 * len(tasks)), 1.2 + 2.7 * len(panels) + 0.09 * len(algorithms))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(panels), len(tasks), squeeze=False, sharex="col", sharey="row")
    for row, panel in zip(axes, panels, strict=True):
        for i, algorithm in enumerate(algorithms):
            for name in algorithm.variants:
                axis = row[tasks.index(titles[name])]
                _draw_mark(axis, study, known[name], (panel.metric, cost), i, algorithm.label)
        for axis, task in zip(row, tasks, strict=True):
            draw_references(axis.axhline, panel)
            _draw_random(
                axis, study, [variant for variant in variants if titles[variant.name] == task], panel.metric
            )
            if panel.ylim:
                axis.set_ylim(*panel.ylim)
            axis.grid(alpha=0.25)
        if panel.log:
            set_log_scale(row[0], (value for axis in row for value in axis.dataLim.intervaly))
        row[0].set_ylabel(log_label(panel.label) if panel.log else panel.label, fontsize=9)
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set_title("\n".join(fill(line, TITLE_WIDTH) for line in task.splitlines()), fontsize=9)
    for axis in axes[-1]:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.tick_params(axis="x", labelsize=SMALL)
        axis.set_xlabel(f"{cost_label} (log scale)", fontsize=9)
    legend_below(figure, note="mark: mean over the seeds; bar: its 95 % bootstrap interval")
    return figure


def _titles(variants: list[Variant]) -> dict[str, str]:
    """The title of the column of each variant: task and number of examples.

    Who learns from the checker alone stands beside those who learn the same task from examples, if there are any.
    """
    titles = {variant.name: f"{_task(variant)}\n{variant.num_examples:,} examples" for variant in variants}
    of_examples = [titles[variant.name] for variant in variants if variant.source != "checker"]
    for variant in variants:
        if variant.source == "checker":
            beside = (title for title in of_examples if title.startswith(f"{_task(variant)}\n"))
            titles[variant.name] = next(beside, f"{_task(variant)}\nthe checker alone")
    return titles


def _task(variant: Variant) -> str:
    config = variant.config(variant.seeds[0])
    return task_name(config.task_name, config.task.options)


def _draw_random(axis: Axes, study: Study, variants: list[Variant], key: str) -> None:
    """Draw the metric of this key of symbols drawn uniformly, where it is recorded; no JSD of a sample."""
    summaries = (study.folders(variant)[0].summary() or {} for variant in variants)
    random = next((summary["random"] for summary in summaries if "random" in summary), {})
    value = random.get(key.removeprefix(EVALUATION))
    if value is not None and (key != row_key("jsd") or random["jsd_exact"]):
        axis.axhline(value, color=BLACK, ls=":", lw=1.2, zorder=0, label="random symbols")


def _draw_mark(axis: Axes, study: Study, variant: Variant, keys: tuple[str, str], index: int, label: str) -> None:
    """Draw the mean metric against the mean cost, the two `keys`, as the mark of this index."""
    rows = last_rows(study, variant, variant.seeds)
    values, costs = (metric_of(study, rows, key) for key in keys)
    middle = mean(values)
    low, high = interval(values) if len(values) > 1 else (middle, middle)
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    bar = [[max(middle - low, 0)], [max(high - middle, 0)]]
    axis.errorbar(mean(costs), middle, yerr=bar, color=colour, marker=marker, ms=6, lw=1.2, ls="", label=label)
