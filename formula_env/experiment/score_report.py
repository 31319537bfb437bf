"""Tables for the terminal: the score of formulae of any origin."""

from rich.table import Table

from formula_env.experiment.terminal import SafeConsole
from formula_env.metrics import COUNT, SHARE
from formula_env.scoring import Score, Share


def print_score(score: Score) -> None:
    """Print the score, one entry a line, and a line for each length."""
    table = Table("", "value", "95 % interval", "meaning")
    for column in table.columns[1:3]:
        column.justify = "right"
    for name, value, meaning in _entries(score):
        if value is not None:
            table.add_row(name, *_cells(value), meaning)
    console = SafeConsole()
    console.print(table)
    if score.lengths:
        console.print(_lengths(score))
    if (others := score.num - sum(row.valid.of for row in score.lengths)) > 0:
        console.print(f"Formulae with other symbols than the task's, or too many: {others:,}", style="dim")


Entry = tuple[str, Share | float | int | None, str]
"""Name, value and meaning."""


def _entries(score: Score) -> list[Entry]:
    return [
        ("formulae", score.num, ""),
        ("valid", score.valid, "well-formed"),
        ("correct", score.correct, ""),
        ("undecided", score.undecided, "the checker can't decide"),
        ("novel", score.novel, "correct, not in the training set"),
        ("novel, canonical", score.canonical_novel, "correct, no form of it in the training set"),
        ("unique@1k", score.unique_1k, "different ones of the first 1,000 correct"),
        ("unique@10k", score.unique_10k, "different ones of the first 10,000 correct"),
        ("different", score.distinct, "correct ones"),
        ("different, novel", score.distinct_novel, "correct ones, not in the training set"),
        ("canonical forms", score.distinct_canonical, "of the correct ones"),
        ("skeletons", score.skeletons, "canonical forms without numbers"),
        ("coverage", score.coverage, f"of all {score.count or 0:,} correct formulae"),
        ("ideal coverage", score.ideal_coverage, f"by {score.num:,} uniform draws, on average"),
    ]


def _cells(value: Share | float | int) -> tuple[str, str]:
    if isinstance(value, Share):
        return SHARE.text(value.share), f"[{100 * value.low:.2f}, {100 * value.high:.2f}]"
    return (COUNT if isinstance(value, int) else SHARE).text(value), ""


def _lengths(score: Score) -> Table:
    table = Table("symbols", "formulae", "valid", "95 % interval", "correct", "95 % interval")
    for column in table.columns:
        column.justify = "right"
    for row in score.lengths:
        number = COUNT.text(row.valid.of)
        table.add_row(str(row.length), number, *_cells(row.valid), *_cells(row.correct))
    return table
