"""Figures of a study, drawn from its rows alone. A new kind is a function here and a line in `KINDS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from formula_env.errors import FormulaError, check_at_least, check_choice, check_pair, check_type
from formula_env.experiment.drawing import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    RED,
    SMALL,
    STYLES,
    legend_above,
    legend_below,
    own_style,
    save_figure,
    set_log_scale,
    set_title,
)
from formula_env.experiment.run_report import task_name
from formula_env.metrics import METRICS, name_of
from formula_env.studies import analysis_figures, cost_figures, end_figures
from formula_env.studies.analysis_figures import summary_of
from formula_env.studies.panels import CurvePanel, draw_references, log_label
from formula_env.studies.records import check_complete
from formula_env.studies.spec import STUDY_FILE, FigureSpec, Study, Variant, check_paired
from formula_env.studies.statistics import interval, mean
from formula_env.studies.tables import build_all
from formula_env.suggestions import unknown
from formula_env.tasks import SequenceTask

Kind = Callable[..., Figure]
"""Draws variants of a study; its keyword arguments are the options that `study.toml` can give."""


def draw_study(study: Study, folder: Path) -> None:
    """Write NAME.png and NAME.svg of each figure into a folder.

    Raises FormulaError if rows are missing, or a figure can't be drawn as `study.toml` asks.
    """
    check_figures(study)
    check_complete(study)
    with own_style():
        for spec in study.figures:
            save_figure(draw(study, spec), folder / spec.name)


def check_figures(study: Study) -> None:
    """Raise FormulaError for a figure of an unknown kind, or with options that its kind hasn't, or lacks."""
    for spec in study.figures:
        figure_options(study, spec)


def figure_options(study: Study, spec: FigureSpec) -> dict[str, Any]:
    """The keyword arguments of a figure's kind, panels as dataclasses. Raises FormulaError as `check_figures`."""
    try:
        return _options(study, spec)
    except FormulaError as error:
        raise FormulaError(f"{study.folder / STUDY_FILE}: figure {spec.name}: {error}") from None


def _options(study: Study, spec: FigureSpec) -> dict[str, Any]:
    if spec.kind not in KINDS:
        raise FormulaError(unknown("kind", spec.kind, KINDS))
    kind = KINDS[spec.kind]
    known = {name: p for name, p in signature(kind).parameters.items() if p.kind is Parameter.KEYWORD_ONLY}
    for name in spec.options:
        if name not in known:
            raise FormulaError(unknown("option", name, known, spec.kind))
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in spec.options:
            raise FormulaError(f"{spec.kind} needs the option {name!r}")
    hints = get_type_hints(kind)
    options = {name: build_all(name, hints[name], value) for name, value in spec.options.items()}
    for name, value in options.items():
        _check_option(name, value, hints[name], study)
    for i, panel in enumerate(options.get("panels", [])):
        if isinstance(panel, CurvePanel) and panel.start_of not in (None, *study.variants):
            raise FormulaError(unknown("variant", panel.start_of, study.variants, f"panels {i}, start_of"))
    shown = [variant.name for variant in study.variants_of(spec)]
    for i, line in enumerate(options.get("algorithms", [])):
        for name in line.variants:
            if name not in shown:
                raise FormulaError(unknown("variant", name, shown, f"algorithms {i}"))
    return options


def _check_option(name: str, value: Any, hint: Any, study: Study) -> None:
    """Raise FormulaError for an option's value that its kind can't use."""
    if get_origin(hint) is Literal:
        check_choice(get_args(hint), **{name: value})
    check_type(name, value, hint)
    if name in LEAST:
        check_at_least(LEAST[name], **{name: value})
    if name == "ylim":
        check_pair(ylim=value)
    if value == []:
        raise FormulaError(f"{name} must hold at least one, got []")
    if name in ("analysis", "best_of"):
        _check_variants(value if isinstance(value, list) else [value], study)


def _check_variants(names: Sequence[str], study: Study) -> None:
    """Raise FormulaError for names that are no variants of the study, or several that are no pairs."""
    for name in names:
        check_choice(tuple(study.variants), variant=name)
    if len(names) > 1:
        check_paired([study.variants[name] for name in names])


LEAST = {"num": 1, "spikes": 0}
"""Least values of the options that count something."""


