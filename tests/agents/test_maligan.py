"""MaliGAN: its gradient against the data's, what the discriminator can't break, and its mixed schedule."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.adversary import AdversaryConfig
from formula_env.agents.bgan import BGAN
from formula_env.agents.maligan import MaliGAN, MaliGANConfig, weighted_likelihood_loss
from formula_env.errors import FormulaError
from formula_env.networks.generators import token_log_probs
from formula_env.sampling import Sampler, complete
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.helpers import sharpen
from tests.tabular import Table, all_strings
from tests.training import trained

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
SMALL = MaliGANConfig(rounds=10, batch_size=16, embedding_dim=4, hidden_dim=8)
STRINGS = torch.from_numpy(all_strings(TASK))


def skewed() -> tuple[Table, torch.Tensor]:
    """A generator far from the data, and log p_data - log π of all strings, where p_data is above 0 everywhere."""
    rng = np.random.default_rng(0)
    generator, data = Table(TASK), rng.dirichlet(np.full(16, 0.5)) + 0.02
    generator.become(rng.dirichlet(np.full(16, 2.0)))
    return generator, torch.from_numpy(np.log(data / data.sum())).float() - generator.log_prob(STRINGS).detach()


def loss_on(generator: Table, row: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    log_probs = token_log_probs(generator(STRINGS[row]), STRINGS[row], TASK.vocabulary.pad)
    return weighted_likelihood_loss(log_probs, logits[row], 0, len(row))


def gradient(generator: Table, loss: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, generator.logits)[0].flatten()


def test_with_the_perfect_discriminator_its_gradient_is_that_of_the_data_s_likelihood() -> None:
    generator, logits = skewed()
    probs = generator.log_prob(STRINGS).exp().detach()
    row = torch.multinomial(probs, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = gradient(generator, loss_on(generator, row, logits))
    data = (probs * logits.exp()).float()
    expected = gradient(generator, -(data * generator.log_prob(STRINGS)).sum())
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.05)


def test_where_the_discriminator_finds_all_draws_alike_nothing_moves() -> None:
    generator, _ = skewed()
    row = torch.arange(16)
    assert gradient(generator, loss_on(generator, row, torch.full((16,), 3.0))).abs().max() < 1e-7
    uneven = torch.linspace(-1, 1, 16)
    one = gradient(generator, loss_on(generator, row, uneven))
    assert one.abs().max() > 1e-3
    torch.testing.assert_close(gradient(generator, loss_on(generator, row, uneven + 100)), one)  # D = 1 in floats


def test_weights_are_among_draws_that_begin_alike() -> None:
    """A constant for each beginning, whatever D thinks of that, changes nothing."""
    generator, logits = skewed()
    log_probs = token_log_probs(generator(STRINGS), STRINGS, TASK.vocabulary.pad)
    beginnings = torch.linspace(-5, 5, 4).repeat_interleave(4)
    one, other = (weighted_likelihood_loss(log_probs, each, 2, 4) for each in (logits, logits + beginnings))
    torch.testing.assert_close(one, other)
    # By hand: the likelihood of two symbols, and four groups of weights.
    weights = torch.softmax(logits.view(4, 4), dim=1)
    by_hand = (
        log_probs[:, :2].sum(dim=1).mean()
        + ((weights - 0.25) * log_probs[:, 2:].sum(dim=1).view(4, 4)).sum(dim=1).mean()
    )
    torch.testing.assert_close(one, -by_hand)


def test_of_a_whole_example_the_loss_is_its_nll() -> None:
    generator, logits = skewed()
    log_probs = token_log_probs(generator(STRINGS), STRINGS, TASK.vocabulary.pad)
    loss = weighted_likelihood_loss(log_probs, logits, 4, 4)
    torch.testing.assert_close(loss, -log_probs.sum(dim=1).mean())


def test_mixed_draws_begin_with_fewer_and_fewer_symbols_of_an_example() -> None:
    algorithm = MaliGAN(TASK, replace(SMALL, mixed=0.5, completions=4), 0, CPU)
    assert [algorithm.num_given(i / 10) for i in range(10)] == [4, 4, 3, 2, 1, 0, 0, 0, 0, 0]
    assert MaliGAN(TASK, SMALL, 0, CPU).num_given(0.0) == 0
    real = torch.from_numpy(TASK.sample(16, np.random.default_rng(0)))
    tokens = algorithm.draw_completed(real, 3)
    assert torch.equal(tokens[:, :3], real[:4].repeat_interleave(4, dim=0)[:, :3])
    assert algorithm.env_steps == 16
    assert len(tokens.unique(dim=0)) > 4


def logits_by_hand(algorithm: MaliGAN | BGAN, tokens: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """log π `(n, T)` of each symbol, and the logits of a "ratio" discriminator `(n,)`: f - log π."""
    with torch.no_grad():
        log_probs = token_log_probs(algorithm.generator(tokens), tokens, TASK.vocabulary.pad).double().numpy()
        f = algorithm.adversary.network(tokens).double().numpy()
    return log_probs, f - log_probs.sum(axis=1)


def shares(logits: np.ndarray) -> np.ndarray:
    """Weights in proportion to exp(logit), which sum to 1."""
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize(("settings", "given"), [({}, 0), ({"mixed": 0.5, "completions": 4}, 3)])
def test_the_generator_s_loss_by_hand(settings: dict[str, Any], given: int) -> None:
    """In mixed training, that of each group of draws with the same beginning, and this beginning's likelihood."""
    algorithm = MaliGAN(TASK, replace(SMALL, **settings), 0, CPU)
    sharpen(algorithm.generator, 3.0)
    sharpen(algorithm.adversary.network, 3.0)
    real = torch.from_numpy(TASK.sample(16, np.random.default_rng(0)))
    assert algorithm.num_given(0.2) == given
    tokens = algorithm.draw_completed(real, given) if given else algorithm.draw(16)
    log_probs, logits = logits_by_hand(algorithm, tokens)
    size = 4 if given else 16

    def by_hand(logits: np.ndarray) -> float:
        total = 0.0
        for group in np.arange(16).reshape(-1, size):
            excess = shares(logits[group]) - 1 / size
            total -= (excess * log_probs[group, given:].sum(axis=1)).sum() / (16 / size)
        return total - log_probs[:, :given].sum() / 16

    algorithm.rng.manual_seed(0)
    loss, reward = algorithm.generator_loss(real, 0.2)
    assert reward.numpy() == pytest.approx(logits, rel=1e-4, abs=1e-4)
    assert loss.item() == pytest.approx(by_hand(logits), rel=1e-4)
    assert abs(by_hand(np.roll(logits, 1)) - by_hand(logits)) > 0.01, "rewards of other formulae"


