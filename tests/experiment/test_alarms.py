"""The collapse alarm: on rows made by hand, on the recorded ones, and in a run that memorises its few formulae."""

import shlex
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.experiment.alarms import collapse, covered_share, effective_share, expected_distinct
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import RunFolder
from tests.experiment.commands import rows_without_time

STUDIES = Path(__file__).parents[2] / "runs" / "studies"


def exact(round_: int, effective: float, accuracy: float = 0.5) -> Row:
    """A row of a generator whose probabilities are known; its sample reaches all 70."""
    return sampled(round_, 70, accuracy) | {"eval/effective_number": effective}


def sampled(round_: int, num_correct: int, accuracy: float = 0.5, total: int = 70) -> Row:
    """A row of one whose aren't."""
    return {
        "round": round_, "eval/accuracy": accuracy, "eval/num_samples": 10_000, "eval/num_formulae": total,
        "eval/num_correct": num_correct, "eval/coverage": num_correct / total,
    }  # fmt: skip


def vectors(round_: int, coverage: float) -> Row:
    return {"round": round_, "eval/coverage": coverage, "eval/num_cells": 100, "eval/num_samples": 10_000}


def test_what_a_uniform_sample_reaches_by_enumeration() -> None:
    """All 3^4 equally probable samples of four out of three."""
    distinct = [len(set(sample)) for sample in product(range(3), repeat=4)]
    assert expected_distinct(4, 3) == pytest.approx(np.mean(distinct))
    assert expected_distinct(5, 1) == 1
    assert expected_distinct(1, 70) == pytest.approx(1)


def test_variety_as_a_share_of_a_perfect_generators() -> None:
    assert effective_share(exact(0, 35.0)) == 0.5
    assert effective_share(sampled(0, 35)) is None
    assert covered_share(sampled(0, 35)) == pytest.approx(0.5)
    assert covered_share(sampled(0, 500, accuracy=0.05, total=10**9)) == pytest.approx(1)  # no formula twice
    assert covered_share(sampled(0, 3, accuracy=0.0003)) is None, "three formulae can't be varied"
    assert covered_share(vectors(0, 0.3)) == 0.3


@pytest.mark.parametrize(
    ("rows", "has_collapsed"),
    [
        ([exact(0, 60), exact(50, 30.1)], False),
        ([exact(0, 60), exact(50, 29.9)], True),
        ([exact(0, 40), exact(50, 60), exact(100, 29.9)], True),  # half of the best, not of the first
        ([exact(0, 60), exact(50, 29), exact(100, 40)], False),  # it has recovered
        ([exact(0, 6.9, accuracy=0.9)], True),
        ([exact(0, 6.9, accuracy=0.89)], False),  # never varied, but it may still learn to be
        ([sampled(0, 70), sampled(50, 57)], False),
        ([sampled(0, 70), sampled(50, 55)], True),
        ([sampled(0, 70), sampled(50, 2, accuracy=0.005)], False),  # it has unlearnt; nothing is known of variety
        ([sampled(0, 6_000, 0.6, 10**9), sampled(50, 3_000, 0.3, 10**9)], False),  # less correct, as varied
        ([sampled(0, 3_000, 0.3, 10**9), sampled(50, 3_000, 0.6, 10**9)], True),
        ([vectors(0, 0.01), vectors(50, 0.9), vectors(100, 0.75)], False),
        ([vectors(0, 0.01), vectors(50, 0.9), vectors(100, 0.65)], True),
        ([vectors(0, 0.01), vectors(50, 0.033), vectors(100, 0.01)], False),  # one bin, four, one: never varied
        ([vectors(0, 0.24), vectors(50, 0.01)], False),
        ([vectors(0, 0.25), vectors(50, 0.04)], True),
        ([exact(0, 17), exact(50, 2)], False),
        ([sampled(0, 17), sampled(50, 2)], False),
        ([sampled(0, 17), sampled(50, 2, accuracy=0.95)], True),  # accurate, and all but one formula
    ],
)
def test_when_it_is_raised(rows: list[Row], has_collapsed: bool) -> None:
    assert (collapse(rows) is not None) == has_collapsed


