"""Figures of a study, drawn from its rows alone. A new kind is a function here and a line in `KINDS`."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import cycle
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.experiment.config import load_config
from formula_env.experiment.figures import INK, RANDOM, START, THESIS, save_figure
from formula_env.experiment.files import read_text
from formula_env.experiment.loop import DISTRIBUTION_FILE, SAMPLES_FILE, read_summary
from formula_env.experiment.rows import Row, read_rows
from formula_env.experiment.statistics import STATISTICS, best_rows, interval, last_rows, mean, metric_of
from formula_env.experiment.study import STUDY_FILE, Cell, FigureSpec, Study, check_complete, read_analysis
from formula_env.tasks import Task

COLOURS = (INK, "#d98324", START, "#7b4ea3", "#c23b6b", "#4a8fa8", "#6b6b2f")

Kind = Callable[..., Figure]
"""Draws cells of a study; its keyword arguments are the options that `study.toml` can give."""


FIGURE_SUFFIXES = (".svg", ".png")


def draw_study(study: Study, folder: Path) -> None:
    """Write NAME.png and NAME.svg of each figure into a folder.

    Raises FormulaError if rows are missing, or a figure can't be drawn as `study.toml` asks.
    """
    check_figures(study)
    check_complete(study)
    for spec in study.figures:
        figure = draw(study, spec)
        for suffix in FIGURE_SUFFIXES:
            save_figure(figure, folder / f"{spec.name}{suffix}")
        plt.close(figure)


def check_figures(study: Study) -> None:
    """Raise FormulaError for a figure of an unknown kind, or with options that its kind hasn't, or lacks."""
    for spec in study.figures:
        where = f"{study.folder / STUDY_FILE}: figure {spec.name}"
        if spec.kind not in KINDS:
            raise FormulaError(f"{where}: unknown kind {spec.kind!r}; there are: {', '.join(KINDS)}")
        known = dict(list(signature(KINDS[spec.kind]).parameters.items())[2:])
        for name in spec.options:
            if name not in known:
                raise FormulaError(
                    f"{where}: unknown option {name!r}; {spec.kind} has: {', '.join(known) or 'none'}"
                )
        for name, parameter in known.items():
            if parameter.default is parameter.empty and name not in spec.options:
                raise FormulaError(f"{where}: {spec.kind} needs the option {name!r}")


def draw(study: Study, spec: FigureSpec) -> Figure:
    """One figure. Raises FormulaError if it can't be drawn as `study.toml` asks."""
    try:
        figure = KINDS[spec.kind](study, study.cells_of(spec), **spec.options)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(
            f"{study.folder / STUDY_FILE}: figure {spec.name} of kind {spec.kind} lacks or can't use {error}"
        ) from None
    if spec.title:
        figure.suptitle(spec.title, fontsize=11)
    return figure


# --- metrics over time ----------------------------------------------------------------------------------------


def curves(
    study: Study,
    cells: list[Cell],
    *,
    panels: list[dict[str, Any]],
    x: str = "epoch",
    side_by_side: bool = False,
    band: str = "range",
) -> Figure:
    """Panels of metrics over `x`, seeds as thin lines, their middle thick, with a band.

    Args:
        study: whose rows are drawn.
        cells: in different colours.
        panels: each with `metric`, `label` and perhaps `ylim`, `log`, `lines` (what to compare with, each `value`,
            `label`), `start_of` (a cell whose start, such as its MLE, is drawn as a line).
        x: "epoch" or "round".
        side_by_side: a column for each cell.
        band: "range", from least to most around the median, or "interval", the mean's 95 % bootstrap interval.
    """
    columns = [[cell] for cell in cells] if side_by_side else [cells]
    width = 3.4 * len(columns) + 1 if len(columns) > 1 else 8
    figure, axes = plt.subplots(
        len(panels), len(columns), squeeze=False, sharex="col", sharey="row",
        figsize=(width, 2.5 * len(panels) + 0.8), layout="constrained",
    )  # fmt: skip
    for column, group in zip(axes.T, columns, strict=True):
        if len(columns) > 1:
            column[0].set_title(group[0].label, fontsize=9)
        for axis, panel in zip(column, panels, strict=True):
            for cell, colour in zip(group, cycle(COLOURS), strict=False):
                _draw_seeds(axis, study, cell, x, panel["metric"], colour, BANDS[band], thin=len(group) == 1)
            for line in panel.get("lines", []):
                axis.axhline(line["value"], color=THESIS, ls="-.", lw=1.1, label=line["label"])
            if "start_of" in panel:
                _draw_start(axis, study, study.cells[panel["start_of"]], panel["metric"])
            if panel.get("log"):
                axis.set_yscale("log")
            if "ylim" in panel:
                axis.set_ylim(*panel["ylim"])
            axis.grid(alpha=0.25)
        column[-1].set_xlabel({"epoch": "epoch", "round": "round"}[x])
    for i, (axis, panel) in enumerate(zip(axes[:, 0], panels, strict=True)):
        axis.set_ylabel(panel["label"])
        if (i == 0 and len(columns) == 1) or panel.get("lines"):
            axis.legend(fontsize=7)
    return figure


