"""Rewards that train themselves in an environment: what they pay, and that nothing outside moves them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from formula_env import make_task
from formula_env.errors import FormulaError
from formula_env.networks import DISCRIMINATORS
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.rewards import default_beta
from formula_env.sampling import Sampler
from formula_env.self_training import (
    LEAD,
    SELF_TRAINING,
    ObservedSoftReward,
    SelfTraining,
    SelfTrainingDiscriminator,
)
from formula_env.vocabulary import Tokens
from tests.even_ones import EvenOnes
from tests.helpers import assert_equal_states, saved_and_loaded

TASK = make_task("binary-sum", length=4)
ALL = np.array(np.meshgrid(*[range(2)] * 4, indexing="ij")).reshape(4, -1).T.astype(np.int64)
CORRECT = TASK.is_correct(ALL)
QUICK: dict[str, Any] = {"update_every": 8, "warmup_steps": 5, "batch_size": 32}


def scores(model: SelfTraining, tokens: Tokens = ALL) -> np.ndarray:
    return model.score(torch.from_numpy(tokens)).numpy()


def trained(probs: np.ndarray, rounds: int, **options: Any) -> SelfTrainingDiscriminator:
    """A model that has seen an agent write formulae of these probabilities, `rounds` times 64 of them."""
    model, rng = SelfTrainingDiscriminator(TASK, **options), np.random.default_rng(1)
    for _ in range(rounds):
        model.observe(ALL[rng.choice(len(ALL), size=64, p=probs)])
    return model


def test_it_pays_the_log_ratio_of_the_densities() -> None:
    probs = np.full(len(ALL), 0.5)
    probs[CORRECT] = 0.2, 0.5, 1, 2, 4, 8
    probs /= probs.sum()
    model = trained(probs, 20, memory=1280)
    paid = scores(model)
    expected = -np.log(CORRECT.sum()) - np.log(probs[CORRECT])
    assert np.abs(paid[CORRECT] + model.baseline - expected).mean() < 0.3
    assert np.corrcoef(paid[CORRECT], expected)[0, 1] > 0.95
    assert paid[~CORRECT].max() < paid[CORRECT].min()


def test_it_pays_nothing_once_the_agent_writes_the_data() -> None:
    paid = scores(trained(CORRECT / CORRECT.sum(), 12))[CORRECT]
    assert abs(paid.mean()) < 0.15
    assert np.abs(paid).max() < 0.7


def test_it_pays_an_agent_that_repeats_itself_least_for_what_it_repeats() -> None:
    repeated = np.flatnonzero(CORRECT)[0]
    paid = scores(trained(np.eye(len(ALL))[repeated], 4))
    others = CORRECT.copy()
    others[repeated] = False
    assert paid[repeated] < paid[others].min() - 1


def test_it_knows_correct_formulae_before_it_pays_for_the_first() -> None:
    paid = scores(SelfTrainingDiscriminator(TASK))
    assert paid[CORRECT].min() > paid[~CORRECT].max() + 1


def test_fakes_are_draws_from_the_tempered_density() -> None:
    """More varied than what the agent wrote: an agent that repeats itself is still told what else is wrong."""
    every, probs = torch.from_numpy(ALL), np.full(len(ALL), 0.02)
    probs[0] = 0.7
    model = trained(probs, 4)
    tempered = DecodedGenerator(model.density.network, Decoding(2.0)).log_prob(every).exp()
    assert tempered.max() < model.density.log_prob(every).exp().max() - 0.1
    shares = (model._draw_fake(4_000)[:, None] == every).all(dim=2).float().mean(dim=0)
    assert shares.numpy() == pytest.approx(tempered.detach().numpy(), abs=0.03)


def test_it_remembers_what_the_agent_wrote_last_and_no_more() -> None:
    model = SelfTrainingDiscriminator(TASK, memory=12, **QUICK)
    model.observe(ALL)
    np.testing.assert_array_equal(model.state_dict()["density"]["recent"], ALL[-12:])


def test_verdicts_stay_within_the_clip() -> None:
    paid = scores(SelfTrainingDiscriminator(TASK, replace(SELF_TRAINING, reward_clip=0.5)))
    assert paid.min() == -0.5
    assert paid.max() == 0.5


@pytest.mark.parametrize("task", [TASK, EvenOnes(5), make_task("signed-equation", length=7)])
@pytest.mark.parametrize("architecture", DISCRIMINATORS)
def test_all_that_an_agent_can_write_is_judged(task: Any, architecture: Any) -> None:
    """Illegal symbols and early ends too."""
    vocabulary, rng = task.vocabulary, np.random.default_rng(0)
    tokens = rng.integers(vocabulary.size, size=(40, task.max_length))
    if vocabulary.eos is not None:
        behind = np.cumsum(tokens == vocabulary.eos, axis=1) - (tokens == vocabulary.eos) > 0
        tokens = np.where(behind, vocabulary.pad, tokens)
    model = SelfTrainingDiscriminator(task, architecture, **QUICK)
    before = scores(model, tokens)
    model.observe(tokens)
    assert model.num_updates == 5
    after = scores(model, tokens)
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


def test_real_formulae_are_those_given() -> None:
    given = ALL[CORRECT][:1]
    paid = scores(SelfTrainingDiscriminator(TASK, real=given))
    assert ALL[paid.argmax()].tolist() == given[0].tolist()


def test_how_finished_formulae_are_batched_makes_no_difference() -> None:
    one, many = (SelfTrainingDiscriminator(TASK, **QUICK) for _ in range(2))
    many.observe(ALL)
    for formula in ALL:
        one.observe(formula[None])
    assert_equal_states(one.state_dict(), many.state_dict())


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def autocast() -> Iterator[None]:
    with torch.autocast("cpu"):
        yield


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, autocast])
def test_it_learns_alike_in_any_mode_of_the_caller(mode: Any) -> None:
    usual = SelfTrainingDiscriminator(TASK, **QUICK)
    usual.observe(ALL)
    with mode():
        model = SelfTrainingDiscriminator(TASK, **QUICK)
        model.observe(ALL)
        np.testing.assert_array_equal(scores(model), scores(usual))
    assert_equal_states(model.state_dict(), usual.state_dict())
    model.observe(ALL)  # what was made in that mode can be trained outside of it


def test_it_learns_whatever_the_callers_default_dtype_is() -> None:
    with float64():
        model = SelfTrainingDiscriminator(TASK, **QUICK)
        before = scores(model)
        model.observe(ALL)
        paid = scores(model)
    assert paid.dtype == np.float32
    assert not np.array_equal(paid, before)
    model.observe(ALL)


def test_the_callers_random_numbers_stay_his() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    model = SelfTrainingDiscriminator(TASK, **QUICK)
    model.observe(ALL)
    model.score(torch.from_numpy(ALL))
    assert (torch.rand(1), np.random.rand()) == expected


def test_seeds_decide_everything() -> None:
    def paid(seed: int) -> np.ndarray:
        model = SelfTrainingDiscriminator(TASK, seed=seed, **QUICK)
        model.observe(ALL)
        return scores(model)

    np.testing.assert_array_equal(paid(3), paid(3))
    assert not np.array_equal(paid(3), paid(4))


@pytest.mark.parametrize("seen", [0, 3, 13], ids=["new", "warm", "trained"])
def test_a_saved_one_goes_on_alike(seen: int) -> None:
    """The original goes on first: the state must be a copy."""
    original = SelfTrainingDiscriminator(TASK, **QUICK)
    if seen:
        original.observe(ALL[:seen])
    state = saved_and_loaded(original.state_dict())
    live = original.state_dict()
    original.observe(ALL)
    for saved in (state, live, live):
        copy = SelfTrainingDiscriminator(TASK, seed=9, **QUICK)
        copy.load_state_dict(saved)
        copy.observe(ALL)
        assert_equal_states(copy.state_dict(), original.state_dict())


@pytest.mark.parametrize(
    "state",
    [
        {},
        None,
        SelfTrainingDiscriminator(EvenOnes(5)).state_dict(),
        SelfTrainingDiscriminator(TASK).state_dict() | {"density": None},
        {key: value for key, value in SelfTrainingDiscriminator(TASK).state_dict().items() if key != "rng"},
    ],
    ids=["empty", "none", "other", "part", "lacking"],
)
def test_a_state_of_something_else_is_refused(state: Any) -> None:
    with pytest.raises(FormulaError, match='the state holds no "mlp" discriminator of this task'):
        SelfTrainingDiscriminator(TASK).load_state_dict(state)


# --- the soft reward -----------------------------------------------------------------------------------------


def soft(probs: np.ndarray, rounds: int, **options: Any) -> ObservedSoftReward:
    """A soft reward that has seen an agent write formulae of these probabilities, `rounds` times 64 of them."""
    model, rng = ObservedSoftReward(TASK, **options), np.random.default_rng(1)
    for _ in range(rounds):
        model.observe(ALL[rng.choice(len(ALL), size=64, p=probs)])
    return model


def test_a_soft_reward_is_the_verdict_less_the_log_density() -> None:
    probs = np.full(len(ALL), 0.5)
    probs[CORRECT] = 0.2, 0.5, 1, 2, 4, 8
    probs /= probs.sum()
    model = soft(probs, 20, memory=1280)
    paid = scores(model) + model.baseline
    expected = -model.penalty * ~CORRECT - np.log(probs)
    assert np.abs(paid - expected)[CORRECT].mean() < 0.3
    assert np.abs(paid - expected)[~CORRECT].mean() < 0.6
    assert np.corrcoef(paid[CORRECT], expected[CORRECT])[0, 1] > 0.95


def test_a_soft_reward_is_the_same_for_all_correct_formulae_where_they_are_equally_frequent() -> None:
    paid = scores(soft(CORRECT / CORRECT.sum(), 12))[CORRECT]
    assert abs(paid.mean()) < 0.15
    assert np.abs(paid).max() < 0.7


def test_the_penalty_is_ahead_of_what_the_agent_has_learnt() -> None:
    """Of the one at which π ∝ R is correct as often; never above beta."""
    half = CORRECT / (2 * CORRECT.sum()) + ~CORRECT / (2 * (~CORRECT).sum())
    model = soft(half, 40, memory=2560)
    accuracy = TASK.is_correct(model.density.recent).mean()
    assert accuracy == pytest.approx(0.5, abs=0.03)
    odds = accuracy / (1 - accuracy)
    assert model.penalty == pytest.approx(LEAD + math.log(odds) - math.log(6 / 10), abs=0.01)
    target = 6 / (6 + 10 * math.exp(-(model.penalty - LEAD)))  # of π ∝ R, at a penalty so much behind
    assert target == pytest.approx(accuracy, abs=1e-3)
    wrong, right = (each / each.sum() for each in (~CORRECT, CORRECT))
    assert soft(wrong, 4).penalty == ObservedSoftReward(TASK).penalty == LEAD
    assert soft(right, 40, memory=2560, beta=5.0).penalty == 5.0
    assert soft(right, 100, memory=8000, update_every=6400).penalty == default_beta(TASK)


def test_the_penalty_at_the_end_comes_from_the_number_of_correct_formulae() -> None:
    assert ObservedSoftReward(TASK).beta == default_beta(TASK)
    assert ObservedSoftReward(TASK, beta=2).penalty == 2.0


def test_a_saved_soft_reward_goes_on_alike() -> None:
    original = ObservedSoftReward(TASK, update_every=4)
    original.observe(ALL[:7])
    state = saved_and_loaded(original.state_dict())
    original.observe(ALL)
    copy = ObservedSoftReward(TASK, update_every=4, seed=9)
    copy.load_state_dict(state)
    copy.observe(ALL)
    assert_equal_states(copy.state_dict(), original.state_dict())
    np.testing.assert_array_equal(scores(copy), scores(original))


@pytest.mark.parametrize(("name", "options"), [("equation", {}), ("binary-sum", {"length": 16})])
def test_before_the_first_update_a_soft_reward_is_small_for_what_an_untrained_agent_writes(
    name: str, options: dict[str, Any]
) -> None:
    """Or a client's value network would be fitted to T·log V nats first."""
    task = make_task(name, **options)
    model = ObservedSoftReward(task)
    paid = scores(model, Sampler(model.density.network, task, "cpu").sample(500, 1))
    assert abs(paid.mean()) < 1


@pytest.mark.parametrize("kind", [ObservedSoftReward, *DISCRIMINATORS])
def test_a_state_of_formulae_of_another_length_is_refused(kind: Any) -> None:
    def make(length: int) -> SelfTraining:
        task = make_task("binary-sum", length=length)
        return kind(task) if kind is ObservedSoftReward else SelfTrainingDiscriminator(task, kind, **QUICK)

    with pytest.raises(FormulaError, match="of this task: make the same environment"):
        make(4).load_state_dict(make(6).state_dict())


@pytest.mark.parametrize(
    "state",
    [{}, SelfTrainingDiscriminator(TASK).state_dict()],
    ids=["empty", "other"],
)
def test_a_state_of_another_reward_is_no_soft_reward(state: Any) -> None:
    with pytest.raises(FormulaError, match="the state holds no soft reward of this task"):
        ObservedSoftReward(TASK).load_state_dict(state)
