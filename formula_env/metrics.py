"""The table of metrics: name, label, definition, direction and number format of each, in this one place.

Rows, summaries, tables, figures, comparisons and alarms read it, and `metrics_table` documents it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["higher", "lower"] | None
"""Direction in which a metric improves; None where neither is better by itself."""


@dataclass(frozen=True)
class Format:
    """How numbers of one kind are written, and their differences."""

    spec: str
    change_spec: str
    factor: float = 1.0
    """Factor that differences are multiplied with."""
    change_unit: str = ""

    def text(self, value: float) -> str:
        """A number: `98.10%`, `0.0213`, `0.00478`, `12,870`"""
        if isinstance(value, bool):
            return str(value)
        return f"{value:,}" if isinstance(value, int) and self is COUNT else f"{value:{self.spec}}"

    def change(self, value: float, *ends: float) -> str:
        """A difference, perhaps with the ends of its interval: `+1.20 [+0.80, +1.60] points`"""
        middle, *between = (f"{self.factor * each:{self.change_spec}}" for each in (value, *ends))
        shown = f" [{', '.join(between)}]" if between and between[0] != between[-1] else ""
        return f"{middle}{shown}{self.change_unit}"


SHARE = Format(".2%", "+.2f", 100, " points")
NATS = Format(".4f", "+.4f")
NUMBER = Format(".3g", "+.3g")
COUNT = Format(",.1f", "+,.1f")
FLAG = Format("", "")
COLUMN = Format(".4g", "+.4g")
"""Numbers that are no metrics, such as a column of an analysis."""


@dataclass(frozen=True)
class Metric:
    """Definition of a metric, and the format of its numbers."""

    name: str
    """Key in `summary.json`; `row_key` gives the one in `metrics.jsonl`."""
    label: str
    definition: str
    unit: str
    format: Format
    better: Better = None

    def axis(self, *notes: str) -> str:
        """Label with the unit and notes in brackets: `JSD (nats, exact, log scale)`"""
        unit = "share" if self.format is SHARE else self.unit
        inside = ", ".join(filter(None, (unit, *notes)))
        return f"{self.label} ({inside})" if inside else self.label

    @property
    def heading(self) -> str:
        """The label of a column or line of a table, with the unit where the numbers don't show it: `JSD (nats)`"""
        return f"{self.label} (nats)" if self.format is NATS else self.label

    def text(self, value: float) -> str:
        """A value of this metric as text: `98.10%`, `0.0213`."""
        return self.format.text(value)