def draw(study: Study, spec: FigureSpec) -> Figure:
    """The figure of a specification. Raises FormulaError if it can't be drawn as `study.toml` asks."""
    try:
        figure = KINDS[spec.kind](study, study.variants_of(spec), **figure_options(study, spec))
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(
            f"{study.folder / STUDY_FILE}: figure {spec.name} of kind {spec.kind} lacks or can't use {error}"
        ) from None
    variants = study.variants_of(spec)
    set_title(figure, spec.title or spec.name, subject(variants, first_seed=spec.kind in OF_FIRST_SEED))
    return figure


OF_FIRST_SEED = ("scatter", "sequences")
"""Kinds of figures that show each variant's first seed only."""


def subject(variants: Sequence[Variant], first_seed: bool = False) -> str:
    """The tasks and seeds of variants: `binary-sum (length 8), seeds 0 to 4`; of an analysis its seeds alone."""
    configs = [variant.config(variant.seeds[0]) for variant in variants if variant.analysis is None]
    tasks = [task_name(config.task_name, config.task.options) for config in configs]
    seeds = [variant.seeds[:1] if first_seed else variant.seeds for variant in variants]
    return ", ".join([*dict.fromkeys(tasks), " or ".join(dict.fromkeys(map(_seeds, seeds)))])


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


# --- metrics over time ----------------------------------------------------------------------------------------


def curves(
    study: Study,
    variants: list[Variant],
    *,
    panels: list[CurvePanel],
    x: Literal["epoch", "round"] = "epoch",
    side_by_side: bool = False,
    band: Literal["range", "interval"] = "range",
) -> Figure:
    """Panels of metrics over `x`, seeds as thin lines, their middle thick, with a band.

    Args:
        study: whose rows are drawn.
        variants: in different colours and line styles.
        panels: one above the other.
        x: "epoch" or "round".
        side_by_side: a column for each variant.
        band: "range", from least to most around the median, or "interval", the mean's 95 % bootstrap interval.
    """
    columns = [[variant] for variant in variants] if side_by_side else [variants]
    width = 2.5 * len(columns) + 1 if len(columns) > 1 else 8.5
    figure = Figure(figsize=(width, 2.6 * len(panels) + 1.2), layout="constrained")
    axes = figure.subplots(len(panels), len(columns), squeeze=False, sharex="col", sharey="row")
    for column, group in zip(axes.T, columns, strict=True):
        if len(columns) > 1:
            column[0].set_title(fill(group[0].label, 26), fontsize=9)
        for axis, panel in zip(column, panels, strict=True):
            for i, variant in enumerate(group):
                name = "" if side_by_side else variant.label
                _draw_seeds(axis, study, variant, x, panel.metric, i, BANDS[band], name, thin=len(group) == 1)
            references = draw_references(axis.axhline, panel)
            if panel.start_of is not None:
                references.append(_draw_start(axis, study, study.variants[panel.start_of], panel.metric))
            if references and len(columns) == 1:
                legend_above(axis, references)
            if panel.log:
                set_log_scale(axis, (value for line in axis.get_lines() for value in np.ravel(line.get_ydata())))
            if panel.ylim:
                axis.set_ylim(*panel.ylim)
            axis.grid(alpha=0.25)
        column[-1].set_xlabel({"epoch": "epoch", "round": "round"}[x])
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        axis.set_ylabel(log_label(panel.label) if panel.log else panel.label, fontsize=9)
    legend_below(figure, _band_keys(variants, BANDS[band], any(len(group) == 1 for group in columns)))
    return figure


def _band_keys(variants: Sequence[Variant], band: "_Band", with_seeds: bool) -> list[Artist]:
    """Legend keys of the marks of several seeds."""
    if all(len(variant.seeds) == 1 for variant in variants):
        return []
    keys: list[Artist] = [Patch(color=GREY, alpha=0.4, lw=0, label=f"band: {band.ends_name} of the seeds")]
    return keys + ([Line2D([], [], color=GREY, lw=0.6, label="thin lines: each seed")] if with_seeds else [])


@dataclass(frozen=True)
class _Band:
    """How values `(seeds, n)` are summed up: a middle `(n,)`, and from where to where the band goes."""

    name: str
    middle: Callable[..., Any]
    ends: Callable[..., tuple[Any, Any]]
    ends_name: str


BANDS = {
    "range": _Band(
        "median, range", partial(np.median, axis=0), lambda v: (v.min(axis=0), v.max(axis=0)), "least to most"
    ),
    "interval": _Band("mean, 95 % interval", mean, interval, "95 % bootstrap interval of the mean"),
}


