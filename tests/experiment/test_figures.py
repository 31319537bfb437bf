import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from formula_env.experiment.cli import main
from formula_env.experiment.figures import draw_distribution, draw_figures, draw_training
from formula_env.experiment.rows import read_rows

SUMMARY: dict[str, Any] = {
    "algorithm": "seqgan", "task": "binary-sum", "task_options": {"length": 8}, "seed": 0, "jsd": 0.01,
    "jsd_exact": True, "num_samples": 100, "random": {"accuracy": 0.27, "jsd": 0.36},
    "start_name": "MLE start", "start": {"accuracy": 0.4, "jsd": 0.28},
}  # fmt: skip


def row(round_: int, accuracy: float, jsd: float) -> dict[str, Any]:
    return {
        "round": round_, "eval/accuracy": accuracy, "eval/jsd": jsd, "eval/coverage": accuracy / 2,
        "discriminator/loss": 0.6,
    }  # fmt: skip


def test_the_training_figure_shows_the_rows_and_what_they_compare_to() -> None:
    rows = [row(40, 0.4, 0.28), row(90, 0.8, 0.1), row(140, 0.98, 0.02)]
    accuracy, jsd, variety, losses = draw_training(rows, SUMMARY).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in accuracy.get_lines()}
    assert lines["seqgan"] == [0.4, 0.8, 0.98]
    assert lines["MLE start"] == [0.4, 0.4]
    assert lines["random sampler"] == [0.27, 0.27]
    assert lines["thesis (0.97)"] == [0.97, 0.97]
    assert np.asarray(jsd.get_lines()[0].get_ydata()).tolist() == [0.28, 0.1, 0.02]
    assert "thesis (0.03)" in [line.get_label() for line in jsd.get_lines()]
    assert [line.get_label() for line in variety.get_lines()] == ["coverage of the sample"]
    assert np.asarray(losses.get_lines()[0].get_xdata()).tolist() == [40, 90, 140]
    plt.close("all")


def test_the_training_figure_shows_variety_as_shares_and_the_first_alarm() -> None:
    known = {"eval/num_formulae": 70, "eval/novelty": 0.1, "eval/memorised": 0.3, "eval/novel_coverage": 0.5}
    rows = [
        row(40, 0.4, 0.28) | known | {"eval/effective_number": 63.0, "eval/collapse": 0},
        row(90, 0.8, 0.1) | known | {"eval/effective_number": 14.0, "eval/collapse": 1},
        row(140, 0.9, 0.1) | known | {"eval/effective_number": 7.0, "eval/collapse": 1},
    ]
    variety = draw_training(rows, SUMMARY).axes[2]
    lines = {line.get_label(): line for line in variety.get_lines()}
    drawn = {label: np.asarray(line.get_ydata()).tolist() for label, line in lines.items()}
    assert drawn["coverage of the sample"] == [0.2, 0.4, 0.45]
    assert drawn["effective number / count"] == pytest.approx([0.9, 0.2, 0.1])
    assert drawn["novelty"] == [0.1] * 3
    assert drawn["memorised"] == [0.3] * 3
    assert drawn["novel coverage"] == [0.5] * 3
    assert np.asarray(lines["collapsed in round 90"].get_xdata()).tolist() == [90, 90]
    plt.close("all")


def test_other_tasks_get_no_line_of_the_thesis() -> None:
    summary = SUMMARY | {"task_options": {"length": 16}}
    accuracy, *_ = draw_training([row(40, 0.4, 0.28), row(90, 0.5, 0.1)], summary).axes
    assert not [label for line in accuracy.get_lines() if "thesis" in (label := str(line.get_label()))]
    plt.close("all")


def test_the_distribution_figure_shows_samples_probabilities_and_truth() -> None:
    entries = [
        {"formula": "00", "probability": "0.6", "sampled": "70"},
        {"formula": "11", "probability": "0.3", "sampled": "20"},
    ]
    (axis,) = draw_distribution(entries, SUMMARY).axes
    bars: Any = axis.patches
    assert [bar.get_height() for bar in bars] == pytest.approx([0.7, 0.2])
    probability, truth = axis.get_lines()
    assert np.asarray(probability.get_ydata()).tolist() == [0.6, 0.3]
    assert np.asarray(truth.get_ydata()).tolist() == [0.5, 0.5]
    plt.close("all")


def test_figures_come_from_the_folder_alone(tmp_path: Path) -> None:
    """For a task without a histogram, and redrawn alike after the weights are gone."""
    folder = tmp_path / "run"
    command = "train mle --task.length 32 --data.size 300 --algo.rounds 4 --eval-every 2 --eval-samples 100"
    assert main([*command.split(), "--out", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["jsd_exact"] is False
    assert summary["jsd_floor"] > 0
    assert [row["round"] for row in read_rows(folder)] == [0, 2, 4]
    figure = folder / "figures" / "training.png"
    before = figure.read_bytes()
    assert [path.name for path in (folder / "figures").iterdir()] == ["training.png"]
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    figure.unlink()
    draw_figures(folder, summary)
    assert figure.read_bytes() == before
