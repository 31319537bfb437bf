"""Formulae set aside from the training set: the metric, and the early end that it decides."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.experiment.config import DataConfig
from formula_env.experiment.costs import MEASURED
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.run_folder import RunFolder
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.experiment.commands import complaint, rows_without_time

TASK = make_task("binary-sum", length=8)
SMALL = shlex.split(
    "train mle --task.length 10 --data.size 150 --data.distinct --data.validation 30 --eval-every 20 "
    "--eval-samples 100 --algo.rounds 300 --algo.learning-rate 0.01 --seed 3"
)


@pytest.mark.parametrize(("share", "number"), [(10, 10), (0.25, 10), (0, 0)])
def test_the_two_parts_are_the_training_set(share: float, number: int) -> None:
    data = DataConfig(size=40, distinct=True, validation=share)
    whole = data.training_set(TASK, seed=1)
    trained, validation = data.set_aside(whole, seed=1)
    assert len(validation) == number
    assert sorted(TASK.decode(np.concatenate([trained, validation]))) == sorted(TASK.decode(whole))
    assert not set(TASK.decode(trained)) & set(TASK.decode(validation))
    again, _ = data.set_aside(whole, seed=1)
    assert np.array_equal(trained, again)
    other, _ = data.set_aside(whole, seed=2)
    assert np.array_equal(trained, other) == (number == 0)


def test_equal_forms_of_the_trained_do_not_give_away_those_set_aside() -> None:
    task = make_task("equation")
    data = DataConfig(size=500, distinct=True, validation=0.3)
    trained, validation = data.set_aside(data.training_set(task, seed=0), seed=0)
    texts = set(task.decode(data.extended(trained, task, validation)))
    assert len(texts) > len(trained)
    assert texts & set(task.decode(data.extended(trained, task))) == texts
    assert not texts & set(task.decode(validation))


def trained(folder: Path, *options: str) -> RunFolder:
    assert main([*SMALL, "--out", str(folder), *options]) == 0
    return RunFolder(folder)


def validation_nll(folder: Path) -> float:
    """Computed anew: the mean over what the run's settings set aside, by its newest checkpoint's weights."""
    config, algorithm, _ = load_algorithm(folder)
    assert isinstance(config.task, SequenceTask)
    assert algorithm.log_prob is not None
    whole = config.data.training_set(config.task, config.seed)
    return -algorithm.log_prob(config.data.set_aside(whole, config.seed)[1]).mean()


def test_the_metric_is_the_mean_over_those_set_aside(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "--algo.rounds", "20")
    summary = run.summary()
    assert summary is not None
    assert summary["validation_nll"] == pytest.approx(validation_nll(run.path), rel=1e-6)
    assert run.rows()[-1]["eval/validation_nll"] == summary["validation_nll"]
    assert "best_round" not in summary


@pytest.fixture(scope="module")
def ended_early(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("patience") / "run", "--patience", "3")


def test_a_run_ends_with_the_weights_of_the_lowest(ended_early: RunFolder) -> None:
    rows, summary = ended_early.rows(), ended_early.summary()
    assert summary is not None
    values = [row["eval/validation_nll"] for row in rows]
    lowest = values.index(min(values))
    assert 0 < lowest == len(rows) - 4
    assert summary["rounds"] == rows[-1]["round"] < 300
    assert summary["best_round"] == rows[lowest]["round"]
    assert summary["validation_nll"] == min(values) == pytest.approx(validation_nll(ended_early.path), rel=1e-6)
    assert summary["accuracy"] == rows[lowest]["eval/accuracy"]


def test_until_then_it_is_the_run_that_goes_on(ended_early: RunFolder, tmp_path: Path) -> None:
    whole = trained(tmp_path / "run")
    rows = rows_without_time(ended_early.path)
    assert rows_without_time(whole.path)[: len(rows)] == rows
    assert len(whole.rows()) == 16


def test_patience_that_lasts_to_the_end_takes_the_lowest_too(ended_early: RunFolder, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "--patience", "100")
    one, other = run.summary(), ended_early.summary()
    assert one is not None
    assert other is not None
    assert one["rounds"] == 300
    assert one["best_round"] == other["best_round"]
    assert one["validation_nll"] == other["validation_nll"]


def test_where_it_is_never_finite_a_run_goes_on_to_its_end(tmp_path: Path) -> None:
    """A cut this deep makes formulae of those set aside impossible."""
    run = trained(tmp_path / "run", "--patience", "2", "--algo.rounds", "80", "--algo.cutoff", "0.99")
    assert not any("eval/validation_nll" in row for row in run.rows())
    summary = run.summary()
    assert summary is not None
    assert summary["rounds"] == 80
    assert "best_round" not in summary


@pytest.mark.parametrize("rows_left", [2, 3])
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    ended_early: RunFolder, tmp_path: Path, rows_left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed a row before the last, and between the last row and the return to the lowest."""
    from formula_env.experiment import loop

    last = ended_early.rows()[-4 + rows_left]["round"]
    save = loop.Training.save

    def killed(training: loop.Training) -> None:
        save(training)
        if training.round == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Training, "save", killed)
    assert main([*SMALL, "--patience", "3", "--out", str(tmp_path / "run")]) == 130
    monkeypatch.undo()
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert rows_without_time(tmp_path / "run") == rows_without_time(ended_early.path)
    summaries = [json.loads((path / "summary.json").read_text()) for path in (tmp_path / "run", ended_early.path)]
    for summary in summaries:
        for name in MEASURED:
            summary.pop(name)
    assert summaries[0] == summaries[1]
    assert validation_nll(tmp_path / "run") == validation_nll(ended_early.path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("mle --patience 3", "patience has no effect without formulae that validate; give data.validation"),
        ("mle --data.validation 10000", "data.validation: 10,000 of 10,000 formulae leave none to train on"),
        ("mle --data.validation -1", "validation must be at least 0, got -1"),
        ("softmax-gan --data.validation 0.1", "data.validation: softmax-gan has no likelihood to validate by"),
        (
            "vanilla-gan --task integer-sum --data.validation 0.1",
            "data.validation: vectors have no likelihood to validate by; leave it out",
        ),
    ],
)
def test_wrong_input(options: str, problem: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert problem in complaint(capfd, "train", *shlex.split(options), "--out", str(out))
    assert not out.exists()


TUNE = shlex.split("tune mle --task.length 6 --algo.rounds 10 --eval-samples 50 --trials 1 --seeds 101 --jobs 1")


def test_tune_decides_by_it(tmp_path: Path) -> None:
    assert main([*TUNE, "--data.validation", "0.2", "--out", str(tmp_path)]) == 0
    header, first = (tmp_path / "trials.csv").read_text().splitlines()
    assert header.split(",")[2] == "validation_nll"
    summary = RunFolder(tmp_path / "trial-0001" / "seed-101").summary()
    assert summary is not None
    assert float(first.split(",")[2]) == summary["validation_nll"]


def test_tune_can_not_decide_by_it_where_none_is_set_aside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "search"
    line = complaint(capfd, *TUNE, "--metric", "validation_nll", "--out", str(out))
    assert "metric validation_nll needs formulae that validate; give --data.validation, as 0.1" in line
    assert not out.exists()