def _draw_seeds(
    axis: Axes,
    study: Study,
    variant: Variant,
    x: str,
    metric: str,
    index: int,
    band: _Band,
    name: str,
    thin: bool,
) -> None:
    """Draw a variant's curve in the colour and line style of this index."""
    colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)]
    places, values = series(study, variant, x, metric)
    if thin:
        axis.plot(places, values.T, color=colour, lw=0.5, alpha=0.6)
    if len(values) > 1:
        axis.fill_between(places, *band.ends(values), color=colour, alpha=0.15, lw=0)
    seeds = f"{band.name} of {len(values)} seeds" if len(values) > 1 else ""
    label = f"{name} ({seeds})" if name and seeds else name or seeds or "one seed"
    axis.plot(places, band.middle(values), color=colour, ls=style, lw=1.7, label=label)


def _draw_start(axis: Axes, study: Study, variant: Variant, metric: str) -> Artist:
    summaries = [summary_of(folder) for folder in study.folders(variant)]
    mean = fmean(summary["start"][name_of(metric)] for summary in summaries)
    label = f"{summaries[0]['start_name']} of {variant.label}, mean"
    return axis.axhline(mean, color=GREY, ls="--", lw=1.2, zorder=0, label=label)


def series(study: Study, variant: Variant, x: str, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places `(n,)` where a metric was recorded, and its values by seed, `(seeds, n)`."""
    runs = [folder.rows() for folder in study.folders(variant)]
    known = [[row for row in rows if metric in row] for rows in runs]
    if not known[0]:
        raise KeyError(metric)
    places = np.array([row[x] for row in known[0]], dtype=float)
    return places, np.array([[row[metric] for row in rows] for rows in known], dtype=float)


# --- distributions and samples --------------------------------------------------------------------------------


def distribution(
    study: Study,
    variants: list[Variant],
    *,
    with_data: bool = False,
    spikes: int = 0,
    ylim: list[float] | None = None,
) -> Figure:
    """Generated share of each correct formula, as in the thesis' Figs 6.4 and 7.4: mean and range over seeds.

    With the training set beside it, if asked for; so many `spikes`, the highest bars, are named.
    """
    panels = [(variant.label, *_shares(study, variant)) for variant in variants]
    if with_data:
        panels.append((TRAINING_DATA, *_training_shares(study, variants[0])))
    figure = Figure(figsize=(3.5 + 3.2 * len(panels), 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axis, (label, names, shares) in zip(axes[0], panels, strict=True):
        middle, places = shares.mean(axis=0), np.arange(len(names))
        is_data = label == TRAINING_DATA
        name = (
            f"training set, seed {variants[0].seeds[0]}" if is_data else "share of the sample, mean of the seeds"
        )
        axis.bar(places, middle, color=GREY if is_data else BLUE, width=0.85, label=name)
        if len(shares) > 1:
            ends = shares.min(axis=0), shares.max(axis=0)
            axis.vlines(places, *ends, color=ORANGE, lw=0.9, label="least to most of the seeds")
        axis.axhline(1 / len(names), color=BLACK, ls="-.", lw=1, label=f"true: 1/{len(names):,}")
        title = f"{label} ({len(shares)} seeds)" if len(shares) > 1 else label
        if spikes and not is_data:
            highest = ", ".join(names[place] for place in np.argsort(middle)[::-1][:spikes])
            title += f"\nmost frequent: {highest}"
        axis.set_title(title, fontsize=9, parse_math=False)
        axis.set_xlabel(f"the {len(names):,} correct formulae", fontsize=9)
        axis.set_xticks([])
        if ylim is not None:
            axis.set_ylim(*ylim)
    axes[0][0].set_ylabel("share of the sample")
    legend_below(figure)
    return figure


TRAINING_DATA = "training data"


def _shares(study: Study, variant: Variant) -> tuple[list[str], NDArray[np.float64]]:
    """The correct formulae, and their shares of each seed's sample, `(seeds, count)`."""
    names: list[str] = []
    shares = []
    for folder in study.folders(variant):
        entries = folder.distribution()
        names = [entry["formula"] for entry in entries]
        shares.append([int(entry["sampled"]) / summary_of(folder)["num_samples"] for entry in entries])
    return names, np.array(shares)


def _training_shares(study: Study, variant: Variant) -> tuple[list[str], NDArray[np.float64]]:
    config = variant.config(variant.seeds[0])
    task = config.task
    assert isinstance(task, SequenceTask)
    names = task.decode(task.enumerate())
    training = task.decode(config.data.training_set(task, config.seed))
    place = {name: i for i, name in enumerate(names)}
    counts = np.bincount([place[text] for text in training], minlength=len(names))
    return names, counts[None] / len(training)


def sequences(study: Study, variants: list[Variant], *, num: int = 30) -> Figure:
    """Generated sequences of each variant's first seed, as in the thesis' tables, the wrong ones marked."""
    figure = Figure(figsize=(max(4.5, 3.3 * len(variants)), 0.19 * num / 2 + 1.7), layout="constrained")
    axes = figure.subplots(1, len(variants), squeeze=False)
    verdicts: set[str] = set()
    for axis, variant in zip(axes[0], variants, strict=True):
        seed = variant.seeds[0]
        shown = study.run_folder(variant, seed).samples()[:num]
        verdicts |= {verdict for _, verdict in shown}
        per_column = (len(shown) + 1) // 2
        for i, (text, verdict) in enumerate(shown):
            colour, weight = VERDICTS.get(verdict, (BLACK, "normal"))
            column, line = divmod(i, per_column)
            axis.text(
                0.27 + 0.46 * column, 1 - (line + 0.5) / per_column, text, parse_math=False,
                color=colour, weight=weight, family="monospace", ha="center", va="center", fontsize=9,
            )  # fmt: skip
        axis.set_title(f"{fill(variant.label, 40)}, seed {seed}\n{_tally(shown)}", fontsize=SMALL)
        axis.set_axis_off()
    legend_below(
        figure,
        [Patch(color=VERDICTS[name][0], label=label) for name, label in VERDICT_NAMES.items() if name in verdicts],
        note="" if verdicts & set(VERDICTS) else "Each entry is one vector: a, b, c.",
    )
    return figure


VERDICTS = {"correct": (BLUE, "normal"), "wrong": (RED, "bold")}
"""Colour and weight of a formula."""
VERDICT_NAMES = {"correct": "correct", "wrong": "bold: wrong"}


def _tally(shown: list[tuple[str, str]]) -> str:
    errors = [float(verdict.removeprefix("error ")) for _, verdict in shown if verdict.startswith("error ")]
    if errors:
        return f"MSE of a + b - c: {METRICS['mse'].text(np.square(errors).mean())}, {len(errors)} vectors"
    right = sum(verdict == "correct" for _, verdict in shown)
    return f"{right} of {len(shown)} correct, {len(set(shown))} distinct"


def scatter(study: Study, variants: list[Variant], *, rounds: list[int]) -> Figure:
    """Vectors of each variant's first seed over rounds, against the true plane a + b = c (thesis Fig 4.1)."""
    figure = Figure(figsize=(3.6 * len(rounds), 3.5 * len(variants) + 0.8), layout="constrained")
    terms = np.linspace(0, 10, 11)
    a, b = np.meshgrid(terms, terms)
    for i, variant in enumerate(variants):
        folder = study.run_folder(variant, variant.seeds[0])
        for j, round_ in enumerate(rounds):
            texts = [text for text, _ in folder.samples(round_)]
            points = np.array([[float(number) for number in text.split()] for text in texts])
            axis: Any = figure.add_subplot(len(variants), len(rounds), i * len(rounds) + j + 1, projection="3d")
            axis.plot_wireframe(a, b, a + b, color=GREY, lw=0.5)
            axis.scatter(*points.T, s=2, color=BLUE, rasterized=True)
            axis.set_title(f"{variant.label}: round {round_:,}", fontsize=9)
            axis.set(xlabel="a", ylabel="b", zlabel="c", xlim=(0, 10), ylim=(0, 10), zlim=(0, 20))
            axis.view_init(elev=18, azim=-60)
            axis.set_box_aspect(None, zoom=0.8)  # or the z axis' label would be cut
    keys: list[Artist] = [
        Line2D([], [], color=BLUE, marker=".", ls="", label="a generated vector [a, b, c]"),
        Line2D([], [], color=GREY, lw=0.8, label="the true plane, a + b = c"),
    ]
    legend_below(figure, keys)
    return figure


KINDS: dict[str, Kind] = {
    "bounds": analysis_figures.bounds,
    "conditionals": analysis_figures.conditionals,
    "curves": curves,
    "data-sizes": end_figures.data_sizes,
    "distribution": distribution,
    "estimators": analysis_figures.estimators,
    "gumbel-softmax": analysis_figures.gumbel_softmax,
    "intervals": end_figures.intervals,
    "perfect-generator": analysis_figures.perfect_generator,
    "quality-and-cost": cost_figures.quality_and_cost,
    "sampling": analysis_figures.sampling,
    "scatter": scatter,
    "sequences": sequences,
}
