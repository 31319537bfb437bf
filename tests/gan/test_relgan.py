"""RelGAN: what is fed back and what is judged, the relativistic loss, and what the generator learns by it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from formula_env.errors import FormulaError
from formula_env.gan.gumbel_softmax import gumbel_noise
from formula_env.gan.relgan import MultiRepresentationCNN, Pooling, RelGAN, RelGANConfig, relativistic_loss
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.helpers import sharpen
from tests.tabular import all_strings, frequencies
from tests.training import trained

CPU = torch.device("cpu")
TASK = make_task("binary-sum", length=4)
STRINGS = torch.from_numpy(all_strings(TASK))
SMALL = RelGANConfig(
    rounds=10, mle_rounds=2, batch_size=16, embedding_dim=4, hidden_dim=8, representations=3, channels=8
)


@pytest.mark.parametrize("beta", [1.0, 30.0])
def test_the_hard_symbol_is_fed_back_and_the_soft_one_is_judged(beta: float) -> None:
    """Teacher forcing on the hard symbols, with the same noise, gives the relaxed ones again."""
    algorithm = RelGAN(TASK, SMALL, 0, CPU)
    noise = gumbel_noise((4, 50, 2), torch.Generator().manual_seed(0)).transpose(0, 1)
    relaxed = algorithm.relaxed(50, beta)
    hard = relaxed.argmax(dim=2)
    assert len(hard.unique(dim=0)) > 5
    logits = algorithm.generator(hard)
    torch.testing.assert_close(relaxed, torch.softmax(beta * (logits + noise), dim=2), atol=1e-5, rtol=1e-4)
    assert torch.equal(hard, (logits + noise).argmax(dim=2))


def test_the_density_is_that_of_the_hard_symbols_whatever_the_temperature() -> None:
    algorithm = RelGAN(TASK, SMALL, 0, CPU)
    with torch.no_grad():
        for weights in algorithm.generator.parameters():
            weights.mul_(3.0)  # far from uniform
    algorithm.weights.restart()
    probs = np.exp(algorithm.log_prob(STRINGS.numpy()))
    assert probs.sum() == pytest.approx(1)
    assert probs.max() > 2 / 16
    for beta in (0.5, 50.0):
        with torch.no_grad():
            hard = algorithm.relaxed(40_000, beta).argmax(dim=2)
        assert np.abs(frequencies(hard) - probs).max() < 0.01


def test_the_loss_compares_pairs_and_has_a_mirror_image() -> None:
    real, fake = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([[1.0, 1.0], [0.5, 3.0]])
    by_hand = sum(math.log(1 + math.exp(-gap)) for gap in (1.0, -2.0, 0.0, -3.0)) / 4
    assert float(relativistic_loss(real, fake)) == pytest.approx(by_hand, rel=1e-6)
    assert float(relativistic_loss(real, real)) == pytest.approx(math.log(2))
    mirrored = sum(math.log(1 + math.exp(gap)) for gap in (1.0, -2.0, 0.0, -3.0)) / 4
    assert float(relativistic_loss(fake, real)) == pytest.approx(mirrored, rel=1e-6)
    shifted = relativistic_loss(real + 7, fake + 7)
    torch.testing.assert_close(shifted, relativistic_loss(real, fake))  # only differences count


def test_both_sides_play_the_same_game() -> None:
    """The generator's loss on a batch is the discriminator's with the roles exchanged."""
    algorithm = RelGAN(TASK, SMALL, 0, CPU)
    real = STRINGS[:8]
    with torch.no_grad():
        of_real, of_fake = algorithm.adversary.judge(real, algorithm.relaxed(8, algorithm.beta(0.0)))
    assert of_real.shape == of_fake.shape == (8, 3)
    algorithm.rng.manual_seed(0)
    loss, reward = algorithm.generator_loss(real, 0.0)
    torch.testing.assert_close(loss.detach(), relativistic_loss(of_fake, of_real))
    torch.testing.assert_close(reward, of_fake - of_real)


def test_the_discriminator_s_loss_by_hand() -> None:
    """Of pairs of a real formula and a fake, for each representation; the step goes down it."""
    judge = RelGAN(TASK, SMALL, 0, CPU).adversary
    sharpen(judge.network, 2.0)
    rng = torch.Generator().manual_seed(0)
    real = STRINGS[torch.randint(16, (8,), generator=rng)]
    fake = torch.softmax(3 * torch.randn(8, 4, 2, generator=rng), dim=2)
    with torch.no_grad():
        scores = [
            judge.network(each).double().numpy() for each in (torch.nn.functional.one_hot(real, 2).float(), fake)
        ]

    def by_hand(higher: np.ndarray, lower: np.ndarray) -> float:
        """-log of the sigmoid of each gap, averaged over 8 pairs and 3 representations."""
        gaps = [float(higher[i, s] - lower[i, s]) for i in range(8) for s in range(3)]
        return sum(math.log(1 + math.exp(-gap)) for gap in gaps) / 24

    of_real, of_fake = scores
    expected = by_hand(of_real, of_fake)
    others = [by_hand(of_fake, of_real), by_hand(of_real, of_fake[::-1])]  # swapped; other pairs
    assert min(abs(other - expected) for other in others) > 1e-3
    assert float(judge.train(real, fake, 0.0)["discriminator/loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(judge.train(real, fake, 0.0)["discriminator/loss"]) < expected


def test_the_inverse_temperature_rises_exponentially() -> None:
    algorithm = RelGAN(TASK, replace(SMALL, beta_min=2.0, beta_max=200.0), 0, CPU)
    assert [algorithm.beta(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 20.0, 200.0])


def one_hot(*formulae: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(formulae), 2).float()


@pytest.mark.parametrize("pooling", ["none", "max"])
def test_the_discriminator_has_a_logit_for_each_representation(pooling: Pooling) -> None:
    torch.manual_seed(0)
    network = MultiRepresentationCNN(2, 8, representations=5, channels=4, pooling=pooling)
    formulae = one_hot([0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0])
    logits = network(formulae)
    assert logits.shape == (2, 5)
    with torch.no_grad():
        network.embedding.weight[3] += 1
    changed = (network(formulae) - logits).abs().amax(dim=0) > 1e-6
    assert changed.tolist() == [False, False, False, True, False], "each reads its own embedding"


def test_where_filters_are_pooled_the_place_of_a_symbol_is_lost() -> None:
    """Whether a single 1 is the last of the left half or the first of the right can't be told."""
    formulae = one_hot([0] * 7 + [1] + [0] * 8, [0] * 8 + [1] + [0] * 7)
    cases: list[tuple[Pooling, bool]] = [("none", True), ("max", False)]
    for pooling, differ in cases:
        torch.manual_seed(0)
        one, other = MultiRepresentationCNN(2, 16, 5, 4, pooling)(formulae)
        assert ((one - other).abs().max() > 1e-4) == differ