_ALL = [
    # --- of an evaluation: formulae made of symbols ---
    Metric(
        "accuracy", "accuracy", "Share of the generator's mass, or of the sample, that is correct.",
        "share of the generator's mass", SHARE, "higher",
    ),
    Metric(
        "jsd", "JSD",
        "Jensen-Shannon divergence from the uniform distribution over the correct formulae, incorrect mass "
        "included. Of vectors: from the true joint distribution of the free numbers, over the bins of a grid. 0 "
        "is perfect, log 2 = 0.693 is disjoint.",
        "nats", NATS, "lower",
    ),
    Metric(
        "jsd_exact", "JSD is exact", "Whether `jsd` comes from probabilities; if not, from the sample.", "", FLAG,
    ),
    Metric(
        "jsd_floor", "floor of the JSD",
        "Sampled JSD that a perfect generator would have on average in a sample of this size; only where `jsd` is "
        "sampled.",
        "nats", NATS,
    ),
    Metric(
        "coverage", "coverage",
        "Share of the distinct correct formulae, or of the bins of vectors, that the sample reaches.",
        "share of all", SHARE, "higher",
    ),
    Metric(
        "num_correct", "reached", "Number of the distinct correct formulae that the sample reaches.",
        "formulae", COUNT, "higher",
    ),
    Metric("num_formulae", "correct formulae", "Number of correct formulae there are.", "formulae", COUNT),
    Metric("uniqueness", "uniqueness", "Share of distinct formulae in the sample.", "share of the sample", SHARE),
    Metric(
        "novelty", "novelty",
        "Share of the mass, or of the sample, that is correct and not in the training set.",
        "share of the generator's mass", SHARE, "higher",
    ),
    Metric(
        "memorised", "memorised",
        "Share of the mass, or of the sample, that is correct and in the training set; only where that is known.",
        "share of the generator's mass", SHARE,
    ),
    Metric(
        "undecided", "undecided",
        "Share of the sample on which the checker can't decide, and which counts as incorrect; only for checkers "
        "that leave some undecided.",
        "share of the sample", SHARE, "lower",
    ),
    Metric(
        "novel_coverage", "novel coverage",
        "Share of the correct formulae outside the training set to which the generator gives at least half of the "
        "probability that they should have, 1/count; only with the probabilities of all correct formulae.",
        "share of the unseen", SHARE, "higher",
    ),
    Metric(
        "novel_1k", "new among 1,000",
        "Number of different formulae outside the training set among the first 1,000 correct ones of the sample.",
        "formulae", COUNT, "higher",
    ),
    Metric(
        "novel_10k", "new among 10,000",
        "Number of different formulae outside the training set among the first 10,000 correct ones of the sample.",
        "formulae", COUNT, "higher",
    ),
    Metric(
        "num_canonical", "canonical forms",
        "Number of distinct canonical forms of the sample's correct formulae, where the task defines one.",
        "forms", COUNT,
    ),
    Metric(
        "canonical_novelty", "canonical novelty",
        "Share of the sample that is correct and whose canonical form no formula of the training set has.",
        "share of the sample", SHARE, "higher",
    ),
    Metric(
        "held_out_mass", "held-out mass",
        "Share of the generator's mass on the formulae that a file keeps from the training.",
        "share of the generator's mass", SHARE, "higher",
    ),
    Metric(
        "coverage_10k", "coverage by 10,000 draws",
        "Share of the correct formulae that 10,000 draws reach on average: mean of 1 - (1 - π)^10,000, over all "
        "correct formulae, those that a file keeps from the training, or unseen ones of a sample of the task.",
        "share of all", SHARE, "higher",
    ),
    Metric(
        "coverage_10k_share", "of the ideal by 10,000 draws",
        "Ratio of it to that of a uniform generator; only where the number of correct formulae is known.",
        "share of the ideal", SHARE, "higher",
    ),
    Metric(
        "coverage_1m", "coverage by 1,000,000 draws",
        "Share of the correct formulae that 1,000,000 draws reach on average; over the same formulae.",
        "share of all", SHARE, "higher",
    ),
    Metric(
        "coverage_1m_share", "of the ideal by 1,000,000 draws",
        "Ratio of it to that of a uniform generator; only where the number of correct formulae is known.",
        "share of the ideal", SHARE, "higher",
    ),
    Metric(
        "coverage_twice", "coverage by twice as many draws",
        "Share of the correct formulae that twice as many draws as there are reach on average; of a uniform "
        "generator 1 - e^-2 = 86.5%. Only where their number is known.",
        "share of all", SHARE, "higher",
    ),
    Metric(
        "held_out_nll", "held-out NLL",
        "Mean -log π of correct formulae outside the training set: all of them, those that a file keeps from the "
        "training, or a sample of the task; where finite.",
        "nats", NATS, "lower",
    ),
    Metric(
        "validation_nll", "validation NLL",
        "Mean -log π of the training formulae that `data.validation` sets aside; where finite.",
        "nats", NATS, "lower",
    ),
    Metric(
        "entropy", "entropy",
        "Entropy of the generator, estimated by the sample's mean -log π; only with probabilities.",
        "nats", NATS,
    ),
    Metric(
        "nll", "NLL",
        "Mean -log π of the correct formulae, or of a sample of the task; of a uniform distribution log(count) is "
        "perfect. Only with probabilities, and where finite.",
        "nats", NATS, "lower",
    ),
    Metric(
        "kl", "KL(u ‖ π)",
        "Divergence of the generator π from u, uniform over the correct formulae, incorrect mass included: nll - "
        "log(count); where finite.",
        "nats", NATS, "lower",
    ),
    Metric(
        "reverse_kl", "KL(π ‖ u)",
        "Divergence of u from the generator given that its formula is correct: log(count) - H(π | correct).",
        "nats", NATS, "lower",
    ),
    Metric(
        "effective_number", "effectively",
        "exp(H(π | correct)): the number of formulae that, equally probable, would be as varied as the correct "
        "ones of the generator; 1 if it generates one, num_formulae if it is uniform over all.",
        "formulae", COUNT, "higher",
    ),
    Metric(
        "ratio_error", "error of the density ratio",
        "Root mean square of d - log(u/π), a constant offset included. d is the discriminator's logit, π the "
        "generator that it is trained against, and the mean is over the correct formulae with weights (u + π)/2.",
        "nats", NATS, "lower",
    ),
    Metric(
        "ratio_correlation", "correlation of the density ratio",
        "Correlation of d and log(u/π), with the same weights; only where both vary.",
        "from -1 to 1", NUMBER, "higher",
    ),
    Metric(
        "calibration_error", "calibration error", "Mean of |sigmoid(d) - u/(u + π)|, with the same weights.",
        "difference of probabilities", NUMBER, "lower",
    ),
    Metric(
        "num_samples", "samples", "Number of formulae in the evaluation's sample.", "formulae", COUNT,
    ),
    Metric(
        "collapse", "collapsed",
        "1 where the run's variety has collapsed (`formula_env.experiment.alarms`), else 0; rows only.",
        "", COUNT,
    ),
    # --- of an evaluation: vectors ---
    Metric(
        "mse", "MSE", "Mean square of the error by which the equation a + b = c fails (thesis section 4.2).",
        "squared number", NUMBER, "lower",
    ),
    Metric(
        "marginal_distance", "distance of a, b",
        "Wasserstein-1 distance of each free number's distribution from the true one, mean of them.",
        "number", NUMBER, "lower",
    ),
    Metric("num_cells", "bins", "Number of bins of the grid over the free numbers.", "bins", COUNT),
    Metric(
        "integer_distance", "to next integer",
        "Mean distance to the next integer; 1/4 for numbers that are spread evenly between integers.",
        "number", NUMBER,
    ),
    # --- of the training: means over the rounds since the last row ---
    Metric("discriminator/loss", "D loss", "Loss of the discriminator.", "nats", NATS),
    Metric(
        "discriminator/distance", "critic's distance",
        "WGAN-GP's critic on real formulae less on generated ones, means: about their Wasserstein-1 distance.",
        "", NUMBER,
    ),
    Metric(
        "discriminator/accuracy", "D accuracy",
        "Share of real and fake formulae that the discriminator tells apart.",
        "share of the batch", SHARE,
    ),
    Metric(
        "discriminator/fake", "mean D(fake)",
        "Mean probability of being real that the discriminator gives to fakes.",
        "probability", NUMBER,
    ),
    Metric(
        "train/nll", "NLL", "Loss of maximum likelihood: mean -log π of a batch of real formulae.", "nats", NATS,
    ),
    Metric("train/loss", "G loss", "Loss of the generator.", "", NUMBER),
    Metric("train/reward", "reward", "Mean reward of a formula of the batch.", "", NUMBER),
    Metric(
        "train/logit_gap", "logit gap", "Mean distance of the largest logit from the second.", "nats", NUMBER,
    ),
    Metric(
        "train/explained_variance", "explained variance",
        "Share of the returns' variance that the value explains.",
        "", NUMBER,
    ),
    # --- of algorithms that use the checker ---
    Metric(
        "verified/checker_calls", "checker calls", "Number of formulae that the exact checker has checked so far.",
        "formulae", COUNT,
    ),
    Metric(
        "verified/known", "known", "Number of distinct formulae that the checker has found correct so far.",
        "formulae", COUNT,
    ),
]  # fmt: skip

