"""Mode collapse: a run's formulae become few."""

import math
from collections.abc import Callable, Sequence

from formula_env.experiment.rows import Row
from formula_env.metrics import METRICS, SHARE, evaluation_of

FEW_CORRECT = 100
"""Least number of correct formulae in a sample from which their variety is estimated."""

VARIED = 0.25
"""Share of a perfect generator's variety from which on a generator has some to lose."""

KEPT_SHARE = 0.5
"""Share of its best variety that a healthy generator keeps."""

LOST_COVERAGE = 0.2
"""How much less than at its best a healthy generator's sample may reach."""

ACCURATE, LEAST_VARIETY = 0.9, 0.1
"""Accuracy from which on a generator must have at least this share of a perfect one's variety."""


def collapse(rows: Sequence[Row]) -> str | None:
    """Round and variety of the newest row if it has collapsed, else None.

    It has if its variety has fallen from what it was, or if it is very accurate with next to no variety. A
    generator that has never been varied and isn't accurate may still learn to be.

    Variety is a share of what a perfect generator has: `effective_number` where the row has it, and what its
    sample reaches. The latter is compared to a perfect generator with as many correct formulae in its sample, so
    that less accuracy does not pass for less variety.
    """
    return _collapse_of(rows, effective_share, most=1.0) or _collapse_of(rows, covered_share, most=LOST_COVERAGE)


def _collapse_of(rows: Sequence[Row], variety: Callable[[Row], float | None], most: float) -> str | None:
    """Round and variety of the newest row if it has collapsed by one measure, else None.

    A fall of a varied generator by more than `most` is a collapse.
    """
    newest = rows[-1]
    share = variety(newest)
    if share is None:
        return None
    best, since = max((variety(row) or 0.0, row["round"]) for row in rows)
    counted = _counted(evaluation_of(newest))
    message = f"round {newest['round']}: {counted}, {SHARE.text(share)} of a perfect generator's variety"
    if best >= VARIED and share < max(KEPT_SHARE * best, best - most):
        return f"{message}, down from {SHARE.text(best)} in round {since}"
    is_poor = evaluation_of(newest).get("accuracy", 0.0) >= ACCURATE and share < LEAST_VARIETY
    return message if is_poor else None


def _counted(metrics: Row) -> str:
    """`12 of 70 correct formulae in the sample, effectively 3.1`"""
    if "num_cells" in metrics:
        return f"{round(metrics['coverage'] * metrics['num_cells'])} of {metrics['num_cells']} bins in the sample"
    effective = METRICS["effective_number"]
    count = metrics.get(effective.name)
    effectively = f", {effective.label} {effective.text(count)}" if count is not None else ""
    of_all = f" of {metrics['num_formulae']}" if "num_formulae" in metrics else ""
    return f"{metrics['num_correct']}{of_all} correct formulae in the sample{effectively}"


def effective_share(row: Row) -> float | None:
    """`effective_number` as a share of all correct formulae."""
    metrics = evaluation_of(row)
    if "effective_number" not in metrics:
        return None
    return metrics["effective_number"] / metrics["num_formulae"]


def covered_share(row: Row) -> float | None:
    """The distinct correct formulae of the sample, or its bins, as a share of a perfect generator's."""
    metrics = evaluation_of(row)
    if "num_cells" in metrics:
        return metrics["coverage"]
    if "num_correct" not in metrics:  # mended by hand
        return None
    correct, total = metrics["accuracy"] * metrics["num_samples"], metrics.get("num_formulae")
    if correct < FEW_CORRECT:
        return None
    return metrics["num_correct"] / (expected_distinct(correct, total) if total else correct)


def expected_distinct(draws: float, total: int) -> float:
    """How many different ones of `total` a number of uniform draws finds on average."""
    return total * -math.expm1(draws * math.log1p(-1 / total)) if total > 1 else 1.0
