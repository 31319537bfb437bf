"""The log-variance loss and its optimum, recomputed by enumeration, and what is learnt from the checker alone."""

import math
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from formula_env.agents.gflownet import (
    GFlowNet,
    GFlowNetConfig,
    log_variance,
)
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.networks import Generator
from formula_env.rewards import default_beta, needed_beta, num_strings, target_accuracy
from formula_env.tasks import make_task
from formula_env.tasks.automaton import GrammarTask
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.binary_sum import BinarySum
from formula_env.vocabulary import Tokens
from tests.even_ones import EvenOnes
from tests.helpers import name_of, saved_and_loaded
from tests.tabular import Table, all_strings

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"rounds": 10, "batch_size": 8, "embedding_dim": 4, "hidden_dim": 8}
LENGTH = 4
STRINGS = np.array(list(product(range(2), repeat=LENGTH)))
TASK = make_task("binary-sum", length=LENGTH)
BETA = 6.0


@dataclass(frozen=True)
class TableConfig(GFlowNetConfig):
    """Trains a table instead of a network."""

    def make_generator(self, task: SequenceTask) -> Generator:
        return Table(task)


@dataclass(frozen=True)
class Shuffled(BinarySum):
    """Whose checker gives each formula the verdict of another one of its batch."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), compare=False)

    def is_correct(self, tokens: Tokens) -> np.ndarray[Any, Any]:
        return self.rng.permutation(super().is_correct(tokens))


def reward(beta: float) -> np.ndarray:
    """R(x) of the 16 strings: 1 where as many ones are left as right."""
    return np.where(STRINGS[:, :2].sum(axis=1) == STRINGS[:, 2:].sum(axis=1), 1.0, math.exp(-beta))


def parameters(network: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(network.parameters()).detach()


def gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def real_batch(algorithm: GFlowNet, seed: int = 0) -> Tokens:
    return algorithm.task.sample(algorithm.real_batch_size, np.random.default_rng(seed))


def at(algorithm: GFlowNet, weights: Tensor, loss: Any) -> float:
    nn.utils.vector_to_parameters(weights, algorithm.generator.parameters())
    return float(loss())


def test_the_loss_is_the_variance_and_nothing_flows_through_its_mean() -> None:
    log_probs = torch.tensor([-1.0, -2.5, -4.0, 0.3], dtype=torch.float64, requires_grad=True)
    log_reward = torch.tensor([0.0, -3.0, 0.0, -3.0], dtype=torch.float64)
    loss = log_variance(log_probs, log_reward)
    difference = (log_probs - log_reward).detach().numpy()
    assert loss.item() == pytest.approx(np.var(difference))
    loss.backward()
    assert log_probs.grad is not None
    np.testing.assert_allclose(log_probs.grad, 2 / 4 * (difference - difference.mean()))


@pytest.mark.parametrize("weights", [np.ones(16), np.arange(1.0, 17), reward(3.0)], ids=["1", "i", "R"])
def test_its_gradient_is_that_of_the_enumerated_variance(weights: np.ndarray) -> None:
    """By central differences of Var_q[log π - log R], for a batch that holds each string q(x) times."""
    algorithm = GFlowNet(TASK, GFlowNetConfig(embedding_dim=3, hidden_dim=4), 0, CPU)
    network = algorithm.generator.double()
    repeats = np.ceil(10 * weights / weights.max()).astype(int)
    q, log_r = repeats / repeats.sum(), np.log(reward(BETA))
    batch = torch.from_numpy(np.repeat(STRINGS, repeats, axis=0))

    def enumerated() -> float:
        difference = np.log(enumerated_probs(network)) - log_r
        return float(q @ difference**2 - (q @ difference) ** 2)

    log_variance(network.log_prob(batch), torch.from_numpy(np.repeat(log_r, repeats))).backward()
    expected, start, step = [], parameters(network), 1e-5
    for unit in torch.eye(len(start), dtype=torch.float64):
        ends = [at(algorithm, start + sign * step * unit, enumerated) for sign in (1, -1)]
        expected.append((ends[0] - ends[1]) / (2 * step))
    np.testing.assert_allclose(gradient(network), expected, atol=1e-6)
    assert np.linalg.norm(expected) > 0.1


def enumerated_probs(network: Generator) -> np.ndarray:
    """π(x) of all 16 strings, step by step."""
    with torch.no_grad():
        state, probs = network.start(16), torch.ones(16, dtype=torch.float64)
        symbols = torch.full((16,), TASK.vocabulary.bos)
        state = tuple(part.double() if part.is_floating_point() else part for part in state)
        for column in torch.from_numpy(STRINGS).T:
            logits, state = network.step(symbols, state)
            probs *= torch.softmax(logits.double(), dim=1)[torch.arange(16), column]
            symbols = column
    return probs.numpy()


def test_on_policy_half_its_gradient_is_that_of_the_divergence_from_the_target() -> None:
    """E_π[∇ (log π - log R - c)²] / 2 = ∇ KL(π ‖ R/Z), all by enumeration."""
    table, log_r = Table(TASK).double(), torch.from_numpy(np.log(reward(BETA)))
    with torch.no_grad():
        table.logits.normal_()
    log_probs = table.log_prob(torch.from_numpy(STRINGS))
    pi = log_probs.detach().exp()
    difference = log_probs - log_r
    half_variance = (pi * (difference - (pi * difference).sum().detach()).square()).sum() / 2
    divergence = (log_probs.exp() * difference).sum()  # up to log Z
    one, two = (torch.autograd.grad(x, table.logits, retain_graph=True)[0] for x in (half_variance, divergence))
    torch.testing.assert_close(one, two)
    assert two.norm() > 0.1


OFF_POLICY: dict[str, dict[str, Any]] = {
    "on-policy": {"exploration": 0.0, "temperature": 1.0},
    "tempered": {"exploration": 0.0, "temperature": 2.0},
    "default": {},
    "hot": {"exploration": 1.0},
    "replay": {"replay": 0.5},
}


@pytest.mark.parametrize("name", OFF_POLICY)
def test_the_gradient_is_zero_at_the_target_whatever_the_batch_is_drawn_from(name: str) -> None:
    config = TableConfig(rounds=1, batch_size=64, beta=BETA, beta_rise=0.0, **OFF_POLICY[name])
    sizes = {}
    for exponent in (1.0, 0.8):  # the target, and another distribution that the same batches pull away from
        algorithm = GFlowNet(TASK, config, 0, CPU)
        algorithm.known.add(TASK.enumerate())
        assert isinstance(algorithm.generator, Table)
        algorithm.generator.become(reward(BETA) ** exponent)
        algorithm.update(real_batch(algorithm), 0.0)
        sizes[exponent] = gradient(algorithm.generator).abs().max().item()
    assert sizes[1.0] < 1e-5 < 1e-2 < sizes[0.8]


@pytest.mark.parametrize("name", ["default", "hot", "replay"])
def test_off_policy_batches_lead_to_the_target(name: str) -> None:
    """R/Z itself, incorrect strings included, from a table that starts uniform."""
    config = TableConfig(rounds=300, batch_size=64, learning_rate=0.1, ema_decay=0.0, beta=4.0, **OFF_POLICY[name])
    algorithm = GFlowNet(TASK, config, 0, CPU)
    for done in range(config.rounds):
        algorithm.update(real_batch(algorithm), done / config.rounds)
    target = reward(4.0) / reward(4.0).sum()
    np.testing.assert_allclose(np.exp(algorithm.log_prob(STRINGS)), target, rtol=0.03)


SMALL_TASKS = [
    make_task("binary-sum", length=8),
    make_task("signed-equation", length=5),
    make_task("equation", length=7, base=2),
    EvenOnes(5),
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("beta", [1.0, 5.0, 12.0])
@pytest.mark.parametrize("task", SMALL_TASKS, ids=name_of)
def test_the_accuracy_of_the_target_is_the_enumerated_one(task: SequenceTask, beta: float, masked: bool) -> None:
    strings = all_strings(task)
    if masked and isinstance(task, GrammarTask):
        strings = strings[task.is_well_formed(strings)]
    assert num_strings(task, masked) == len(strings)
    correct = task.is_correct(strings)
    weights = np.where(correct, 1.0, math.exp(-beta))
    assert target_accuracy(task, beta, masked) == pytest.approx(weights[correct].sum() / weights.sum(), rel=1e-9)


@pytest.mark.parametrize("task", SMALL_TASKS, ids=name_of)
@pytest.mark.parametrize("generator", ["lstm", "transformer"])
def test_a_masked_generator_writes_well_formed_formulae_only_and_their_probabilities_sum_to_1(
    task: SequenceTask, generator: Any
) -> None:
    sizes: dict[str, Any] = {"embedding_dim": 4} if generator == "lstm" else {}
    algorithm = GFlowNet(task, GFlowNetConfig(hidden_dim=8, generator=generator, **sizes), 0, CPU)
    strings = all_strings(task)
    probs = np.exp(algorithm.log_prob(strings))
    well_formed = task.is_well_formed(strings)
    assert probs.sum() == pytest.approx(1, abs=1e-5)
    assert (probs > 0).tolist() == well_formed.tolist()
    at_once = algorithm.generator.log_prob(torch.from_numpy(strings[well_formed])).detach().numpy()
    np.testing.assert_allclose(at_once, algorithm.log_prob(strings[well_formed]), atol=1e-4)
    assert task.is_well_formed(algorithm.sample(200, seed=0)).all()


def test_a_small_penalty_makes_the_target_itself_incorrect_and_the_default_does_not() -> None:
    """Of `a+b=c`, 1 of 7e6 strings is correct: with β = 2 so is 1 in a million of a perfect policy."""
    task = make_task("equation")
    assert target_accuracy(task, 2.0) < 2e-6
    assert target_accuracy(task, 12.0) < 0.03
    for each in (*SMALL_TASKS, task, make_task("signed-equation", length=15), make_task("boolean")):
        assert target_accuracy(each, default_beta(each)) > 0.993
        needed = needed_beta(each)
        assert needed is not None
        assert default_beta(each) == max(12.0, needed)
    assert default_beta(make_task("calculus")) == 20.0


def test_a_penalty_that_is_too_small_is_named_with_what_the_task_needs() -> None:
    task = make_task("equation")
    config = GFlowNetConfig(beta=10.0, masked=False)
    (note,) = GFlowNet(task, config, 0, CPU).notes
    assert "with beta 10 even a perfect policy is 99.7% incorrect" in note
    advised = float(note.rsplit(" ", 1)[1])
    for enough in (replace(config, beta=advised), GFlowNetConfig()):
        assert GFlowNet(task, enough, 0, CPU).notes == []
    assert GFlowNet(task, replace(config, beta=advised - 0.2), 0, CPU).notes


def test_the_penalty_rises_linearly_and_then_stays() -> None:
    algorithm = GFlowNet(TASK, GFlowNetConfig(beta=9.0, beta_start=2.0, beta_rise=0.7), 0, CPU)
    penalties = [algorithm.penalty(progress) for progress in (0.0, 0.35, 0.7, 0.9)]
    assert penalties == pytest.approx([2.0, 5.5, 9.0, 9.0])
    assert GFlowNet(TASK, GFlowNetConfig(beta=9.0, beta_rise=0.0), 0, CPU).penalty(0.0) == 9.0


LEARNING = GFlowNetConfig(rounds=400, batch_size=128, hidden_dim=32, ema_decay=0.95)


def trained(task: SequenceTask, config: GFlowNetConfig = LEARNING) -> dict[str, float | int | bool]:
    algorithm = GFlowNet(task, config, 0, CPU)
    for done in range(config.rounds):
        algorithm.update(real_batch(algorithm), done / config.rounds)
    return SequenceEvaluator(make_task("binary-sum", length=4))(algorithm.sample(500, 0), algorithm.log_prob)


@pytest.mark.slow
def test_it_learns_all_formulae_from_the_checker_alone() -> None:
    end = trained(make_task("binary-sum", length=4))
    assert end["accuracy"] > 0.999
    assert end["jsd"] < 1e-4
    assert end["coverage"] == 1


@pytest.mark.slow
def test_verdicts_that_belong_to_other_formulae_teach_nothing() -> None:
    chance = 6 / 16
    assert trained(Shuffled(length=4))["accuracy"] == pytest.approx(chance, abs=0.1)


def test_batches_are_made_up_as_the_shares_say() -> None:
    """From a policy that writes 0000 almost always: a quarter looks elsewhere, a quarter is what is known."""
    config = TableConfig(rounds=1, batch_size=400, exploration=0.25, replay=0.25, temperature=1.0)
    algorithm = GFlowNet(TASK, config, 0, CPU)
    algorithm.known.add(STRINGS[[15]])
    assert isinstance(algorithm.generator, Table)
    algorithm.generator.become(1e-30 ** STRINGS.mean(axis=1))
    tokens, correct = algorithm.draw_batch(0.0)
    assert tokens.shape == (400, 4)
    ones = tokens.sum(dim=1)
    assert (ones == 0).sum() >= 200  # the policy's own, and some that explore
    assert (ones == 4).sum() == pytest.approx(100, abs=3)
    assert 5 <= ((ones > 0) & (ones < 4)).sum() <= 100
    assert np.array_equal(correct.numpy(), TASK.is_correct(tokens.numpy()))
    assert algorithm.checker_calls == 300
    assert algorithm.env_steps == 1200


@pytest.mark.parametrize(("exploration", "replay"), [(0.5, 0.5), (0.0, 1.0), (1.0, 0.0), (0.25, 0.75)])
def test_shares_that_do_not_divide_a_batch_still_fill_it(exploration: float, replay: float) -> None:
    config = TableConfig(batch_size=3, exploration=exploration, replay=replay)
    algorithm = GFlowNet(TASK, config, 0, CPU)
    for _ in range(5):
        assert algorithm.draw_batch(0.0)[0].shape == (3, LENGTH)
        algorithm.known.add(TASK.enumerate())


@pytest.mark.parametrize(("settings", "got"), [({"beta": 1.0}, "2, got 1"), ({"beta_start": 15.0}, "15, got 12")])
def test_a_penalty_that_would_fall_is_refused(settings: dict[str, Any], got: str) -> None:
    with pytest.raises(FormulaError, match=f"beta must be at least beta_start, {got}"):
        GFlowNet(TASK, GFlowNetConfig(**settings), 0, CPU)


def test_what_it_has_found_is_correct_distinct_and_replayed() -> None:
    task = EvenOnes(5)
    algorithm = GFlowNet(task, GFlowNetConfig(replay=0.5, **TINY), 0, CPU)
    num_known = []
    for done in range(10):
        num_known.append(len(algorithm.known.tokens))
        algorithm.update(real_batch(algorithm), done / 10)
    known = algorithm.known.tokens
    assert task.is_correct(known).all()
    assert len(np.unique(known, axis=0)) == len(known) > 2
    assert algorithm.checker_calls == sum(4 if found else 8 for found in num_known)


def test_the_training_data_are_used_after_a_start_by_likelihood_only() -> None:
    """What `update` is handed makes no difference; what `pretrain` is handed does, and is replayed."""
    ends = []
    for seed in (0, 1):
        algorithm = GFlowNet(TASK, GFlowNetConfig(replay=0.5, **TINY), 0, CPU)
        for done in range(10):
            algorithm.update(real_batch(algorithm, seed), done / 10)
        ends.append(parameters(algorithm.generator))
    assert torch.equal(*ends)
    algorithm = GFlowNet(TASK, GFlowNetConfig(mle_rounds=60, mle_learning_rate=0.03, replay=0.5, **TINY), 0, CPU)
    real = STRINGS[[0] * 8]
    assert algorithm.pretrain_rounds == 60
    losses = [algorithm.pretrain(real, r / 60)["train/nll"] for r in range(60)]
    assert losses[-1] < 0.2 < 2 < losses[0]
    assert np.array_equal(algorithm.known.tokens, STRINGS[:1])
    assert algorithm.log_prob(STRINGS[:1])[0] == pytest.approx(-losses[-1], abs=0.1)  # the average starts there


@pytest.mark.parametrize("exponent", [1.0, 0.8])
def test_with_a_prior_the_gradient_is_zero_at_the_prior_given_that_the_formula_is_correct(exponent: float) -> None:
    """At π ∝ p₀·R, and nowhere near it."""
    config = TableConfig(rounds=1, mle_rounds=1, batch_size=64, beta=BETA, beta_rise=0.0, target="prior")
    algorithm = GFlowNet(TASK, config, 0, CPU)
    assert isinstance(algorithm.generator, Table)
    assert isinstance(algorithm.prior, Table)
    algorithm.pretrain(real_batch(algorithm), 0.0)
    assert torch.equal(algorithm.prior.logits, algorithm.generator.logits)
    prior = 1.0 + np.arange(16)
    algorithm.prior.become(prior)
    algorithm.generator.become((prior * reward(BETA)) ** exponent)
    algorithm.update(real_batch(algorithm), 0.0)
    size = gradient(algorithm.generator).abs().max().item()
    assert size < 1e-5 if exponent == 1 else size > 1e-2
    assert algorithm.prior.logits.grad is None


def test_a_prior_without_a_start_by_likelihood_is_refused() -> None:
    with pytest.raises(FormulaError, match=r"target prior .* needs mle_rounds above 0"):
        GFlowNetConfig(target="prior")


@pytest.mark.parametrize("settings", [{}, {"replay": 0.5, "mle_rounds": 2}, {"target": "prior", "mle_rounds": 2}])
def test_it_goes_on_from_what_was_saved(settings: dict[str, Any]) -> None:
    config = GFlowNetConfig(**TINY, **settings)
    one, two = GFlowNet(TASK, config, 0, CPU), GFlowNet(TASK, config, 1, CPU)
    for r in range(one.pretrain_rounds):
        one.pretrain(real_batch(one, r), r / one.pretrain_rounds)
    for done in range(5):
        one.update(real_batch(one), done / 10)
    two.load_state_dict(saved_and_loaded(one.state_dict()))
    for done in range(5, 10):
        assert one.update(real_batch(one), done / 10) == two.update(real_batch(two), done / 10)
    assert torch.equal(parameters(one.generator), parameters(two.generator))
    assert np.array_equal(one.known.tokens, two.known.tokens)
    assert (one.env_steps, one.checker_calls) == (two.env_steps, two.checker_calls)


def test_a_file_that_is_its_own_checker_is_refused(tmp_path: Path) -> None:
    """It would give away the held-out formulae."""
    file = tmp_path / "lines.txt"
    file.write_text("1+1=2\n1+2=3\n2+1=3\n")
    with pytest.raises(FormulaError, match="gflownet needs a checker"):
        GFlowNet(make_task("formula-file", path=str(file)), GFlowNetConfig(), 0, CPU)
    algorithm = GFlowNet(
        make_task("formula-file", path=str(file), checker="equation"), GFlowNetConfig(**TINY), 0, CPU
    )
    assert algorithm.beta == 20.0  # it is not known how many are correct
    assert algorithm.notes == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rounds": 0}, "rounds must be at least 1"),
    ({"beta": -1.0}, "beta must be at least 0"),
    ({"exploration": 0.6, "replay": 0.6}, "exploration and replay must be 1 at most together, got 1.2"),
    ({"exploration": 0.0, "exploration_temperature": 3.0}, "exploration_temperature has no effect"),
    ({"mle_learning_rate": 1e-3}, "mle_learning_rate has no effect with mle_rounds 0"),
    ({"temperature": 0.0}, "temperature must be above 0"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        GFlowNetConfig(**settings)