@dataclass(frozen=True)
class _Band:
    """How values `(seeds, n)` are summed up: a middle `(n,)`, and from where to where the band goes."""

    name: str
    middle: Callable[..., Any]
    ends: Callable[..., tuple[Any, Any]]


BANDS = {
    "range": _Band("median, range", partial(np.median, axis=0), lambda v: (v.min(axis=0), v.max(axis=0))),
    "interval": _Band("mean, 95 % interval", mean, interval),
}


def _draw_seeds(
    axis: Axes, study: Study, cell: Cell, x: str, metric: str, colour: str, band: _Band, thin: bool
) -> None:
    places, values = series(study, cell, x, metric)
    if thin:
        axis.plot(places, values.T, color=colour, lw=0.5, alpha=0.6)
    if len(values) > 1:
        axis.fill_between(places, *band.ends(values), color=colour, alpha=0.15, lw=0)
    seeds = f" ({band.name} of {len(values)} seeds)" if len(values) > 1 else ""
    axis.plot(places, band.middle(values), color=colour, lw=1.6, label=f"{cell.label}{seeds}")


def _draw_start(axis: Axes, study: Study, cell: Cell, metric: str) -> None:
    summaries = [_summary(folder) for folder in study.folders(cell)]
    mean = fmean(summary["start"][metric.removeprefix("eval/")] for summary in summaries)
    axis.axhline(mean, color=RANDOM, ls="--", lw=1.1, label=f"{summaries[0]['start_name']} of {cell.label}, mean")