def test_behind_eos_is_eos() -> None:
    task = EvenOnes(5)
    algorithm = RelGAN(task, SMALL, 0, CPU)
    hard = algorithm.relaxed(500, 2.0).argmax(dim=2)
    ended = ((hard == task.vocabulary.eos).cumsum(dim=1) - (hard == task.vocabulary.eos).long()) > 0
    assert ended.any()
    assert (hard[ended] == task.vocabulary.eos).all()
    assert algorithm.env_steps == int((~ended).sum())
    relaxed = algorithm.relaxed(500, 2.0)
    assert relaxed.sum(dim=2).allclose(torch.ones(500, 5))


LEARNING = RelGANConfig(
    rounds=300,
    mle_rounds=0,
    batch_size=64,
    hidden_dim=32,
    d_steps=2,
    ema_decay=0.99,
    learning_rate=2e-3,
    discriminator_learning_rate=3e-3,
    beta_min=1.0,
    beta_max=2.0,
    channels=16,
)


@pytest.mark.slow
def test_it_learns_to_write_correct_formulae() -> None:
    assert trained(RelGAN(TASK, LEARNING, 0, CPU), TASK)["accuracy"] > 0.9


@pytest.mark.slow
def test_where_the_discriminator_never_learns_it_learns_nothing_of_the_data() -> None:
    accuracies = []
    for seed in range(4):
        config = replace(LEARNING, rounds=60, d_steps=1, discriminator_learning_rate=1e-12)
        accuracies.append(trained(RelGAN(TASK, config, seed, CPU), TASK)["accuracy"])
    assert np.mean(accuracies) < 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta_min": 0.0}, "beta_min must be above 0"),
        ({"beta_max": 0.5}, "beta_max must be at least beta_min, got 0.5 and 10.0"),
        ({"representations": 0}, "representations must be"),
        ({"pooling": "mean"}, "pooling must be"),
        ({"hidden_dim": 15}, "hidden_dim must be a multiple of heads"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        RelGANConfig(**settings)
