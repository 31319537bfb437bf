"""Figures of analyses: what a study has computed without training anything. `study_figures` names them."""

from statistics import fmean

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from formula_env.errors import FormulaError
from formula_env.experiment.drawing import (
    BLACK,
    BLUE,
    CYAN,
    GREY,
    ORANGE,
    RED,
    SMALL,
    STYLES,
    VIOLET,
    legend_below,
)
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from formula_env.studies.records import read_analysis
from formula_env.studies.spec import STUDY_FILE, Study, Variant


def gumbel_softmax(study: Study, variants: list[Variant]) -> Figure:
    """Mean (top) and samples (below) of the Gumbel-softmax distribution over temperature (thesis Fig 6.1)."""
    rows = rows_of(study, variants[0])
    exact = next(row["mean"] for row in rows if row["kind"] == "categorical")
    relaxed = [row for row in rows if row["kind"] == "gumbel-softmax"]
    figure = Figure(figsize=(2.3 * (len(relaxed) + 1), 7), layout="constrained")
    axes = figure.subplots(4, len(relaxed) + 1, sharex=True, sharey=True)
    places = np.arange(len(exact))
    axes[0, 0].bar(places, exact, color=ORANGE, label="categorical distribution, exact")
    axes[0, 0].set_title("categorical", fontsize=9)
    axes[0, 0].tick_params(labelbottom=True)
    axes[0, 0].set_xlabel("category", fontsize=9)
    for axis in axes[1:, 0]:
        axis.set_axis_off()
    for column, row in zip(axes.T[1:], relaxed, strict=True):
        column[0].set_title(f"τ = {row['temperature']:g}", fontsize=9)
        column[0].bar(places, row["mean"], color=BLUE, label="mean of the samples")
        column[0].plot(places, exact, "_", color=ORANGE, ms=12, mew=2)
        for axis, sample in zip(column[1:], row["samples"], strict=False):
            axis.bar(places, sample, color=CYAN, label="one sample")
        column[-1].set_xlabel("category", fontsize=9)
        column[-1].set_xticks(places)
    for axis in (axes[0, 0], *axes[:, 1]):
        axis.set_ylabel("probability" if axis is axes[0, 0] else "entry", fontsize=9)
    axes[0, 0].set_ylim(0, 1)
    legend_below(figure)
    return figure


def perfect_generator(study: Study, variants: list[Variant], *, thesis: list[float]) -> Figure:
    """Algorithm 2 by dynamic programming in both readings, and what the thesis reports."""
    rows = rows_of(study, variants[0])
    cases = [(row["length"], row["switch"], row["vocab_size"]) for row in rows[::2]]
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(cases))
    for shift, tie, colour in ((-0.2, "emit 0", BLUE), (0.2, "leave 0", GREY)):
        values = [row["exact"] for row in rows if row["tie"] == tie]
        bars = axis.bar(places + shift, values, 0.38, color=colour, label=f"exact; equal sums: {tie}")
        axis.bar_label(bars, fmt="%.4f", fontsize=SMALL, padding=2)
    for place, value in zip(places, thesis, strict=True):
        if value >= 0:
            axis.hlines(value, place - 0.42, place + 0.42, color=BLACK, ls="-.", lw=1.4)
    axis.plot([], [], color=BLACK, ls="-.", label="thesis, where it gives a number")
    names = [f"n = {length}, P_s = {switch:.3f}\n{size} symbols" for length, switch, size in cases]
    axis.set_xticks(places, names, fontsize=SMALL)
    axis.set_ylim(0, 1.08)
    axis.set_ylabel("correct (share)")
    note = "n: symbols of a sequence; P_s: probability with which the sampler flips the symbol that is asked for."
    legend_below(figure, note=note)
    return figure