def series(study: Study, cell: Cell, x: str, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a metric was recorded, `(n,)`, and its values by seed, `(seeds, n)`."""
    runs = [read_rows(folder) for folder in study.folders(cell)]
    known = [[row for row in rows if metric in row] for rows in runs]
    if not known[0]:
        raise KeyError(metric)
    places = np.array([row[x] for row in known[0]], dtype=float)
    return places, np.array([[row[metric] for row in rows] for rows in known], dtype=float)


# --- metrics at the end ---------------------------------------------------------------------------------------


def intervals(
    study: Study,
    cells: list[Cell],
    *,
    panels: list[dict[str, Any]],
    statistic: str = "mean",
    best_of: Sequence[str] = (),
) -> Figure:
    """Panels of metrics at the end of the runs: each seed as a dot, their mean with its 95 % bootstrap interval.

    Args:
        study: whose rows are drawn.
        cells: a line each.
        panels: each with `metric` of the last row, `label` and perhaps `xlim`, `log`, `lines` (what to compare
            with, each `value`, `label`).
        statistic: "mean" or "iqm".
        best_of: cells whose best rows, seed by seed, make one more line, as a comparison picks them.
    """
    groups = [(cell.label, last_rows(study, cell, cell.seeds)) for cell in cells]
    if best_of:
        groups.append(_best(study, [study.cells[name] for name in best_of]))
    figure, axes = plt.subplots(
        1, len(panels), squeeze=False, sharey=True,
        figsize=(1.6 + 3.3 * len(panels), 1.3 + 0.62 * len(groups)), layout="constrained",
    )  # fmt: skip
    for axis, panel in zip(axes[0], panels, strict=True):
        for place, ((_, rows), colour) in enumerate(zip(groups, cycle(COLOURS), strict=False)):
            values = metric_of(study, rows, panel["metric"])
            _draw_interval(axis, place, np.array(values), colour, statistic)
        for line, style in zip(panel.get("lines", []), cycle(("-.", ":", "--")), strict=False):
            axis.axvline(line["value"], color=THESIS, ls=style, lw=1.2, zorder=0, label=line["label"])
        if panel.get("log"):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.tick_params(axis="x", labelsize=8)
        axis.use_sticky_edges = False  # or a bar that ends at 1 would be cut by the frame
        if "xlim" in panel:
            axis.set_xlim(*panel["xlim"])
        axis.set_xlabel(panel["label"])
        axis.grid(alpha=0.25, axis="x")
        if panel.get("lines"):
            axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    axes[0][0].set_yticks(range(len(groups)), [fill(label, 30) for label, _ in groups], fontsize=8)
    axes[0][0].set_ylim(len(groups) - 0.4, -0.6)
    return figure


def _best(study: Study, cells: list[Cell]) -> tuple[str, list[Row]]:
    metric, rows = best_rows(study, cells, cells[0].seeds)
    return f"best of {' or '.join(cell.label for cell in cells)}, picked by its {metric.upper()}", rows


def _draw_interval(axis: Axes, place: int, values: NDArray[np.float64], colour: str, statistic: str) -> None:
    middle = STATISTICS[statistic]
    if len(values) > 1:
        low, high = interval(values, middle)
        axis.barh(place, high - low, 0.36, left=low, color=colour, alpha=0.35, lw=0)
    axis.vlines(middle(values), place - 0.18, place + 0.18, color=colour, lw=2.2)
    below = place + 0.26 + 0.07 * (np.arange(len(values)) % 2)  # in two rows, so that close ones are told apart
    axis.scatter(values, below, s=9, color=colour, alpha=0.8, lw=0)


# --- distributions and samples --------------------------------------------------------------------------------


def distribution(
    study: Study,
    cells: list[Cell],
    *,
    with_data: bool = False,
    spikes: int = 0,
    ylim: tuple[float, float] | None = None,
) -> Figure:
    """Generated share of each correct formula, as in the thesis' Figs 6.4 and 7.4: mean and range over seeds.

    With the training set beside it, if asked for; so many `spikes`, the highest bars, are named.
    """
    panels = [(cell.label, *_shares(study, cell)) for cell in cells]
    if with_data:
        panels.append(("training data", *_training_shares(study, cells[0])))
    figure, axes = plt.subplots(
        1, len(panels), squeeze=False, sharey=True, figsize=(4 + 3.2 * len(panels), 3.6), layout="constrained"
    )
    for axis, (label, names, shares) in zip(axes[0], panels, strict=True):
        mean, places = shares.mean(axis=0), np.arange(len(names))
        axis.bar(places, mean, color=RANDOM if label == "training data" else INK, width=0.85)
        if len(shares) > 1:
            axis.vlines(places, shares.min(axis=0), shares.max(axis=0), color="black", lw=0.6, alpha=0.6)
        axis.axhline(1 / len(names), color=THESIS, ls="-.", lw=1, label=f"true: 1/{len(names)}")
        for place in np.argsort(mean)[::-1][:spikes]:
            axis.annotate(
                names[place], (place, mean[place]), fontsize=7, ha="center", va="bottom", family="monospace"
            )
        axis.set_title(f"{label} ({len(shares)} seeds)" if len(shares) > 1 else label, fontsize=9)
        axis.set_xlabel(f"the {len(names)} correct sequences")
        axis.set_xticks([])
        if ylim is not None:
            axis.set_ylim(*ylim)
    axes[0][0].set_ylabel("share of the sample")
    axes[0][0].legend(fontsize=8)
    return figure


def _shares(study: Study, cell: Cell) -> tuple[list[str], NDArray[np.float64]]:
    """The correct formulae, and their shares of each seed's sample, `(seeds, count)`."""
    names: list[str] = []
    shares = []
    for folder in study.folders(cell):
        entries = list(csv.DictReader(io.StringIO(read_text(folder / DISTRIBUTION_FILE))))
        names = [entry["formula"] for entry in entries]
        shares.append([int(entry["sampled"]) / _summary(folder)["num_samples"] for entry in entries])
    return names, np.array(shares)


def _training_shares(study: Study, cell: Cell) -> tuple[list[str], NDArray[np.float64]]:
    config = load_config(study.folders(cell)[0])
    task = config.task
    assert isinstance(task, Task)
    names = task.decode(task.enumerate())
    training = task.decode(config.data.training_set(task, config.seed))
    place = {name: i for i, name in enumerate(names)}
    counts = np.bincount([place[text] for text in training], minlength=len(names))
    return names, counts[None] / len(training)


def sequences(study: Study, cells: list[Cell], *, num: int = 30) -> Figure:
    """Generated sequences of each cell's first seed, as in the thesis' tables, the wrong ones marked."""
    figure, axes = plt.subplots(
        1, len(cells), squeeze=False, figsize=(3.3 * len(cells), 0.19 * num / 2 + 1.2), layout="constrained"
    )
    for axis, cell in zip(axes[0], cells, strict=True):
        seed = cell.seeds[0]
        shown = read_samples(study.run_folder(cell, seed) / SAMPLES_FILE)[:num]
        per_column = (len(shown) + 1) // 2
        for i, (text, verdict) in enumerate(shown):
            colour, weight = (THESIS, "bold") if verdict == "wrong" else (INK, "normal")
            column, line = divmod(i, per_column)
            axis.text(
                0.27 + 0.46 * column, 1 - (line + 0.5) / per_column, text,
                color=colour, weight=weight, family="monospace", ha="center", va="center", fontsize=9,
            )  # fmt: skip
        axis.set_title(f"{cell.label}, seed {seed}\n{_tally(shown)}", fontsize=8)
        axis.set_axis_off()
    return figure


def _tally(shown: list[tuple[str, str]]) -> str:
    errors = [float(verdict.removeprefix("error ")) for _, verdict in shown if verdict.startswith("error ")]
    if errors:
        return f"MSE {np.square(errors).mean():.2e}"
    right = sum(verdict == "correct" for _, verdict in shown)
    return f"{right} of {len(shown)} correct, {len(set(shown))} distinct"


def read_samples(path: Path) -> list[tuple[str, str]]:
    """Formulae and verdicts of a file of samples."""
    pairs = [line.split("\t") for line in read_text(path).splitlines()]
    if not all(len(pair) == 2 for pair in pairs):
        raise FormulaError(f"{path} is not a file of samples")
    return [(text, verdict) for text, verdict in pairs]


def scatter(study: Study, cells: list[Cell], *, rounds: list[int]) -> Figure:
    """Vectors of each cell's first seed over rounds, against the true plane a + b = c (thesis Fig 4.1)."""
    figure = plt.figure(figsize=(3.6 * len(rounds), 3.5 * len(cells)), layout="constrained")
    terms = np.linspace(0, 10, 11)
    a, b = np.meshgrid(terms, terms)
    for i, cell in enumerate(cells):
        folder = study.run_folder(cell, cell.seeds[0])
        for j, round_ in enumerate(rounds):
            texts = [text for text, _ in read_samples(folder / f"samples-{round_:08d}.txt")]
            points = np.array([[float(number) for number in text.split()] for text in texts])
            axis: Any = figure.add_subplot(len(cells), len(rounds), i * len(rounds) + j + 1, projection="3d")
            axis.plot_wireframe(a, b, a + b, color=RANDOM, lw=0.5)
            axis.scatter(*points.T, s=2, color=INK, rasterized=True)
            axis.set_title(f"{cell.label}: round {round_:,}", fontsize=9)
            axis.set(xlabel="a", ylabel="b", zlabel="c", xlim=(0, 10), ylim=(0, 10), zlim=(0, 20))
            axis.view_init(elev=18, azim=-60)
    return figure


# --- analyses -------------------------------------------------------------------------------------------------


def gumbel_softmax(study: Study, cells: list[Cell]) -> Figure:
    """Mean (top) and samples (below) of the Gumbel-softmax distribution over temperature (thesis Fig 6.1)."""
    rows = _rows_of(study, cells[0])
    exact = next(row["mean"] for row in rows if row["kind"] == "categorical")
    relaxed = [row for row in rows if row["kind"] == "gumbel-softmax"]
    figure, axes = plt.subplots(
        4,
        len(relaxed) + 1,
        sharex=True,
        sharey=True,
        figsize=(2.3 * (len(relaxed) + 1), 6.4),
        layout="constrained",
    )
    places = np.arange(len(exact))
    axes[0, 0].bar(places, exact, color=START)
    axes[0, 0].set_title("categorical, exact", fontsize=9)
    for axis in axes[1:, 0]:
        axis.set_axis_off()
    for column, row in zip(axes.T[1:], relaxed, strict=True):
        column[0].set_title(f"τ = {row['temperature']:g}", fontsize=9)
        column[0].bar(places, row["mean"], color=INK)
        column[0].plot(places, exact, "_", color=START, ms=12, mew=2)
        for axis, sample in zip(column[1:], row["samples"], strict=False):
            axis.bar(places, sample, color=COLOURS[1])
    axes[0, 1].set_ylabel("mean")
    axes[2, 1].set_ylabel("samples")
    axes[0, 0].set_ylim(0, 1)
    return figure


def perfect_generator(study: Study, cells: list[Cell], *, thesis: list[float]) -> Figure:
    """Algorithm 2 by dynamic programming in both readings, and what the thesis reports."""
    rows = _rows_of(study, cells[0])
    cases = [(row["length"], row["switch"], row["vocab_size"]) for row in rows[::2]]
    figure, axis = plt.subplots(figsize=(8.5, 4), layout="constrained")
    places = np.arange(len(cases))
    for shift, tie, colour in ((-0.2, "emit 0", INK), (0.2, "leave 0", RANDOM)):
        values = [row["exact"] for row in rows if row["tie"] == tie]
        bars = axis.bar(places + shift, values, 0.38, color=colour, label=f"equal sums: {tie}")
        axis.bar_label(bars, fmt="%.4f", fontsize=7)
    for place, value in zip(places, thesis, strict=True):
        if value >= 0:
            axis.hlines(value, place - 0.42, place + 0.42, color=THESIS, ls="-.", lw=1.4)
    axis.plot([], [], color=THESIS, ls="-.", label="thesis")
    names = [f"n = {length}, P_s = {switch:.3f}\n{size} symbols" for length, switch, size in cases]
    axis.set_xticks(places, names, fontsize=8)
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("correct (share)")
    axis.legend(fontsize=8)
    return figure


def bounds(study: Study, cells: list[Cell], *, analysis: str) -> Figure:
    """What logits bound to ±c allow at best, by an `analysis` (a cell), and what cells with these bounds reach."""
    rows = _rows_of(study, study.cells[analysis])
    c = [row["bound"] for row in rows]
    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(8, 6.5), layout="constrained")
    lines = (
        ("both_halves", "any controller, n = 8", INK, "-"),
        ("matching", "nearest to the true distribution", START, "-"),
        ("random_first_half", "looking ahead, first half random", COLOURS[1], "--"),
        ("myopic", "Algorithm 2", THESIS, "-."),
    )
    for column, label, colour, style in lines:
        axes[0].plot(c, [row[column] for row in rows], color=colour, ls=style, marker=".", label=f"limit: {label}")
    axes[1].plot(c, [row["matching_jsd"] for row in rows], color=START, marker=".", label="limit: nearest")
    for cell in cells:
        bound = cell.settings["algo"]["logit_bound"]
        for axis, metric in zip(axes, ("accuracy", "jsd"), strict=True):
            values = [_summary(folder)[metric] for folder in study.folders(cell)]
            axis.plot([bound] * len(values), values, "x", color="black", ms=6)
    axes[0].plot([], [], "x", color="black", label="measured, each seed")
    axes[0].set_ylabel("correct (share)")
    axes[0].legend(fontsize=8, loc="lower right")
    axes[1].set_ylabel("JSD (nats, log scale)")
    axes[1].set_yscale("log")
    axes[1].legend(fontsize=8)
    axes[1].set_xlabel("c: logits are within ±c")
    for axis in axes:
        axis.grid(alpha=0.25)
    return figure


