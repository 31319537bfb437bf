from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.gan.gumbel_softmax import (
    GumbelSoftmaxGAN,
    GumbelSoftmaxGANConfig,
    gumbel_softmax,
    straight_through,
)
from formula_env.gan.softmax import SoftmaxGAN, SoftmaxGANConfig
from formula_env.gan.unrolled import logit_gap
from formula_env.optimizers import adam
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.helpers import sharpen
from tests.oracles import all_sequences

CPU = torch.device("cpu")
LOGITS = torch.tensor([1.0, -0.5, 0.3, 2.0], dtype=torch.float64)
SMALL = {"embedding_dim": 4, "hidden_dim": 8, "batch_size": 16}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_largest_entry_is_categorical_at_every_temperature(temperature: float) -> None:
    """Lemma 3, the Gumbel-max trick: chi-square against softmax(logits)."""
    n = 100_000
    samples = gumbel_softmax(LOGITS.expand(n, -1), temperature, generator())
    torch.testing.assert_close(samples.sum(dim=1), torch.ones(n, dtype=torch.float64))
    counts = torch.bincount(samples.argmax(dim=1), minlength=4).double()
    expected = n * torch.softmax(LOGITS, dim=0)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 3 + 5 * sqrt(2 * 3)


def test_limits_of_the_temperature() -> None:
    """The right way round: low makes one-hot samples whose mean is softmax(logits), high the constant 1/V."""
    many = LOGITS.expand(100_000, -1)
    cold, hot = (gumbel_softmax(many, temperature, generator()) for temperature in (1e-4, 1e4))
    assert cold.max(dim=1).values.mean() > 0.999
    torch.testing.assert_close(cold.mean(dim=0), torch.softmax(LOGITS, dim=0), atol=0.01, rtol=0)
    torch.testing.assert_close(hot, torch.full_like(hot, 0.25), atol=0.005, rtol=0)


def test_gradients_of_the_relaxed_sample_against_finite_differences() -> None:
    weights = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64)

    def value(logits: Tensor) -> Tensor:
        return (gumbel_softmax(logits, 0.7, generator(3)) * weights).sum()

    assert torch.autograd.gradcheck(value, (LOGITS.clone().requires_grad_(),))


def test_straight_through_is_hard_forward_and_soft_backward() -> None:
    weights = torch.randn(50, 4, dtype=torch.float64)
    gradients = []
    for hard in (True, False):
        logits = LOGITS.repeat(50, 1).requires_grad_()
        sample = gumbel_softmax(logits, 0.8, generator(1))
        if hard:
            largest = sample.argmax(dim=1)
            sample = straight_through(sample)
            assert torch.equal(sample.detach(), torch.nn.functional.one_hot(largest, 4).double())
        (gradient,) = torch.autograd.grad((sample * weights).sum(), logits)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0.01


def hard_gan(length: int = 6, **settings: Any) -> GumbelSoftmaxGAN:
    config = GumbelSoftmaxGANConfig(**{"rounds": 10, **SMALL, **settings})
    gan = GumbelSoftmaxGAN(make_task("binary-sum", length=length), config, 0, CPU)
    sharpen(gan.weights.average, 4.0)
    return gan


def test_the_density_of_hard_samples_is_explicit() -> None:
    """It sums to 1 over all sequences, and is how often the generator says each."""
    gan = hard_gan()
    assert gan.log_prob is not None
    sequences = all_sequences(gan.task).numpy()
    probs = np.exp(gan.log_prob(sequences))
    assert probs.sum() == pytest.approx(1)
    n = 40_000
    index = {tuple(row): i for i, row in enumerate(sequences.tolist())}
    counts = np.bincount([index[tuple(row)] for row in gan.sample(n, seed=1).tolist()], minlength=len(sequences))
    frequent = n * probs > 5
    chi_square = ((counts - n * probs) ** 2 / (n * probs))[frequent].sum()
    assert abs(chi_square - frequent.sum()) < 5 * sqrt(2 * frequent.sum())


@pytest.mark.parametrize("settings", [{"hard": False}, {"latent_dim": 3}])
def test_otherwise_it_is_not_known(settings: dict[str, Any]) -> None:
    assert hard_gan(**settings).log_prob is None


def test_bound_logits_stay_within_their_bound() -> None:
    gan = hard_gan(logit_bound=1.5)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.mul_(50)
    _, logits = gan.generator(200, lambda x: gan.relax(x, gan.rng), gan.rng)
    assert logits.abs().max() <= 1.5
    assert logits.abs().max() > 1.4
    assert 0 < float(logit_gap(logits)) <= 3.0


