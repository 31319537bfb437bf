"""LeakGAN: ranks and rewards by hand, what is leaked and what is not, and what the generator learns from it."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env.adversary import AdversaryConfig
from formula_env.agents.leakgan import LeakGAN, LeakGANConfig, goal_loss, intrinsic_rewards, moves, rank_rewards
from formula_env.errors import FormulaError
from formula_env.networks.discriminators import one_hot
from formula_env.networks.generators import token_log_probs
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.even_ones import EvenOnes
from tests.tabular import all_strings, frequencies
from tests.training import trained

Array = NDArray[np.float64]
CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
STRINGS = torch.from_numpy(all_strings(TASK))
SMALL = LeakGANConfig(rounds=10, mle_rounds=2, batch_size=16, embedding_dim=4, hidden_dim=8, goal_dim=4, horizon=2)


def test_rewards_are_ranks_that_are_really_sorted() -> None:
    """Every order of four values; the public code ranks by the order of the batch."""
    by_rank = [1 / (1 + math.exp(-16 * (0.5 - rank / 4))) for rank in (1, 2, 3, 4)]
    for order in permutations([0.9, 0.7, 0.2, 0.1]):
        found = rank_rewards(torch.tensor(order)[:, None], slope=16.0)[:, 0]
        expected = [by_rank[sorted(order, reverse=True).index(value)] for value in order]
        assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_equal_values_have_their_mean_rank() -> None:
    found = rank_rewards(torch.tensor([[0.3], [0.8], [0.3], [0.1]]), slope=2.0)[:, 0]
    expected = [1 / (1 + math.exp(-2 * (0.5 - rank / 4))) for rank in (2.5, 1, 2.5, 4)]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_each_position_is_ranked_by_itself_and_rewards_stay_with_their_formula() -> None:
    q = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    rewards = rank_rewards(q, 16.0)
    for t in range(5):
        torch.testing.assert_close(rewards[:, t : t + 1], rank_rewards(q[:, t : t + 1], 16.0))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(rank_rewards(q[order], 16.0), rewards[order])
    torch.testing.assert_close(rewards.argsort(dim=0), q.argsort(dim=0))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_rewards_of_the_manager_and_the_worker_by_hand(horizon: int) -> None:
    rng = torch.Generator().manual_seed(0)
    length, n = 5, 3
    features, goals = torch.randn(n, length + 1, 2, generator=rng), torch.randn(n, length, 2, generator=rng)
    reward, written = torch.rand(n, length, generator=rng), torch.ones(n, length)
    written[1, 3:] = 0  # of a shorter formula
    intrinsic, total = torch.zeros(n, length), 0.0
    for row in range(n):
        for t in range(length):
            end = min(t + horizon, length)
            way = features[row, end] - features[row, t]
            torch.testing.assert_close(moves(features, horizon)[row, t], way)
            total -= float(reward[row, end - 1] * written[row, t]) * cosine(way, goals[row, t]) / n
            for i in range(1, horizon + 1):  # the symbol at t ends the prefix of length t + 1
                if (start := t + 1 - i) >= 0:
                    way = features[row, t + 1] - features[row, start]
                    intrinsic[row, t] += cosine(way, goals[row, start]) / horizon
    found = intrinsic_rewards(features, goals, horizon)
    torch.testing.assert_close(found, intrinsic)
    assert (found.std(dim=1) > 0.01).all(), "a reward for each position, not one for all"
    assert float(goal_loss(features, goals, reward, written, horizon)) == pytest.approx(total, rel=1e-5)


@pytest.fixture
def algorithm() -> LeakGAN:
    return LeakGAN(TASK, SMALL, 0, CPU)


def test_features_are_those_of_each_prefix_alone(algorithm: LeakGAN) -> None:
    generator, pad = algorithm.generator, TASK.vocabulary.pad
    features = generator.features(STRINGS)
    for t in range(5):
        prefix = STRINGS.clone()
        prefix[:, t:] = pad
        torch.testing.assert_close(features[:, t], generator.leak(prefix))
    other = STRINGS.clone()
    other[:, 2:] = 1 - other[:, 2:]
    torch.testing.assert_close(generator(other)[:, :3], generator(STRINGS)[:, :3])
    assert (generator(other)[:, 3] - generator(STRINGS)[:, 3]).abs().max() > 1e-4


def test_what_the_discriminator_learns_reaches_the_generator(algorithm: LeakGAN) -> None:
    before = algorithm.generator(STRINGS)
    algorithm.train_discriminator(TASK.sample(16, np.random.default_rng(0)), 0.0)
    assert (algorithm.generator(STRINGS) - before).abs().max() > 1e-5


def with_gradient(network: nn.Module) -> set[str]:
    return {
        name.split(".")[0]
        for name, weights in network.named_parameters()
        if weights.grad is not None and weights.grad.abs().max() > 0
    }


def test_goals_are_the_managers_and_symbols_the_workers(algorithm: LeakGAN) -> None:
    generator = algorithm.generator
    generator.log_prob(STRINGS).sum().backward()
    assert with_gradient(generator) == {"worker", "goal_embedding", "first_goal"}
    generator.zero_grad()
    features = generator.features(STRINGS)
    goal_loss(features, generator.goals(features), torch.ones(16, 4), torch.ones(16, 4), 2).backward()
    assert with_gradient(generator) == {"manager", "goal"}


def test_the_likelihood_is_that_of_the_temperature_it_samples_with() -> None:
    cold, warm = (LeakGAN(TASK, replace(SMALL, temperature=tau), 0, CPU) for tau in (0.5, 1.0))
    torch.testing.assert_close(cold.generator(STRINGS), 2 * warm.generator(STRINGS))
    probs = np.exp(cold.log_prob(STRINGS.numpy()))
    assert probs.sum() == pytest.approx(1)
    assert np.abs(frequencies(torch.from_numpy(cold.sample(40_000, 0))) - probs).max() < 0.01


def test_a_start_takes_turns_and_likelihood_returns(algorithm: LeakGAN) -> None:
    rng = np.random.default_rng(0)
    assert {"train/nll", "discriminator/loss"} <= set(algorithm.pretrain(TASK.sample(16, rng), 0.0))
    algorithm.config = replace(SMALL, likelihood_every=3)
    seen = ["train/nll" in algorithm.update(TASK.sample(16, rng), round_ / 10) for round_ in range(7)]
    assert seen == [False, False, True, False, False, True, False]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_goals_of_short_formulae_are_rewarded_too(length: int) -> None:
    """Each goal for a symbol that was written, however soon the end comes; none behind it."""
    task = EvenOnes(5)
    algorithm = LeakGAN(task, replace(SMALL, horizon=4), 0, CPU)
    eos = task.vocabulary.eos
    assert eos is not None
    tokens = torch.full((1, 5), task.vocabulary.pad)
    tokens[0, :length] = 0
    tokens[0, length] = eos
    written = (tokens != task.vocabulary.pad).float()
    features = algorithm.generator.features(tokens)
    goals = torch.nn.functional.normalize(torch.randn_like(features[:, :-1]), dim=2).requires_grad_()
    goal_loss(features, goals, torch.full((1, 5), 0.7), written, 4).backward()
    assert goals.grad is not None
    assert (goals.grad[0].abs().amax(dim=1) > 0).tolist() == (written[0] > 0).tolist()


def test_likelihood_within_the_training_needs_its_settings_and_moves_the_average(algorithm: LeakGAN) -> None:
    config = LeakGANConfig(mle_rounds=0, mle_learning_rate=1e-3, weight_decay=0.1)
    assert "weight_decay" in config.search_space()
    with pytest.raises(FormulaError, match="mle_learning_rate has no effect with mle_rounds 0"):
        LeakGANConfig(mle_rounds=0, likelihood_every=0, mle_learning_rate=1e-3)
    before = algorithm.log_prob(STRINGS.numpy())
    algorithm.train_by_likelihood(TASK.sample(16, np.random.default_rng(0)))
    assert np.abs(algorithm.log_prob(STRINGS.numpy()) - before).max() > 0


def test_formulae_of_several_lengths() -> None:
    task = EvenOnes(5)
    algorithm = LeakGAN(task, SMALL, 0, CPU)
    algorithm.pretrain(task.sample(16, np.random.default_rng(0)), 0.0)
    loss, reward = algorithm.generator_loss(torch.zeros((0, 5)), 0.0)
    assert loss.isfinite()
    assert reward.shape == (16,)


def played(task: SequenceTask, horizon: int) -> tuple[LeakGAN, Tensor, Tensor]:
    """An algorithm after a short start, so that goals lead somewhere, and its next batch with Q."""
    algorithm = LeakGAN(task, replace(SMALL, horizon=horizon, d_steps=10, mle_learning_rate=0.02), 0, CPU)
    for seed in range(2):
        algorithm.pretrain(task.sample(algorithm.real_batch_size, np.random.default_rng(seed)), 0.0)
    algorithm.rng.manual_seed(0)
    tokens, q = algorithm.draw_with_q()
    algorithm.rng.manual_seed(0)
    return algorithm, tokens, q


every_kind = pytest.mark.parametrize(("task", "horizon"), [(TASK, 2), (TASK, 3), (EvenOnes(5), 3)])


@every_kind
def test_the_last_q_of_a_formula_is_its_own_score(task: SequenceTask, horizon: int) -> None:
    """The logit of a plain discriminator, within ±5 nats; before it is what may still become of the formula."""
    algorithm, tokens, q = played(task, horizon)
    assert q.shape == tokens.shape == (16, task.max_length)
    with torch.no_grad():
        score = algorithm.adversary.network(one_hot(tokens, task.vocabulary.size)).clamp(-5, 5)
    assert len(score.unique()) > 4
    torch.testing.assert_close(q[:, -1], score)
    assert (q[:, 0] - q[:, -1]).abs().max() > 1e-2
    over = tokens == task.vocabulary.pad
    torch.testing.assert_close(q[over], score[:, None].expand_as(q)[over])


def ranks(q: Array) -> Array:
    """Of the values of each column, the best 1; equal ones have a common one."""
    above, equal = (q[None] > q[:, None]).sum(axis=1), (q[None] == q[:, None]).sum(axis=1)
    return np.asarray(above + (1 + equal) / 2, dtype=np.float64)


def orders(q: Array) -> Array:
    """What the public code takes for ranks: the places in the batch of the best, the second best, and so on."""
    return np.asarray(1 + np.argsort(-q, axis=0), dtype=np.float64)


def cosine_of(way: Array, goal: Array) -> float:
    return float(way @ goal / np.linalg.norm(way) / np.linalg.norm(goal))


def follows(features: Array, goals: Array, horizon: int) -> Array:
    """The worker's reward of each symbol: how the last ways went to the goals that were set then."""
    rewards = np.zeros(goals.shape[:2])
    for row, t in np.ndindex(rewards.shape):
        for start in range(max(t + 1 - horizon, 0), t + 1):
            way = features[row, t + 1] - features[row, start]
            rewards[row, t] += cosine_of(way, goals[row, start]) / horizon if way.any() else 0.0
    return rewards


