"""The soft reward: its objective and its gradient by enumeration, and what an agent learns from it."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.utils import LinearSchedule

from formula_env.agents.sb3 import FormulaVecEnv, policy_of
from formula_env.agents.sb3.algorithms import DQN, PPO, DQNConfig, MaskablePPO, PPOConfig
from formula_env.errors import FormulaError
from formula_env.networks import LSTMGenerator
from formula_env.networks.generators import token_log_probs
from formula_env.rewards import SoftReward, default_beta
from formula_env.sampling import log_prob
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.helpers import saved_and_loaded

CPU = torch.device("cpu")
BETA = 3.0


def binary_sum(length: int) -> SequenceTask:
    task = make_task("binary-sum", length=length)
    assert isinstance(task, SequenceTask)
    return task


def test_its_expected_value_and_gradient_are_those_of_the_kl_divergence() -> None:
    """E_π[r] = log Z - KL(π ‖ R/Z), and Σ π·∇log π·r, r held fixed, is the gradient of -KL: over all strings."""
    task = binary_sum(4)
    torch.manual_seed(0)
    policy = LSTMGenerator(task.vocabulary, 4, 8).double()
    with torch.no_grad():
        for weights in policy.parameters():
            weights.mul_(4)  # far from uniform
    strings = torch.tensor(list(product(range(2), repeat=4)))
    log_r = -BETA * torch.from_numpy(~task.is_correct(strings.numpy())).double()
    log_z = math.log(6 + 10 * math.exp(-BETA))
    log_pi = token_log_probs(policy(strings), strings, task.vocabulary.pad).sum(dim=1)
    kl = (log_pi.exp() * (log_pi - (log_r - log_z))).sum()
    assert kl > 0.1
    reward = SoftReward(task, policy, BETA).score(strings).double()
    assert not reward.requires_grad
    assert float((log_pi.exp() * reward).sum().detach()) == pytest.approx(log_z - float(kl.detach()), abs=1e-5)
    weights = list(policy.parameters())
    expected = torch.autograd.grad(-kl, weights, retain_graph=True)
    found = torch.autograd.grad((log_pi.exp().detach() * log_pi * reward).sum(), weights)
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_beta_comes_from_the_number_of_correct_formulae() -> None:
    task = binary_sum(8)
    policy = LSTMGenerator(task.vocabulary, 4, 8)
    assert SoftReward(task, policy).beta == default_beta(task) == 12.0
    with pytest.raises(FormulaError, match="beta"):
        SoftReward(task, policy, 0.0)


SHORT: dict[str, Any] = {"rounds": 80, "num_envs": 64}


def trained(config: PPOConfig, cls: type[PPO | MaskablePPO] = PPO) -> np.ndarray:
    """Probabilities of the 20 correct formulae after training on the checker alone."""
    task = binary_sum(6)
    algorithm = cls(task, config, 0, CPU)
    nothing = np.empty((0, 6), dtype=np.int64)
    for i in range(config.rounds):
        algorithm.update(nothing, i / config.rounds)
    return np.exp(algorithm.log_prob(task.enumerate()))


@pytest.mark.slow
@pytest.mark.parametrize("cls", [PPO, MaskablePPO])
def test_with_it_an_agent_writes_all_correct_formulae(cls: type[PPO | MaskablePPO]) -> None:
    probs = trained(PPOConfig(**SHORT, reward_model="soft"), cls)
    assert probs.sum() > 0.95
    assert (probs > 0.5 / 20).all()


@pytest.mark.slow
def test_without_it_the_same_agent_ends_in_few() -> None:
    probs = trained(PPOConfig(**SHORT, reward_model="exact"))
    assert probs.sum() > 0.95
    assert (probs > 0.5 / 20).sum() < 10


def test_what_it_needs_is_said() -> None:
    with pytest.raises(FormulaError, match="beta has no effect with reward_model exact"):
        PPOConfig(reward_model="exact", beta=3.0)
    with pytest.raises(FormulaError, match="DQN chooses greedily"):
        DQN(binary_sum(4), DQNConfig(reward_model="soft"), 0, CPU)


def test_a_run_goes_on_bit_for_bit() -> None:
    """β is that of the run's progress, and π that of the loaded weights."""
    config = PPOConfig(rounds=6, num_envs=16, reward_model="soft")
    task, nothing = binary_sum(4), np.empty((0, 4), dtype=np.int64)

    def run(algorithm: PPO, rounds: range) -> PPO:
        for i in rounds:
            algorithm.update(nothing, i / 6)
        return algorithm

    whole = run(PPO(task, config, 0, CPU), range(6))
    half = saved_and_loaded(run(PPO(task, config, 0, CPU), range(3)).state_dict())
    other = PPO(task, config, 1, CPU)
    other.load_state_dict(half)
    run(other, range(3, 6))
    strings = np.array(list(product(range(2), repeat=4)))
    np.testing.assert_array_equal(other.log_prob(strings), whole.log_prob(strings))


def probs_of_a_client(reward_model: str, steps: int) -> np.ndarray:
    """Probabilities of the 20 correct formulae of a PPO that sees nothing but the environment's rewards."""
    env = FormulaVecEnv("binary-sum", num_envs=64, length=6, reward_model=reward_model)
    model = stable_baselines3.PPO(
        "MlpPolicy", env, learning_rate=LinearSchedule(2e-3, 0.0, 1.0), n_steps=6, batch_size=384, n_epochs=4,
        gamma=1.0, seed=0,
    )  # fmt: skip
    model.learn(steps)
    task = binary_sum(6)
    correct = torch.from_numpy(task.enumerate())
    return log_prob(policy_of(model, task), task.vocabulary, correct).exp().numpy()


@pytest.mark.slow
def test_a_client_that_sees_only_the_environment_keeps_all_correct_formulae() -> None:
    probs = probs_of_a_client("soft", 60_000)
    assert probs.sum() > 0.95
    assert (probs > 0.5 / 20).sum() >= 19
    assert (probs_of_a_client("exact", 30_000) > 0.5 / 20).sum() < 10
