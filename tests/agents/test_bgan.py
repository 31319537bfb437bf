"""Boundary-seeking GAN: its gradient against the data's, its groups, and what it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from formula_env.adversary import AdversaryConfig
from formula_env.agents.bgan import BGAN, BGANConfig, boundary_seeking_loss
from formula_env.errors import FormulaError
from tests.agents.test_maligan import CPU, STRINGS, TASK, gradient, logits_by_hand, shares, skewed
from tests.helpers import sharpen
from tests.training import trained


def test_with_the_perfect_discriminator_its_gradient_is_that_of_the_data_s_likelihood() -> None:
    generator, logits = skewed()
    probs = generator.log_prob(STRINGS).exp().detach()
    row = torch.multinomial(probs, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = gradient(generator, boundary_seeking_loss(generator.log_prob(STRINGS[row]), logits[row], 200_000))
    data = (probs * logits.exp()).float()
    expected = gradient(generator, -(data * generator.log_prob(STRINGS)).sum())
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.05)


def test_weights_sum_to_one_in_each_group_of_draws() -> None:
    log_probs, logits = torch.arange(6.0), torch.tensor([0.0, 0.0, 0.0, 1000.0, 0.0, -1000.0])
    loss = boundary_seeking_loss(log_probs, logits, 3)
    assert float(loss) == pytest.approx(-((0 + 1 + 2) / 3 + 3) / 2)  # by hand; large logits are no trouble
    shifted = boundary_seeking_loss(log_probs, logits + torch.tensor([5.0] * 3 + [-7.0] * 3), 3)
    torch.testing.assert_close(shifted, loss)


def test_no_gradient_goes_through_the_weights() -> None:
    logits = torch.zeros(4, requires_grad=True)
    log_probs = torch.zeros(4, requires_grad=True)
    boundary_seeking_loss(log_probs, logits, 2).backward()
    assert logits.grad is None
    assert log_probs.grad is not None


def test_the_generator_s_loss_by_hand() -> None:
    """The mean over four groups of four draws; weights are those of a group."""
    config = BGANConfig(rounds=10, batch_size=16, embedding_dim=4, hidden_dim=8, num_samples=4)
    algorithm = BGAN(TASK, config, 0, CPU)
    sharpen(algorithm.generator, 3.0)
    sharpen(algorithm.adversary.network, 3.0)
    log_probs, logits = logits_by_hand(algorithm, algorithm.draw(16))

    def by_hand(logits: np.ndarray) -> float:
        groups = np.arange(16).reshape(4, 4)
        return -sum(float(shares(logits[group]) @ log_probs[group].sum(axis=1)) for group in groups) / 4

    algorithm.rng.manual_seed(0)
    loss, reward = algorithm.generator_loss(STRINGS, 0.0)
    assert reward.numpy() == pytest.approx(logits, rel=1e-4, abs=1e-4)
    assert loss.item() == pytest.approx(by_hand(logits), rel=1e-4)
    assert abs(by_hand(np.roll(logits, 1)) - by_hand(logits)) > 0.01, "rewards of other formulae"


LEARNING = BGANConfig(
    rounds=500, discriminator_rounds=50, batch_size=128, hidden_dim=32, learning_rate=2e-3, ema_decay=0.99,
    discriminator=AdversaryConfig(),
)  # fmt: skip


@pytest.mark.slow
def test_it_learns_the_examples_distribution() -> None:
    end = trained(BGAN(TASK, LEARNING, 0, CPU), TASK)
    assert end["accuracy"] > 0.97
    assert end["jsd"] < 0.02
    assert end["coverage"] == 1


@pytest.mark.slow
def test_where_the_discriminator_never_learns_it_learns_nothing() -> None:
    frozen = replace(LEARNING.discriminator, learning_rate=1e-12)
    end = trained(BGAN(TASK, replace(LEARNING, rounds=200, discriminator=frozen), 0, CPU), TASK)
    assert end["accuracy"] == pytest.approx(6 / 16, abs=0.1)


@pytest.mark.parametrize("num_samples", [1, 24])
def test_groups_that_cannot_be_are_refused(num_samples: int) -> None:
    with pytest.raises(FormulaError, match="num_samples must be at least 2 and divide batch_size 256"):
        BGANConfig(num_samples=num_samples)