def loss_by_hand(
    rank: Array,
    intrinsic: Array,
    features: Array,
    goals: Array,
    log_probs: Array,
    written: NDArray[np.bool_],
    horizon: int,
) -> float:
    """The worker's REINFORCE and the manager's way to its goals, in sums over formulae and their symbols."""
    n, length = log_probs.shape
    total = 0.0
    for row, t in np.ndindex(n, length):
        if not written[row, t]:
            continue
        baseline = intrinsic[written[:, t], t].mean()
        total -= log_probs[row, t] * (intrinsic[row, t] - baseline)
        end = min(t + horizon, length)
        reward = 1 / (1 + math.exp(-16 * (0.5 - rank[row, end - 1] / n)))
        total -= reward * cosine_of(features[row, end] - features[row, t], goals[row, t])
    return total / n


@every_kind
def test_the_generator_s_loss_by_hand(task: SequenceTask, horizon: int) -> None:
    algorithm, tokens, q = played(task, horizon)
    loss, reward = algorithm.generator_loss(torch.zeros((0, task.max_length)), 0.0)
    torch.testing.assert_close(reward, q[:, -1])
    generator, pad = algorithm.generator, task.vocabulary.pad
    with torch.no_grad():
        features = generator.features(tokens)
        goals = generator.goals(features)
        log_probs = token_log_probs(generator.logits(tokens, goals), tokens, pad)
    arrays = [each.double().numpy() for each in (features, goals, log_probs)]
    score, written = q.double().numpy(), (tokens != pad).numpy()
    intrinsic = follows(arrays[0], arrays[1], horizon)

    def by_hand(rank: Array, intrinsic: Array) -> float:
        return loss_by_hand(rank, intrinsic, arrays[0], arrays[1], arrays[2], written, horizon)

    expected = by_hand(ranks(score), intrinsic)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    mean = np.broadcast_to(intrinsic.mean(axis=1, keepdims=True), intrinsic.shape)
    others = {
        "one intrinsic reward for all symbols": by_hand(ranks(score), mean),
        "intrinsic rewards of other formulae": by_hand(ranks(score), np.roll(intrinsic, 1, axis=0)),
        "ranks that are not sorted": by_hand(orders(score), intrinsic),
        "the ranks of other formulae": by_hand(ranks(np.roll(score, 1, axis=0)), intrinsic),
    }
    for what, value in others.items():
        assert abs(value - expected) > 0.01, what


