"""Stable-Baselines3 policies that complete prefixes."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO

from agents.sb3 import SB3Policy
from formula_env import FormulaEnv, FormulaVectorEnv
from formula_env.errors import FormulaError
from formula_env.rewards import ExactReward
from formula_env.rollouts import exact_q, monte_carlo_q
from formula_env.sampling import log_prob
from formula_env.tasks.base import Task
from tests.helpers import name_of, sharpen, small_tasks
from tests.oracles import all_sequences

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)


def model_for(task: Task, cls: Any = PPO, **options: Any) -> Any:
    model = cls("MlpPolicy", FormulaEnv(task, **options), seed=0, device="cpu")
    sharpen(model.policy.action_net, 100.0)
    return model


@tasks
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
def test_it_is_the_distribution_the_model_acts_by(task: Task, observation: str) -> None:
    """Probabilities of whole formulae, against a walk through the environment that asks the model at each step."""
    model = model_for(task, observation=observation)
    policy = SB3Policy(model.policy, task)
    sequences = all_sequences(task)
    log_probs = log_prob(policy, task.vocabulary, sequences)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    for i in (0, 7, len(sequences) - 1):
        env = FormulaEnv(task, observation=observation)  # type: ignore[arg-type]
        seen, _ = env.reset(seed=0)
        total = 0.0
        for symbol in sequences[i].tolist():
            if symbol == task.vocabulary.pad:
                break
            batch, _ = model.policy.obs_to_tensor(np.asarray(seen))
            total += model.policy.get_distribution(batch).log_prob(torch.tensor([symbol])).item()
            seen = env.step(symbol)[0]
        assert log_probs[i].item() == pytest.approx(total, abs=1e-4)


@tasks
def test_rollouts_under_it_follow_exact_q_in_one_call_a_level(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_for(task, A2C)
    policy = SB3Policy(model.policy, task)
    calls = 0
    get_distribution = model.policy.get_distribution

    def count(observations: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        return get_distribution(observations)

    monkeypatch.setattr(model.policy, "get_distribution", count)
    formulae = all_sequences(task)[::5]
    start = torch.zeros(len(formulae), dtype=torch.int64)
    arguments = (policy, ExactReward(task).score, task.vocabulary, formulae, start)
    estimate = monte_carlo_q(*arguments, torch.arange(len(formulae)), 400)
    assert calls == task.max_length
    exact = exact_q(*arguments)
    assert np.corrcoef(exact[:, :-1].ravel(), estimate[:, :-1].ravel())[0, 1] > 0.9


@tasks
def test_masked_it_writes_nothing_illegal(task: Task) -> None:
    model = model_for(task, MaskablePPO)
    env = FormulaVectorEnv(task, num_envs=50, observation="tokens")
    policy = SB3Policy(model.policy, task, masked=True)
    env.set_rollout_policy(policy)
    env.reset(seed=0)
    tokens, _ = env.play(policy)
    for t in range(task.max_length):
        open_ = tokens[:, t] != task.vocabulary.pad
        legal = task.legal_symbols(tokens[:, :t])
        assert legal[np.flatnonzero(open_), tokens[open_, t]].all()


def test_a_policy_for_other_formulae_is_refused() -> None:
    small, large = small_tasks()[:2]
    with pytest.raises(FormulaError, match=r"the policy chooses from Discrete\(2\); the task has \d+ symbols"):
        SB3Policy(model_for(small).policy, large)
    policy = model_for(small).policy
    policy.observation_space = spaces.Box(0, 1, (5,))
    with pytest.raises(FormulaError, match="the policy reads observations of shape"):
        SB3Policy(policy, small)
