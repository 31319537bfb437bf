"""RankGAN: ranks by hand, what they depend on, and what the generator learns from them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.agents.rankgan import Ranker, RankGAN, RankGANConfig, log_ranks
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.tasks import make_task
from tests.helpers import sharpen
from tests.tabular import all_strings
from tests.training import trained

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
STRINGS = torch.from_numpy(all_strings(TASK))
SMALL = RankGANConfig(
    rounds=10, batch_size=16, embedding_dim=4, hidden_dim=8, num_references=4, comparison_size=6, num_rollouts=4
)


def unit(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])


def test_ranks_by_hand() -> None:
    """One formula, two references, one formula to compare with; γ = 2."""
    found, rest = (each.exp() for each in log_ranks(unit(0.3), unit(0.0, 1.0), unit(2.0), 2.0))
    of_each = [
        math.exp(2 * math.cos(0.3 - u)) / (math.exp(2 * math.cos(0.3 - u)) + math.exp(2 * math.cos(2.0 - u)))
        for u in (0.0, 1.0)
    ]
    assert float(found) == pytest.approx(sum(of_each) / 2, rel=1e-5)
    assert float(rest) == pytest.approx(1 - sum(of_each) / 2, rel=1e-5)


def test_a_rank_of_one_breaks_nothing() -> None:
    """A fake equal to the reference, and what it is compared with opposite, at a large γ."""
    formula = unit(0.0).requires_grad_()
    _, log_rest = log_ranks(formula, unit(0.0), unit(math.pi), 500.0)
    log_rest.backward()
    assert float(log_rest.detach()) == pytest.approx(-1000)
    assert formula.grad is not None
    assert formula.grad.isfinite().all()


def test_the_ranker_s_loss_by_hand(ranker: Ranker) -> None:
    """Real formulae are ranked among fakes, fakes among real ones; both over real references."""
    rng = np.random.default_rng(1)
    real, fake = torch.from_numpy(TASK.sample(16, rng)), torch.from_numpy(rng.integers(2, size=(16, 4)))
    with torch.no_grad():
        embedded = ranker.embed(ranker.weights.network, real, fake)
    vectors = dict(zip("rf", embedded, strict=True))

    def rank(name: str, row: int, others: str) -> float:
        own = [float(SMALL.gamma * vectors[name][row] @ vectors["r"][u]) for u in range(4)]
        rest = [
            sum(math.exp(float(SMALL.gamma * vectors[others][c] @ vectors["r"][u])) for c in range(4, 10))
            for u in range(4)
        ]
        return sum(math.exp(a) / (math.exp(a) + b) for a, b in zip(own, rest, strict=True)) / 4

    by_hand = sum(-math.log(rank("r", i, "f")) - math.log(1 - rank("f", i, "r")) for i in range(16)) / 16
    assert float(ranker.train(real, fake, 0.0)["discriminator/loss"]) == pytest.approx(by_hand, rel=1e-4)


def test_a_formula_like_all_it_is_compared_with_has_the_share_of_one() -> None:
    same = unit(0.7, 0.7, 0.7, 0.7)
    assert log_ranks(same[:1], unit(2.0), same, 50.0)[0].exp() == pytest.approx(1 / 5)


@pytest.fixture
def ranker() -> Ranker:
    torch.manual_seed(0)
    ranker = Ranker(TASK, SMALL, CPU)
    ranker.compare_with(torch.from_numpy(TASK.sample(16, np.random.default_rng(0))))
    return ranker


def test_a_rank_depends_on_neither_order_nor_size_of_the_batch(ranker: Ranker) -> None:
    ranks = ranker.score(STRINGS)
    assert ranks.min() > 0
    assert ranks.max() < 1
    assert ranks.std() > 1e-3
    order = torch.randperm(16)
    torch.testing.assert_close(ranker.score(STRINGS[order]), ranks[order])
    torch.testing.assert_close(torch.cat([ranker.score(string[None]) for string in STRINGS]), ranks)
    shuffled = torch.cat([ranker.comparison[order[order < 6]]])
    ranker.comparison = shuffled
    torch.testing.assert_close(ranker.score(STRINGS), ranks)


def test_the_ranker_learns_to_rank_real_formulae_higher(ranker: Ranker) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        real = torch.from_numpy(TASK.sample(32, rng))
        ranker.train(real, torch.from_numpy(rng.integers(2, size=(32, 4))), progress=0.0)
    ranks, correct = ranker.score(STRINGS), torch.from_numpy(TASK.is_correct(STRINGS.numpy()))
    assert ranks[correct].mean() > 1.5 * ranks[~correct].mean()


def test_the_q_of_a_whole_formula_is_its_rank() -> None:
    algorithm = RankGAN(TASK, SMALL, 0, CPU)
    algorithm.adversary.compare_with(torch.from_numpy(TASK.sample(16, np.random.default_rng(0))))
    tokens, q = algorithm.draw_with_q()
    assert tokens.shape == q.shape == (16, 4)
    torch.testing.assert_close(q[:, -1], algorithm.adversary.score(tokens))
    assert (q[:, 0] - q[:, -1]).abs().max() > 1e-4
    without = RankGAN(TASK, replace(SMALL, num_rollouts=0), 0, CPU)
    without.adversary.compare_with(torch.from_numpy(TASK.sample(16, np.random.default_rng(0))))
    tokens, q = without.draw_with_q()
    torch.testing.assert_close(q, without.adversary.score(tokens)[:, None].expand(-1, 4))


@pytest.mark.parametrize("num_rollouts", [0, 4])
def test_the_generator_s_loss_by_hand(num_rollouts: int) -> None:
    """REINFORCE on Q less its mean at each position; without rollouts Q is the formula's rank everywhere."""
    algorithm = RankGAN(TASK, replace(SMALL, num_rollouts=num_rollouts), 0, CPU)
    sharpen(algorithm.generator, 3.0)
    sharpen(algorithm.adversary.weights.network, 3.0)
    real = torch.from_numpy(TASK.sample(16, np.random.default_rng(0)))
    algorithm.adversary.compare_with(real)
    tokens, estimated = algorithm.draw_with_q()
    with torch.no_grad():
        log_probs = algorithm.token_log_probs(tokens).double().numpy()
        embedded = algorithm.adversary.embed(algorithm.adversary.weights.network, tokens, real)
    drawn, true = (each.double().numpy() for each in embedded)
    alike = [np.exp(SMALL.gamma * each @ true[:4].T) for each in (drawn, true[4:10])]
    rank = (alike[0] / (alike[0] + alike[1].sum(axis=0))).mean(axis=1)
    q = estimated.double().numpy() if num_rollouts else np.repeat(rank[:, None], 4, axis=1)

    def by_hand(q: np.ndarray) -> float:
        return -float(((q - q.mean(axis=0)) * log_probs).sum()) / 16

    algorithm.rng.manual_seed(0)
    loss, reward = algorithm.generator_loss(real, 0.0)
    assert reward.numpy() == pytest.approx(rank, rel=1e-4)
    assert loss.item() == pytest.approx(by_hand(q), rel=1e-4)
    assert abs(by_hand(np.roll(q, 1, axis=0)) - by_hand(q)) > 0.01, "rewards of other formulae"


