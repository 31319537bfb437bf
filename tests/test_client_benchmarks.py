"""What judges foreign clients; the clients themselves need virtual environments of their own."""

import math

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from benchmarks.clients.evaluation import evaluate
from benchmarks.clients.learning import DensityRatio
from benchmarks.clients.report import DOCUMENT, learning_table, limits_table, read_record
from formula_env import make_task


def test_a_uniform_policy_is_as_correct_as_chance() -> None:
    found = evaluate(lambda observations: torch.zeros(len(observations), 2), {"length": 8})
    assert found["accuracy"] == pytest.approx(70 / 256)
    assert found["effective_number"] == pytest.approx(70)
    assert found["reached"] == found["num_formulae"] == 70
    assert found["distinct"] == pytest.approx(70)


def test_a_policy_with_one_formula_reaches_one() -> None:
    found = evaluate(lambda observations: torch.tensor([[50.0, 0.0]]).expand(len(observations), 2), {"length": 8})
    assert found["accuracy"] == pytest.approx(1)
    assert found["reached"] == 1
    assert found["distinct"] == pytest.approx(1)


def test_the_policy_sees_what_the_environment_shows() -> None:
    """Every prefix of a formula, as the environment's own observation."""
    seen: list[Tensor] = []

    def logits(observations: Tensor) -> Tensor:
        seen.append(observations)
        return torch.zeros(len(observations), 2)

    evaluate(logits, {"length": 4})
    env = gym.make("formula_env:Formula/BinarySum-v0", length=4)
    observation, _ = env.reset(seed=0)
    for symbol in make_task("binary-sum", length=4).enumerate()[3]:
        assert any((rows == torch.from_numpy(observation)).all(dim=1).any() for rows in seen)
        observation = env.step(symbol)[0]


def test_the_page_says_what_the_record_holds() -> None:
    for table in (learning_table, limits_table):
        assert f"{table(read_record())}\n" in DOCUMENT.read_text()


def test_the_exact_reward_is_the_log_of_the_density_ratio() -> None:
    """Of six correct formulae among sixteen, and a policy that knows nothing."""
    task = make_task("binary-sum", length=4)
    reward = DensityRatio(task, clip=2.0)
    reward.watch(lambda observations: torch.zeros(len(observations), 2))
    every = torch.cartesian_prod(*[torch.arange(2)] * 4)
    is_correct = torch.from_numpy(task.is_correct(every.numpy()))
    expected = torch.where(is_correct, math.log(16 / 6), -2.0).double()
    torch.testing.assert_close(reward.score(every), expected)
