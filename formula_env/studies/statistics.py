"""Statistics over seeds: means, bootstrap intervals, and comparisons and ablations, paired by seed.

A comparison is made as hard as it can be. The baseline is, for each seed, whichever recorded row of its runs the
exact checker likes best: early stopping by an oracle. Ours is the last row: nothing is picked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, trim_mean

from formula_env.errors import FormulaError
from formula_env.experiment.rows import Row
from formula_env.metrics import METRICS, row_key
from formula_env.studies.spec import (
    STUDY_FILE,
    Ablation,
    Comparison,
    Study,
    Variant,
    check_paired,
)

Statistic = Callable[..., Any]
"""A statistic of numbers `(n, …)` along an `axis`."""

CONFIDENCE, RESAMPLES, BATCH = 0.95, 10_000, 1_000


def mean(numbers: ArrayLike, axis: int = 0) -> Any:
    """Arithmetic mean of numbers `(n, …)`, by default over the n."""
    return np.asarray(numbers, dtype=float).mean(axis=axis)


def iqm(numbers: ArrayLike, axis: int = 0) -> Any:
    """Interquartile mean, of the middle half, so that single seeds don't decide."""
    return trim_mean(numbers, 0.25, axis=axis)


STATISTICS: dict[str, Statistic] = {"mean": mean, "iqm": iqm}


def interval(numbers: ArrayLike, statistic: Statistic = mean) -> tuple[Any, Any]:
    """Ends of the 95% bootstrap interval of a statistic of numbers `(n, …)` over the n, in their unit.

    The same numbers give the same interval. Raises FormulaError for fewer than two.
    """
    values = np.asarray(numbers, dtype=float)
    if len(values) < 2:
        raise FormulaError("an interval takes at least two seeds")
    # Percentiles, for the seeds may all have the same value, such as a coverage of 1: BCa is undefined there.
    result = bootstrap(
        (values,), statistic, axis=0, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, batch=BATCH,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return result.confidence_interval.low, result.confidence_interval.high


@dataclass(frozen=True)
class Outcome:
    """Result of a comparison in one metric."""

    metric: str
    ours: list[float]
    baseline: list[float]
    """Values of the baseline, of the same seeds."""
    goal: float | None
    """Value that the mean of ours must reach."""
    floor: float | None
    """Average score of a perfect generator, for a sampled JSD; else None."""

    @property
    def differences(self) -> NDArray[np.float64]:
        """Ours minus the baseline, `(seeds,)`. To resample them is to resample pairs."""
        return np.subtract(self.ours, self.baseline)

    @property
    def wins(self) -> int:
        """Seeds where ours is better."""
        return int((self._upwards(self.differences) > 0).sum())

    @property
    def verdict(self) -> str:
        """Better or worse, where the interval of the mean difference excludes 0."""
        low, high = interval(self._upwards(self.differences))
        return "better" if low > 0 else "worse" if high < 0 else "no difference shown"

    def reaches(self, value: float) -> bool:
        """Whether a value reaches the goal; True where there is no goal."""
        return self.goal is None or bool(self._upwards(value) >= self._upwards(self.goal))

    @property
    def seeds_at_goal(self) -> int:
        return sum(self.reaches(value) for value in self.ours)

    def _upwards(self, value: Any) -> Any:
        """Turned so that more is better."""
        return value if METRICS[self.metric].better == "higher" else -value


@dataclass(frozen=True)
class Answer:
    """The result of a comparison in a study's rows."""

    comparison: Comparison
    picked_by: str
    """The metric by which the baseline's rows were picked."""
    outcomes: list[Outcome]


def compare(study: Study, comparison: Comparison) -> Answer:
    """Answer a comparison from the rows. Raises FormulaError for a metric that the rows haven't."""
    variant = study.variants[comparison.variant]
    ours = last_rows(study, variant, variant.seeds)
    baselines = [study.variants[name] for name in comparison.baselines]
    picked_by, best = best_rows(study, baselines, variant.seeds, last=not comparison.picked)
    if "jsd" in comparison.metrics and len({row.get(row_key("jsd_exact")) for row in ours + best}) > 1:
        raise FormulaError(
            f"{study.folder / STUDY_FILE}: the JSD is exact on one side of {comparison.question!r} and sampled on "
            "the other; leave it out"
        )
    outcomes = [
        Outcome(
            metric,
            metric_of(study, ours, row_key(metric)),
            metric_of(study, best, row_key(metric)),
            comparison.goals.get(metric),
            ours[0].get(row_key("jsd_floor")) if metric == "jsd" else None,
        )
        for metric in comparison.metrics
    ]
    return Answer(comparison, picked_by, outcomes)


def ablate(study: Study, ablation: Ablation) -> dict[str, list[Outcome]]:
    """Outcomes by changed variant, one for each metric: `ours` is the changed variant's, `baseline` the whole's.

    Raises FormulaError for a metric that the rows haven't.
    """
    seeds = study.variants[ablation.variant].seeds
    whole = last_rows(study, study.variants[ablation.variant], seeds)
    outcomes = {}
    for name in ablation.changed:
        rows = last_rows(study, study.variants[name], seeds)
        outcomes[name] = [
            Outcome(
                metric,
                metric_of(study, rows, row_key(metric)),
                metric_of(study, whole, row_key(metric)),
                goal=None,
                floor=None,
            )
            for metric in ablation.metrics
        ]
    return outcomes


def last_rows(study: Study, variant: Variant, seeds: Sequence[int]) -> list[Row]:
    """The last row of a variant's run of each seed."""
    return [study.run_folder(variant, seed).rows()[-1] for seed in seeds]


def best_rows(
    study: Study, variants: Sequence[Variant], seeds: Sequence[int], last: bool = False
) -> tuple[str, list[Row]]:
    """The metric by which rows are picked (exact JSD, or else NLL), and each seed's best row of all variants.

    With `last`, only the last row of each run is one to pick.

    Raises FormulaError for variants that are no pairs, or whose rows have neither.
    """
    try:
        check_paired(variants)
    except FormulaError as error:
        raise FormulaError(f"{study.folder / STUDY_FILE}: {error}") from None
    first = -1 if last else 0
    recorded = [
        [row for variant in variants for row in study.run_folder(variant, seed).rows()[first:]] for seed in seeds
    ]
    every = [row for rows in recorded for row in rows]
    if all(row.get(row_key("jsd_exact")) for row in every):
        metric = "jsd"
    elif all(row_key("nll") in row for row in every):
        metric = "nll"
    else:
        names = ", ".join(variant.name for variant in variants)
        raise FormulaError(
            f"{study.folder / STUDY_FILE}: the rows of {names} have neither an exact JSD nor an NLL"
        )
    return metric, [min(rows, key=lambda row: row[row_key(metric)]) for rows in recorded]


def metric_of(study: Study, rows: Sequence[Row], metric: str) -> list[float]:
    """A metric of each row. Raises FormulaError where there is none."""
    for row in rows:
        if not isinstance(row.get(metric), int | float):
            raise FormulaError(
                f"{study.folder / STUDY_FILE}: no number {metric} in a row; it has: {', '.join(row)}"
            )
    return [float(row[metric]) for row in rows]