def bounds(study: Study, variants: list[Variant], *, analysis: str) -> Figure:
    """Best possible with logits bound to ±c, by an `analysis`; and what variants with these bounds reach."""
    rows = rows_of(study, study.variants[analysis])
    c = [row["bound"] for row in rows]
    figure = Figure(figsize=(8.5, 7.2), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    nearest = "limit: nearest to the true distribution"
    lines = (
        ("both_halves", "limit: any controller, n = 8", BLUE, "o"),
        ("matching", nearest, ORANGE, "s"),
        ("random_first_half", "limit: looking ahead, first half random", RED, "^"),
        ("myopic", "limit: Algorithm 2", VIOLET, "D"),
    )
    for (column, label, colour, marker), style in zip(lines, STYLES, strict=False):
        values = [row[column] for row in rows]
        axes[0].plot(c, values, color=colour, ls=style, marker=marker, ms=4, label=label)
    values = [row["matching_jsd"] for row in rows]
    axes[1].plot(c, values, color=ORANGE, ls=STYLES[1], marker="s", ms=4, label=nearest)
    for variant in variants:
        bound = variant.settings["algo"]["logit_bound"]
        for axis, metric in zip(axes, ("accuracy", "jsd"), strict=True):
            values = [summary_of(folder)[metric] for folder in study.folders(variant)]
            axis.plot([bound] * len(values), values, "x", color=BLACK, ms=6, label="measured, each seed")
    axes[0].set_ylabel("correct (share)")
    axes[1].set_ylabel("JSD (nats, log scale)")
    axes[1].set_yscale("log")
    axes[1].set_xlabel("c: logits (nats) are within ±c")
    for axis in axes:
        axis.grid(alpha=0.25)
    legend_below(figure)
    return figure


def conditionals(study: Study, variants: list[Variant]) -> Figure:
    """How spiky the next symbol is: true distributions after a prefix, and entropies over positions (Fig 3.3)."""
    rows = rows_of(study, variants[0])
    examples = [row for row in rows if row["kind"] == "next"]
    entropies = [row for row in rows if row["kind"] == "entropy"]
    figure = Figure(figsize=(3.6 * len(examples), 6.6), layout="constrained")
    axes = figure.subplots(2, len(examples))
    for axis, row in zip(axes[0], examples, strict=True):
        axis.bar(row["symbols"], row["probabilities"], color=BLUE, label="probability of the next symbol")
        axis.set_title(f"{row['task']}: {row['prefix']} …", fontsize=9)
        axis.set_ylim(0, 1.05)
        axis.tick_params(axis="x", labelrotation=45 if len(row["symbols"]) > 5 else 0, labelsize=SMALL)
    for axis, row in zip(axes[1], entropies, strict=False):
        places = np.arange(1, len(row["bits"]) + 1)
        axis.bar(places, row["bits"], color=ORANGE, label="entropy of the next symbol (bits)")
        axis.plot(
            places, row["forced"], "o-", ms=3, color=BLACK, label="prefixes that leave one symbol only (share)"
        )
        axis.set_title(row["task"], fontsize=9)
        axis.set_xlabel("position of the symbol", fontsize=9)
        axis.set_xticks(places[:: 1 + len(places) // 10])
    for axis in axes[1, len(entropies) :]:
        axis.set_axis_off()
    axes[0, 0].set_ylabel("probability")
    axes[1, 0].set_ylabel("bits; share")
    legend_below(figure)
    return figure


def sampling(study: Study, variants: list[Variant]) -> Figure:
    """The sampler on a smooth and on a spiky distribution: how often it leaves the most probable symbol, and what
    that costs (thesis Fig 8.1)."""
    rows = rows_of(study, variants[0])
    figure = Figure(figsize=(4.2 * len(rows), 4.4), layout="constrained")
    axes = figure.subplots(1, len(rows))
    for axis, row in zip(axes, rows, strict=True):
        places = np.arange(len(row["logits"]))
        axis.bar(places, row["logits"], color=[BLUE if good else GREY for good in row["acceptable"]])
        for place, logit, noise in zip(places, row["logits"], row["noise"], strict=True):
            hatch = None if noise > 0 else "///"
            axis.bar(place, noise, 0.5, bottom=logit, color="none", edgecolor=BLACK, hatch=hatch)
        chosen = int(np.argmax(np.add(row["logits"], row["noise"])))
        axis.plot(chosen, row["logits"][chosen] + row["noise"][chosen], "v", color=ORANGE, ms=10, mec=BLACK)
        axis.set_title(
            f"{row['name']}\nmoved from the top: {row['moved']:.1%}; wrong symbol: {row['wrong']:.1%}",
            fontsize=SMALL,
        )
        axis.set_xticks(places, row["symbols"], fontsize=SMALL)
        axis.set_xlabel("symbol", fontsize=9)
        axis.margins(y=0.08)
    axes[0].set_ylabel("logit + Gumbel noise (nats)")
    keys: list[Artist] = [
        Patch(color=BLUE, label="logit of an acceptable symbol"),
        Patch(color=GREY, label="logit of a wrong symbol"),
        Patch(fc="none", ec=BLACK, label="noise above 0, on top of the logit"),
        Patch(fc="none", ec=BLACK, hatch="///", label="noise below 0"),
        Line2D([], [], color=ORANGE, mec=BLACK, marker="v", ms=8, ls="", label="symbol drawn: the largest sum"),
    ]
    legend_below(
        figure,
        keys,
        note="Percentages: how often a draw leaves the most probable symbol, and ends at a wrong one.",
    )
    return figure


def estimators(study: Study, variants: list[Variant]) -> Figure:
    """Variance of estimates of SeqGAN's gradient from one batch, relative to the gradient, a panel per reward.

    Bars and the numbers beside them are means over the seeds, dots the seeds.
    """
    rows = [row for folder in study.folders(variants[0]) for row in _rows_in(study, variants[0], folder)]
    rewards = list(dict.fromkeys(row["reward"] for row in rows))
    figure = Figure(figsize=(2 + 4 * len(rewards), 4.4), layout="constrained")
    axes = figure.subplots(1, len(rewards), squeeze=False, sharey=True)
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
            axis.barh(name, variance, 0.6, color=BLUE, label="variance, mean of the seeds")
            variances = [row["variance"] for row in of_seeds]
            axis.plot(variances, [i] * len(variances), ".", color=ORANGE, ms=5, label="variance, each seed")
            numbers = f"{variance:.3g}; cosine {cosine:.2f}\nbias {bias:.3f} (noise {noise:.3f})"
            axis.annotate(
                numbers, (max(variances), i), (6, 0), textcoords="offset points", fontsize=SMALL, va="center"
            )
        axis.set_title(f"reward: {reward}", fontsize=9)
        axis.set_xscale("log")
        axis.set_xlim(least / 4, 100 * largest)  # room for the numbers
        axis.set_xlabel(f"variance of g / ‖∇‖² (batch of {rows[0]['batch']}, log scale)", fontsize=9)
        axis.grid(alpha=0.25, axis="x")
        axis.set_axisbelow(True)
    axes[0][0].invert_yaxis()
    axes[0][0].tick_params(axis="y", labelsize=SMALL)
    note = (
        f"g: the gradient that one batch gives; ∇: the true one, from all sequences. Beside each bar: the mean "
        f"variance; the mean cosine of g and ∇; bias, ‖mean g - ∇‖/‖∇‖ over {rows[0]['num_batches']} batches, and "
        f"the noise that an estimator without bias would show there. All are relative to ∇, without a unit."
    )
    legend_below(figure, note=note)
    return figure


def rows_of(study: Study, variant: Variant) -> list[Row]:
    """The rows of an analysis with one seed, as exact ones have."""
    return _rows_in(study, variant, study.folders(variant)[0])


def _rows_in(study: Study, variant: Variant, folder: RunFolder) -> list[Row]:
    if variant.analysis is None:
        raise FormulaError(
            f"{study.folder / STUDY_FILE}: {variant.name} is made of runs, this figure of an analysis"
        )
    return read_analysis(folder.path, variant.analysis) or []


def summary_of(folder: RunFolder) -> Row:
    """The summary of a run of a complete study."""
    summary = folder.summary()
    assert summary is not None, "a study is complete before it is drawn"
    return summary
