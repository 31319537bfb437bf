import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.experiment.drawing import BLACK, COLOURS, GREY
from formula_env.experiment.run_figures import draw_distribution, draw_figures, draw_training
from formula_env.experiment.run_folder import RunFolder
from tests.figure_checks import VISION, check_colours, check_figure, lab

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
    assert lines["thesis (97.00%)"] == [0.97, 0.97]
    assert np.asarray(jsd.get_lines()[0].get_ydata()).tolist() == [0.28, 0.1, 0.02]
    assert "thesis (0.0300)" in [line.get_label() for line in jsd.get_lines()]
    assert [line.get_label() for line in variety.get_lines()] == ["coverage of the sample"]
    assert np.asarray(losses.get_lines()[0].get_xdata()).tolist() == [40, 90, 140]


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


def test_other_tasks_get_no_line_of_the_thesis() -> None:
    summary = SUMMARY | {"task_options": {"length": 16}}
    accuracy, *_ = draw_training([row(40, 0.4, 0.28), row(90, 0.5, 0.1)], summary).axes
    assert not [label for line in accuracy.get_lines() if "thesis" in (label := str(line.get_label()))]


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


@pytest.mark.slow
def test_figures_come_from_the_folder_alone(tmp_path: Path) -> None:
    """For a task without a histogram, and redrawn alike after the weights are gone."""
    folder = tmp_path / "run"
    command = "train mle --task.length 32 --data.size 300 --algo.rounds 4 --eval-every 2 --eval-samples 100"
    assert main([*command.split(), "--out", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["jsd_exact"] is False
    assert summary["jsd_floor"] > 0
    assert [row["round"] for row in RunFolder(folder).rows()] == [0, 2, 4]
    figure = folder / "figures" / "training.png"
    before = figure.read_bytes()
    vector = folder / "figures" / "training.svg"
    drawn = vector.read_bytes()
    assert {path.name for path in (folder / "figures").iterdir()} == {"training.png", "training.svg"}
    for path in folder.glob("checkpoint-*"):
        path.unlink()
    figure.unlink()
    draw_figures(RunFolder(folder), summary)
    assert figure.read_bytes() == before
    assert vector.read_bytes() == drawn


KNOWN = {
    "eval/num_formulae": 70, "eval/effective_number": 14.0, "eval/novelty": 0.1, "eval/memorised": 0.3,
    "eval/novel_coverage": 0.5, "eval/collapse": 1, "train/nll": 4.0,
}  # fmt: skip
SAMPLED = {"jsd_exact": False, "jsd_floor": 0.004}
VECTORS = SAMPLED | {
    "algorithm": "vanilla-gan", "task": "integer-sum", "task_options": {"largest": 10, "real": False},
    "random": {"mse": 51.0, "jsd": 0.02}, "start": {"mse": 0.01, "jsd": 0.67}, "start_name": "untrained",
}  # fmt: skip


def vector_row(round_: int, mse: float, jsd: float) -> dict[str, Any]:
    return {"round": round_, "eval/mse": mse, "eval/jsd": jsd, "eval/coverage": 0.01, "discriminator/loss": 0.7}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "summary"),
    [
        ([row(40, 0.4, 0.28), row(90, 0.8, 0.1)], {}),
        ([row(40, 0.4, 0.28) | KNOWN, row(90, 0.8, 0.1) | KNOWN], SAMPLED),
        ([row(40, 0.4, 0.28)], {}),  # one row only
        ([{"round": 0, "eval/accuracy": 1.0, "eval/jsd": 0.0, "eval/coverage": 1.0}], {}),  # perfect, no loss
        ([vector_row(0, 0.01, 0.67), vector_row(50, 4e-4, 0.1)], VECTORS),
        ([row(40, 0.4, 0.28)], {"algorithm": "a-rather-long-algorithm", "task_options": {"option": "long " * 40}}),
    ],
)
def test_legends_of_a_run_are_beside_its_data(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    figure = draw_training(rows, SUMMARY | summary)
    check_figure(figure)
    for axis in figure.axes:
        legend = axis.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == axis.get_legend_handles_labels()[1]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 70, 100, 101, 12_870])
@pytest.mark.parametrize("probability", ["0.001", ""])
def test_legends_of_a_distribution_are_beside_its_data(count: int, probability: str) -> None:
    entries = [{"formula": f"{i:014b}", "probability": probability, "sampled": str(i % 7)} for i in range(count)]
    check_figure(draw_distribution(entries, SUMMARY))


def test_panels_are_drawn_only_for_what_a_run_has() -> None:
    """One that is paid by the checker has no discriminator; pytest makes a warning of matplotlib's an error."""
    rows = [{key: value for key, value in row(r, 0.5, 0.2).items() if "loss" not in key} for r in (0, 50)]
    labels = [axis.get_ylabel() for axis in draw_training(rows, SUMMARY).axes]
    assert labels == ["accuracy (share)", "JSD (nats, exact, log scale)", "variety (share)"]
    assert draw_training([row(0, 0.5, 0.2)], SUMMARY).axes[-1].get_ylabel() == "loss (nats)"


def test_titles_name_algorithm_task_options_and_seed() -> None:
    for figure in (
        draw_training([row(40, 0.4, 0.28)], SUMMARY),
        draw_distribution([{"formula": "00", "probability": "1", "sampled": "1"}], SUMMARY),
    ):
        assert figure.get_suptitle().startswith("seqgan on binary-sum (length 8), seed 0")


def test_the_palette_is_for_all_eyes() -> None:
    check_colours(
        {tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)) for colour in (*COLOURS, BLACK, GREY)}
    )
    red, green = np.array([0.76, 0.13, 0.13]), np.array([0.4, 0.42, 0.0])
    assert np.linalg.norm(lab(red, VISION["normal"]) - lab(green, VISION["normal"])) > 50
    with pytest.raises(AssertionError, match=r"too close for"):
        check_colours({tuple(red), tuple(green)})
