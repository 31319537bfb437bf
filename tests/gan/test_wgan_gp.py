"""WGAN-GP: the penalty against finite differences, what the critic measures, and how formulae are read."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.gan.wgan_gp import WGANGP, ConvCritic, WGANGPConfig, gradient_penalty
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
SMALL = WGANGPConfig(rounds=10, batch_size=16, channels=8, blocks=1, latent_dim=8)


def test_the_penalty_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    critic, points = ConvCritic(4, 2, 8, 1).double(), torch.rand(3, 4, 2, dtype=torch.float64)
    step, squares = 1e-6, torch.zeros(3, dtype=torch.float64)
    for t in range(4):
        for v in range(2):
            moved = points.clone()
            moved[:, t, v] += step
            squares += ((critic(moved) - critic(points)) / step).square()
    expected = (squares.sqrt() - 1).square().mean()
    found = gradient_penalty(critic, points)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    found.backward()  # second derivatives reach the weights
    assert all(weights.grad is not None for weights in critic.parameters() if weights.ndim > 1)


@pytest.mark.parametrize(("slope", "penalty"), [(1.0, 0.0), (3.0, 4.0), (0.5, 0.25)])
def test_a_critic_of_slope_one_is_not_penalised(slope: float, penalty: float) -> None:
    direction = torch.randn(8)
    direction *= slope / direction.norm()

    def critic(points: Tensor) -> Tensor:
        return points.flatten(1) @ direction

    assert float(gradient_penalty(critic, torch.rand(5, 4, 2))) == pytest.approx(penalty, abs=1e-5)


@pytest.mark.slow
def test_the_critic_measures_how_far_one_distribution_is_from_another() -> None:
    """All 0000 against all 1111: each of 4 positions has to move by (1, -1), in all by √8."""
    algorithm = WGANGP(TASK, replace(SMALL, batch_size=32, channels=16), 0, CPU)
    zeros, ones = (algorithm.encode(np.full((32, 4), symbol)) for symbol in (0, 1))
    distances = [algorithm.train_critic(zeros, ones)["discriminator/distance"] for _ in range(300)]
    # With a penalty of weight λ the best slope is 1 + distance/(2λ), which a penalty of 10 makes 1.14.
    assert float(distances[-1]) == pytest.approx(8**0.5 * (1 + 8**0.5 / 20), rel=0.05)


def test_formulae_of_several_lengths_are_read_and_written() -> None:
    task = EvenOnes(5)
    algorithm, pad, eos = WGANGP(task, SMALL, 0, CPU), task.vocabulary.pad, task.vocabulary.eos
    assert eos is not None
    real = np.array([[1, 1, eos, pad, pad]])
    assert algorithm.encode(real).argmax(dim=2).tolist() == [[1, 1, eos, eos, eos]]
    sample = algorithm.sample(500, 0)
    ended = np.cumsum(sample == eos, axis=1) - (sample == eos) > 0
    assert ended.any()
    assert np.array_equal(sample == pad, ended)


def trained(config: WGANGPConfig) -> dict[str, Any]:
    algorithm, rng = WGANGP(TASK, config, 0, CPU), np.random.default_rng(0)
    for round_ in range(config.rounds):
        algorithm.update(TASK.sample(algorithm.real_batch_size, rng), round_ / config.rounds)
    return SequenceEvaluator(TASK)(algorithm.sample(2000, 0))


LEARNING = WGANGPConfig(
    rounds=200, batch_size=32, d_steps=3, channels=32, blocks=1, latent_dim=16,
    generator_learning_rate=2e-3, critic_learning_rate=2e-3, lr_end_factor=0.0, ema_decay=0.99,
)  # fmt: skip


@pytest.mark.slow
def test_it_learns_the_examples_distribution() -> None:
    end = trained(LEARNING)
    assert end["accuracy"] > 0.65
    assert end["coverage"] == 1


@pytest.mark.slow
def test_where_the_critic_never_learns_the_generator_does_not() -> None:
    end = trained(replace(LEARNING, critic_learning_rate=1e-12, generator_learning_rate=1e-4))
    assert end["accuracy"] < 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient_penalty": -1.0}, "gradient_penalty must be at least 0"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"d_steps": 0}, "d_steps must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        WGANGPConfig(**settings)