LEARNING = MaliGANConfig(
    rounds=500, discriminator_rounds=50, batch_size=128, hidden_dim=32, learning_rate=2e-3,
    discriminator=AdversaryConfig(),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "accuracy", "jsd"),
    [
        ({}, 0.97, 0.02),
        ({"mixed": 0.5}, 0.97, 0.02),
        ({"discriminator": AdversaryConfig(kind="plain")}, 0.95, 0.05),
    ],
)
def test_it_learns_the_examples_distribution(settings: dict[str, Any], accuracy: float, jsd: float) -> None:
    end = trained(MaliGAN(TASK, replace(LEARNING, **settings), 0, CPU), TASK)
    assert end["accuracy"] > accuracy
    assert end["jsd"] < jsd
    assert end["coverage"] == 1


def test_completions_follow_the_policy_and_keep_what_is_given() -> None:
    generator, _ = skewed()
    given = torch.tensor([[0, 1, 0, 0]]).expand(20_000, -1)
    tokens = complete(generator, TASK.vocabulary, given, 2, torch.arange(20_000))
    probs = generator.log_prob(STRINGS).exp().detach()[4:8]  # those that begin with 01
    found = torch.bincount(tokens[:, 2] * 2 + tokens[:, 3], minlength=4) / 20_000
    torch.testing.assert_close(found, probs / probs.sum(), atol=0.015, rtol=0)
    assert torch.equal(tokens[:, :2], given[:, :2])
    assert torch.equal(complete(generator, TASK.vocabulary, given, 4, torch.arange(20_000)), given)
    keys = torch.arange(500)
    assert torch.equal(
        complete(generator, TASK.vocabulary, given[:500], 0, keys), Sampler(generator, TASK, CPU).write(keys)
    )


def test_a_completed_formula_ends_where_its_end_is_drawn_or_given() -> None:
    task = EvenOnes(5)
    end, pad = task.vocabulary.eos, task.vocabulary.pad
    generator = MaliGANConfig(embedding_dim=4, hidden_dim=8).make_generator(task)
    given = torch.tensor([[1, end, pad, pad, pad]]).expand(200, -1)
    keys = torch.arange(200)
    assert torch.equal(complete(generator, task.vocabulary, given, 3, keys), given)
    tokens = complete(generator, task.vocabulary, given, 1, keys)
    ended = (tokens == end).cumsum(dim=1) - (tokens == end).long() > 0
    assert ended.any()
    assert torch.equal(tokens == pad, ended)


@pytest.mark.slow
def test_where_the_discriminator_never_learns_it_learns_nothing() -> None:
    frozen = replace(LEARNING.discriminator, learning_rate=1e-12)
    end = trained(MaliGAN(TASK, replace(LEARNING, rounds=200, discriminator=frozen), 0, CPU), TASK)
    assert end["accuracy"] == pytest.approx(6 / 16, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixed": 1.5}, "mixed must be from 0 to 1"),
        ({"completions": 4}, "completions has no effect with mixed 0"),
        ({"mixed": 0.5, "completions": 7}, "completions must be at least 2 and divide batch_size 256, got 7"),
        ({"mixed": 0.5, "completions": 1}, "completions must be at least 2"),
        ({"d_steps": 0}, "d_steps must be at least 1"),
        (
            {"discriminator": AdversaryConfig(reward_clip=1.0)},
            "reward_clip has no effect with maligan",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        MaliGANConfig(**settings)