METRICS = {metric.name: metric for metric in _ALL}
"""All metrics by name, in the order of documentation."""

COMPARABLE = tuple(name for name, metric in METRICS.items() if metric.better is not None)
"""Metrics that have a better and a worse."""

EVALUATION = "eval/"


def metric(name: str) -> Metric:
    """The metric of this name; of a name that is not in the table, such as an analysis' column, a plain number."""
    return METRICS.get(name) or Metric(name, name.replace("_", " "), "", "", COLUMN)


def row_key(name: str) -> str:
    """Key in a row of `metrics.jsonl` of a metric: `eval/jsd` of `jsd`; a name with a group keeps it."""
    return name if "/" in name else f"{EVALUATION}{name}"


def name_of(row_key: str) -> str:
    """Name of the metric that a row has under this key, as in the summary: `jsd` of `eval/jsd`."""
    return row_key.removeprefix(EVALUATION)


def is_known(name: str) -> bool:
    """Whether a run may have a metric of this name; an algorithm may log what it likes in a group of its own."""
    return name in METRICS or ("/" in name and not name.startswith(EVALUATION))


def is_in_summary(name: str) -> bool:
    """Whether the summary has this metric, or only the rows."""
    return "/" not in name


def evaluation_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a row's evaluation by name, as the summary has them."""
    return {name_of(key): value for key, value in row.items() if key.startswith(EVALUATION)}


def jsd_text(metrics: Mapping[str, Any]) -> str:
    """The JSD of an evaluation: `0.0213`; `~0.0213` if it is estimated from a sample."""
    return f"{'' if metrics.get('jsd_exact', True) else '~'}{METRICS['jsd'].text(metrics['jsd'])}"


def metrics_table() -> str:
    """All metrics as a Markdown table: the documentation of `metrics.jsonl` and `summary.json`."""
    lines = ["| key in `metrics.jsonl` | label | unit | better | definition |", "|---|---|---|---|---|"]
    for each in METRICS.values():
        definition = each.definition.replace("|", r"\|")
        columns = (f"`{row_key(each.name)}`", each.label, each.unit, each.better or "", definition)
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)