def conditionals(study: Study, cells: list[Cell]) -> Figure:
    """How spiky the next symbol is: true distributions after a prefix, and entropies over positions (Fig 3.3)."""
    rows = _rows_of(study, cells[0])
    examples = [row for row in rows if row["kind"] == "next"]
    entropies = [row for row in rows if row["kind"] == "entropy"]
    figure, axes = plt.subplots(2, len(examples), figsize=(3.6 * len(examples), 6), layout="constrained")
    for axis, row in zip(axes[0], examples, strict=True):
        axis.bar(row["symbols"], row["probabilities"], color=INK)
        axis.set_title(f"{row['task']}: {row['prefix']} …", fontsize=8)
        axis.set_ylim(0, 1.05)
        axis.tick_params(axis="x", labelrotation=45 if len(row["symbols"]) > 5 else 0, labelsize=8)
    for axis, row in zip(axes[1], entropies, strict=False):
        places = np.arange(1, len(row["bits"]) + 1)
        axis.bar(places, row["bits"], color=START, label="entropy (bits)")
        axis.plot(places, row["forced"], "o-", ms=3, color=THESIS, label="only one symbol possible (share)")
        axis.set_title(row["task"], fontsize=8)
        axis.set_xlabel("position")
        axis.set_xticks(places)
        axis.set_ylim(0, 1.35 * max(row["bits"]))
        axis.legend(fontsize=7, loc="upper right")
    for axis in axes[1, len(entropies) :]:
        axis.set_axis_off()
    axes[0, 0].set_ylabel("p(next symbol)")
    return figure