def test_it_says_what_has_happened_with_numbers() -> None:
    message = collapse([exact(0, 40), exact(50, 63), exact(100, 14)])
    assert message == (
        "round 100: 70 of 70 correct formulae in the sample, effectively 14, 20.00% of a perfect generator's "
        "variety, down from 90.00% in round 50"
    )
    message = collapse([sampled(0, 1, accuracy=1.0)])
    assert message == "round 0: 1 of 70 correct formulae in the sample, 1.43% of a perfect generator's variety"
    message = collapse([vectors(0, 1.0), vectors(50, 0.25)])
    assert message is not None
    assert message.startswith("round 50: 25 of 100 bins in the sample, 25.00%")


def recorded(pattern: str) -> list[Any]:
    files = sorted(STUDIES.glob(f"{pattern}/seed-*/metrics.jsonl"))
    assert files
    return [pytest.param(path.parent, id=str(path.parent.relative_to(STUDIES))) for path in files]


def is_raised(folder: Path) -> bool:
    rows = RunFolder(folder).rows()
    return any(collapse(rows[: i + 1]) for i in range(len(rows)))


# a1-early is left out: its alternating generators may never have been varied enough to lose anything.
COLLAPSED = ("gumbel-unconstrained/*", "softmax-gan/a1-baseline", "softmax-gan/a[2-5]")


@pytest.mark.parametrize("folder", [folder for pattern in COLLAPSED for folder in recorded(pattern)])
def test_recorded_collapses_raise_it(folder: Path) -> None:
    assert is_raised(folder)


HEALTHY = ("seqgan/*", "straight-through/straight-through", "gumbel-constrained/ours*", "vanilla-gan/ours*")


@pytest.mark.parametrize("folder", [folder for pattern in HEALTHY for folder in recorded(pattern)])
def test_recorded_runs_that_stay_varied_do_not(folder: Path) -> None:
    assert not is_raised(folder)


MEMORISING = shlex.split(
    "mle --task.length 6 --data.size 0.2 --algo.rounds 200 --algo.learning-rate 0.01 "
    "--eval-every 50 --eval-samples 400"
)


def alarms(text: str) -> list[str]:
    return [line for line in text.splitlines() if "collapsed" in line]


@pytest.mark.slow
def test_a_run_raises_it_once_and_resumed_neither_again_nor_never(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four formulae of 20 are learnt by heart."""
    folder = tmp_path / "run"
    assert main(["train", *MEMORISING, "--out", str(folder)]) == 0
    (told,) = alarms(capsys.readouterr().err)
    assert "What to change: lower --algo.rounds" in told
    rows = rows_without_time(folder)
    collapsed = [row["eval/collapse"] for row in rows]
    first = collapsed.index(1)
    assert collapsed == [0] * first + [1] * (len(rows) - first)
    assert 0 < first < len(rows) - 2
    assert told.startswith(f"variety collapsed in round {rows[first]['round']}: ")

    resumed_after(folder, rows)
    assert alarms(capsys.readouterr().err) == [], "its last checkpoint lost, the row with the alarm kept"
    for path in checkpoints(folder):
        path.unlink()
    resumed_after(folder, rows)
    assert alarms(capsys.readouterr().err) == [told], "all lost, that row too"


def resumed_after(folder: Path, rows: list[dict[str, Any]]) -> None:
    """The last checkpoint and the summary are lost; the run goes on to the same rows."""
    (folder / "summary.json").unlink()
    for path in checkpoints(folder)[-1:]:
        path.unlink()
    assert main(["resume", str(folder)]) == 0
    assert rows_without_time(folder) == rows


@pytest.mark.parametrize(("beta", "num_warnings"), [("3", 1), ("0", 0)])
def test_a_run_starts_with_the_notes_of_its_algorithm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], beta: str, num_warnings: int
) -> None:
    options = ["--task.length", "4", "--algo.rounds", "1", "--eval-samples", "50", "--algo.beta", beta]
    assert main(["train", "gflownet", *options, "--out", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("with beta 3 even a perfect policy") for line in lines[:1]] == [num_warnings == 1]
    assert sum("even a perfect policy" in line for line in lines) == num_warnings