LEARNING = RankGANConfig(
    rounds=150, batch_size=128, d_steps=1, learning_rate=2e-3, ranker_learning_rate=1e-3, gamma=4.0, hidden_dim=32,
    num_rollouts=0,
)  # fmt: skip


@pytest.mark.slow
def test_it_learns_to_write_correct_formulae() -> None:
    assert trained(RankGAN(TASK, LEARNING, 0, CPU), TASK)["accuracy"] > 0.8


@pytest.mark.slow
def test_where_the_ranker_never_learns_it_learns_nothing_of_the_data() -> None:
    """A random ranker is climbed, too; towards one formula, whichever it likes: not towards the correct ones."""
    accuracies = []
    for seed in range(4):
        algorithm, rng = (
            RankGAN(TASK, replace(LEARNING, ranker_learning_rate=1e-12), seed, CPU),
            np.random.default_rng(0),
        )
        for round_ in range(60):
            algorithm.update(TASK.sample(algorithm.real_batch_size, rng), round_ / 150)
        accuracies.append(SequenceEvaluator(TASK)(algorithm.sample(500, 0), algorithm.log_prob)["accuracy"])
    assert np.mean(accuracies) < 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.0}, "gamma must be"),
        ({"comparison_size": 0}, "comparison_size must be at least 1"),
        (
            {"num_references": 200, "comparison_size": 100},
            "must be batch_size at most together, got 200 and 100 of 64",
        ),
        ({"embedding_size": 10**9}, "embedding_size must be at most"),
        ({"num_rollouts": -1}, "num_rollouts must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        RankGANConfig(**settings)