def sampling(study: Study, cells: list[Cell]) -> Figure:
    """The sampler on a smooth and on a spiky distribution: how often it leaves the most probable symbol, and what
    that costs (thesis Fig 8.1)."""
    rows = _rows_of(study, cells[0])
    figure, axes = plt.subplots(1, len(rows), figsize=(4 * len(rows), 3.6), layout="constrained")
    for axis, row in zip(axes, rows, strict=True):
        places = np.arange(len(row["logits"]))
        colours = [INK if good else RANDOM for good in row["acceptable"]]
        axis.bar(places, row["logits"], color=colours)
        for place, logit, noise in zip(places, row["logits"], row["noise"], strict=True):
            hatch = None if noise > 0 else "///"
            axis.bar(place, noise, 0.5, bottom=logit, color="none", edgecolor="grey", hatch=hatch)
        chosen = int(np.argmax(np.add(row["logits"], row["noise"])))
        axis.plot(chosen, row["logits"][chosen] + row["noise"][chosen], "v", color=THESIS, ms=9)
        axis.set_title(
            f"{row['name']}\nmoved from the top: {row['moved']:.1%}; wrong symbol: {row['wrong']:.1%}", fontsize=8
        )
        axis.set_xticks(places, row["symbols"], fontsize=8)
    axes[0].set_ylabel("logit + Gumbel noise")
    return figure