LEARNING = LeakGANConfig(
    rounds=160, mle_rounds=30, batch_size=64, d_steps=1, hidden_dim=32, horizon=2, likelihood_every=0,
    learning_rate=2e-3, ema_decay=0.99, discriminator=AdversaryConfig(kind="plain"),
)  # fmt: skip


@pytest.mark.slow
def test_it_learns_to_write_correct_formulae() -> None:
    assert trained(LeakGAN(TASK, LEARNING, 0, CPU), TASK)["accuracy"] > 0.9


@pytest.mark.slow
def test_where_the_discriminator_never_learns_it_learns_nothing_of_the_data() -> None:
    """Away from the likelihood of the start, which it has, towards whatever a random discriminator likes."""
    accuracies = []
    for seed in range(4):
        frozen = AdversaryConfig(kind="plain", learning_rate=1e-12)
        config = replace(LEARNING, rounds=60, mle_rounds=0, discriminator=frozen)
        accuracies.append(trained(LeakGAN(TASK, config, seed, CPU), TASK)["accuracy"])
    assert np.mean(accuracies) < 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon must be"),
        ({"rank_slope": 0.0}, "rank_slope must be"),
        ({"generator": "transformer"}, "no effect with leakgan, whose generator is a manager and a worker"),
        ({"discriminator_rounds": 3}, "no effect with leakgan, whose start is by turns"),
        ({"discriminator": AdversaryConfig(architecture="autoregressive")}, "has no features of prefixes"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        LeakGANConfig(**settings)
