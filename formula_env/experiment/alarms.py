"""Mode collapse: a run's formulae become few."""

import math
from collections.abc import Callable, Sequence

from formula_env.experiment.rows import Row

FEW_CORRECT = 100
"""With fewer correct formulae in a sample than this their variety can't be told from it."""

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

    Variety is a share of what a perfect generator has: `effective_number` where the row knows it, and what its
    sample reaches. The latter is compared to a perfect generator with as many correct formulae in its sample, so
    that less accuracy does not pass for less variety.
    """
    return _collapse_of(rows, effective_share, most=1.0) or _collapse_of(rows, covered_share, most=LOST_COVERAGE)


def _collapse_of(rows: Sequence[Row], variety: Callable[[Row], float | None], most: float) -> str | None:
    """The same by one measure, which may not fall by more than `most`."""
    newest = rows[-1]
    share = variety(newest)
    if share is None:
        return None
    best, since = max((variety(row) or 0.0, row["round"]) for row in rows)
    message = f"round {newest['round']}: {_counted(newest)}, {share:.1%} of a perfect generator's variety"
    if best >= VARIED and share < max(KEPT_SHARE * best, best - most):
        return f"{message}, down from {best:.1%} in round {since}"
    is_poor = newest.get("eval/accuracy", 0.0) >= ACCURATE and share < LEAST_VARIETY
    return message if is_poor else None


def _counted(row: Row) -> str:
    """`12 of 70 correct formulae in the sample, effectively 3.1`"""
    if "eval/num_cells" in row:
        return (
            f"{round(row['eval/coverage'] * row['eval/num_cells'])} of {row['eval/num_cells']} cells in the sample"
        )
    effectively = f", effectively {row['eval/effective_number']:.3g}" if "eval/effective_number" in row else ""
    return f"{row['eval/num_correct']} of {row['eval/num_formulae']} correct formulae in the sample{effectively}"


def effective_share(row: Row) -> float | None:
    """`effective_number` as a share of all correct formulae."""
    if "eval/effective_number" not in row:
        return None
    return row["eval/effective_number"] / row["eval/num_formulae"]


def covered_share(row: Row) -> float | None:
    """The distinct correct formulae of the sample, or its cells, as a share of a perfect generator's."""
    if "eval/num_cells" in row:
        return row["eval/coverage"]
    if "eval/num_correct" not in row:  # mended by hand
        return None
    correct, total = row["eval/accuracy"] * row["eval/num_samples"], row["eval/num_formulae"]
    if correct < FEW_CORRECT:
        return None
    return row["eval/num_correct"] / expected_distinct(correct, total)


def expected_distinct(draws: float, total: int) -> float:
    """How many different ones of `total` a number of uniform draws finds on average."""
    return total * -math.expm1(draws * math.log1p(-1 / total)) if total > 1 else 1.0