def test_the_logit_gap_by_hand() -> None:
    assert float(logit_gap(torch.tensor([[[3.0, 1.0, 2.5], [0.0, -4.0, 0.0]]]))) == pytest.approx(0.25)


def test_a_loaded_gan_samples_at_the_temperature_at_which_it_was_saved() -> None:
    """Relaxed samples depend on it, and it on the rounds that are done."""
    saved, loaded = (hard_gan(rounds=10, hard=False, temperature=3.0, final_temperature=0.1) for _ in range(2))
    real = saved.task.sample(16, np.random.default_rng(0))
    for done in range(5):
        saved.update(real, done / 10)
        assert saved.temperature == pytest.approx(3.0 * (0.1 / 3.0) ** ((done + 1) / 10))
    loaded.load_state_dict(saved.state_dict())
    assert loaded.temperature == saved.temperature
    assert np.array_equal(loaded.sample(50, seed=0), saved.sample(50, seed=0))


def test_the_temperature_falls_exponentially() -> None:
    gan = hard_gan(rounds=100, temperature=3.0, final_temperature=0.1)
    assert gan.temperature == 3.0
    gan.progress = 0.5
    assert gan.temperature == pytest.approx(sqrt(3.0 * 0.1))
    gan.progress = 1.0
    assert gan.temperature == pytest.approx(0.1)


def test_the_temperature_stays_where_an_early_annealing_has_ended() -> None:
    gan = hard_gan(rounds=100, temperature=3.0, final_temperature=0.1, annealing=0.2)
    gan.progress = 0.1
    assert gan.temperature == pytest.approx(sqrt(3.0 * 0.1))
    for gan.progress in (0.2, 0.6, 1.0):
        assert gan.temperature == pytest.approx(0.1)


def test_annealing_without_an_end_or_a_way_to_go_is_refused() -> None:
    for annealing in (0.0, 1.5):
        with pytest.raises(FormulaError, match="annealing must be"):
            GumbelSoftmaxGANConfig(temperature=3.0, annealing=annealing)
    with pytest.raises(FormulaError, match="annealing has no effect"):
        GumbelSoftmaxGANConfig(annealing=0.5)


def test_a_round_moves_both_networks_and_the_average() -> None:
    gan = hard_gan(ema_decay=0.9)
    real = gan.task.sample(16, np.random.default_rng(0))
    networks = (gan.generator, gan.discriminator, gan.weights.average)
    before = [torch.cat([p.detach().flatten().clone() for p in network.parameters()]) for network in networks]
    gan.update(real, 0.0)
    for network, old in zip(networks, before, strict=True):
        assert not torch.equal(torch.cat([p.detach().flatten() for p in network.parameters()]), old)


def test_formulae_that_end_with_eos_are_refused() -> None:
    with pytest.raises(FormulaError, match="one length only"):
        SoftmaxGAN(EvenOnes(4), SoftmaxGANConfig(), 0, CPU)


class Indifferent(nn.Module):
    """A discriminator that does not look at what it judges."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1))

    def forward(self, formulae: Tensor) -> Tensor:
        return self.logit + 0 * formulae.flatten(1).sum(dim=1)


def trained_shortly(learns: bool) -> tuple[float, float]:
    """Accuracy and exact JSD of a small straight-through GAN, or of one whose discriminator teaches nothing."""
    task = make_task("binary-sum", length=4)
    config = GumbelSoftmaxGANConfig(
        rounds=600, generator_learning_rate=5e-3, discriminator_learning_rate=5e-3, hidden_dim=32, embedding_dim=8,
        ema_decay=0.98,
    )  # fmt: skip
    gan = GumbelSoftmaxGAN(task, config, 0, CPU)
    if not learns:
        gan.discriminator = Indifferent()
        gan.discriminator_optimizer = adam(gan.discriminator.parameters(), 1e-3)
    training, rng = task.sample(1_000, np.random.default_rng(0)), np.random.default_rng(1)
    for done in range(config.rounds):
        gan.update(training[rng.integers(len(training), size=64)], done / config.rounds)
    metrics = SequenceEvaluator(task)(gan.sample(1_000, seed=0), gan.log_prob)
    return float(metrics["accuracy"]), float(metrics["jsd"])


@pytest.mark.slow
def test_straight_through_learns_what_the_discriminator_teaches() -> None:
    accuracy, jsd = trained_shortly(learns=True)
    assert accuracy > 0.75  # a uniform sampler: 6 of 16
    assert jsd < 0.14


@pytest.mark.slow
def test_a_discriminator_that_teaches_nothing_teaches_nothing() -> None:
    accuracy, jsd = trained_shortly(learns=False)
    assert accuracy == pytest.approx(6 / 16, abs=0.05)
    assert jsd > 0.2
