"""The diagnostics of SeqGAN's gradient estimators: their laws, at a size that takes seconds."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from formula_env.agents.analyses import ESTIMATORS, REWARDS, errors, estimator_rows
from formula_env.experiment.registry import ANALYSES, analysis
from formula_env.studies.spec import load_study
from formula_env.studies.study_figures import draw

pytestmark = pytest.mark.slow

NUM_BATCHES = 60


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return estimator_rows(0, NUM_BATCHES, length=4)


def of(rows: list[dict[str, Any]], reward: str, column: str) -> dict[str, float]:
    return {row["estimator"]: row[column] for row in rows if row["reward"] == reward}


def test_every_estimator_has_a_row_for_every_reward(rows: list[dict[str, Any]]) -> None:
    assert [(row["reward"], row["estimator"]) for row in rows] == [(r, e) for r in REWARDS for e in ESTIMATORS]
    assert ANALYSES["estimators"] == "formula_env.agents.analyses:estimator_rows"
    assert analysis("estimators") is estimator_rows
    assert rows[:2] == estimator_rows(0, NUM_BATCHES, length=4)[:2]


@pytest.mark.parametrize("reward", REWARDS)
def test_the_mean_of_the_estimates_is_the_enumerated_gradient(rows: list[dict[str, Any]], reward: str) -> None:
    """Up to noise, and the share 1/B that a formula's part in its own baseline costs."""
    for row in rows:
        if row["reward"] == reward:
            assert row["bias"] < 2 * row["noise"] + (1 / 64 if row["baseline"] else 0)
            assert row["cosine_of_mean"] > 1 - 2 * row["noise"] ** 2
            assert row["cosine"] <= row["cosine_of_mean"]
    assert of(rows, reward, "cosine_of_mean")["exact Q, baseline"] > 0.97


@pytest.mark.parametrize("reward", REWARDS)
def test_the_baseline_and_better_q_lower_the_variance(rows: list[dict[str, Any]], reward: str) -> None:
    variance = of(rows, reward, "variance")
    noise = 1 + 3 * sqrt(2 / NUM_BATCHES)
    assert variance["exact Q, baseline"] < noise * variance["64 rollouts, baseline"]
    assert variance["64 rollouts, baseline"] < noise * variance["16 rollouts, baseline"]
    assert variance["16 rollouts, baseline"] < variance["whole formula, baseline"]
    assert variance["whole formula, baseline"] < noise * variance["whole formula"]
    shares = {name: value / variance["whole formula, baseline"] for name, value in variance.items()}
    assert of(rows, reward, "variance_share") == pytest.approx(shares)


def test_errors_by_hand() -> None:
    """∇ = (3, 4); estimates (3, 8) and (3, 2): mean (3, 5), variance 0 + 18 (unbiased)."""
    told = errors(torch.tensor([[3.0, 8.0], [3.0, 2.0]]), torch.tensor([3.0, 4.0]))
    assert told == pytest.approx(
        {
            "bias": 1 / 5,
            "variance": 18 / 25,
            "noise": sqrt(18 / 25 / 2),
            "cosine": (41 / (5 * sqrt(73)) + 17 / (5 * sqrt(13))) / 2,
            "cosine_of_mean": 29 / (5 * sqrt(34)),
        }
    )


STUDY = """
title = "Estimators"
thesis = "nowhere"
about = "An analysis."
seeds = [0, 1]
[variants.estimators]
analysis = "estimators"
[[figures]]
name = "variance"
kind = "estimators"
"""


def test_the_figure_has_a_bar_for_each_and_a_dot_for_each_seed(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    by_seed = [rows, [row | {"variance": 3 * row["variance"]} for row in rows]]
    for seed, of_seed in enumerate(by_seed):
        folder = tmp_path / "estimators" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "rows.json").write_text(json.dumps({"analysis": "estimators", "rows": of_seed}))
    study = load_study(tmp_path)
    figure = draw(study, study.figures[0])
    for axis, reward in zip(figure.axes, REWARDS, strict=True):
        variances = list(of(rows, reward, "variance").values())
        widths = [bar.get_width() for bar in axis.patches]  # type: ignore[attr-defined]
        assert widths == pytest.approx([2 * variance for variance in variances])
        dots = [np.asarray(line.get_xdata()).tolist() for line in axis.lines]
        assert dots == [[variance, 3 * variance] for variance in variances]
        assert reward in axis.get_title()
    plt.close("all")