def estimators(study: Study, cells: list[Cell]) -> Figure:
    """Variance of estimates of SeqGAN's gradient from one batch, relative to the gradient, a panel per reward.

    Bars and what they tell are means over the seeds, dots the seeds.
    """
    rows = [row for folder in study.folders(cells[0]) for row in _rows_in(study, cells[0], folder)]
    rewards = list(dict.fromkeys(row["reward"] for row in rows))
    figure, axes = plt.subplots(
        1, len(rewards), squeeze=False, sharey=True, figsize=(2 + 4 * len(rewards), 3.4), layout="constrained"
    )
    largest, least = (choose(row["variance"] for row in rows) for choose in (max, min))
    for axis, reward in zip(axes[0], rewards, strict=True):
        shown: dict[str, list[Row]] = {}
        for row in rows:
            if row["reward"] == reward:
                shown.setdefault(row["estimator"], []).append(row)
        for i, (name, of_seeds) in enumerate(shown.items()):
            variance, cosine, bias, noise = (
                fmean(row[column] for row in of_seeds) for column in ("variance", "cosine", "bias", "noise")
            )
            axis.barh(name, variance, 0.6, color=INK)
            variances = [row["variance"] for row in of_seeds]
            axis.plot(variances, [i] * len(variances), ".", color="tab:orange", markersize=4)
            told = f"{variance:.3g}; cosine {cosine:.2f}\nbias {bias:.3f} (noise {noise:.3f})"
            axis.annotate(told, (max(variances), i), (6, 0), textcoords="offset points", fontsize=7, va="center")
        axis.set_title(f"reward: {reward}", fontsize=9)
        axis.set_xscale("log")
        axis.set_xlim(least / 4, 60 * largest)  # room for what is told
        axis.set_xlabel(f"variance of g / ‖∇‖² (batch of {rows[0]['batch']}, log scale)", fontsize=9)
        axis.grid(alpha=0.25, axis="x")
        axis.set_axisbelow(True)
    axes[0][0].invert_yaxis()
    axes[0][0].tick_params(axis="y", labelsize=8)
    return figure


def _rows_of(study: Study, cell: Cell) -> list[Row]:
    """Of an analysis with one seed, as what is exact has."""
    return _rows_in(study, cell, study.folders(cell)[0])


def _rows_in(study: Study, cell: Cell, folder: Path) -> list[Row]:
    if cell.analysis is None:
        raise FormulaError(f"{study.folder / STUDY_FILE}: {cell.name} is made of runs, this figure of an analysis")
    return read_analysis(folder, cell.analysis) or []


def _summary(folder: Path) -> Row:
    summary = read_summary(folder)
    assert summary is not None, "a study is complete before it is drawn"
    return summary


KINDS: dict[str, Kind] = {
    "bounds": bounds,
    "conditionals": conditionals,
    "curves": curves,
    "distribution": distribution,
    "estimators": estimators,
    "gumbel-softmax": gumbel_softmax,
    "intervals": intervals,
    "perfect-generator": perfect_generator,
    "sampling": sampling,
    "scatter": scatter,
    "sequences": sequences,
}
