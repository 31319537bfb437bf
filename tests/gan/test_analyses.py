"""The exact values that the thesis' chapters 3, 6 and 8 can be checked against."""

from itertools import product
from math import exp

import numpy as np
import pytest
import torch

from formula_env.evaluators import exact_jsd
from formula_env.experiment.registry import ANALYSES, analysis
from formula_env.gan.analyses import (
    Tie,
    alternator,
    bounded_match,
    conditional_entropies,
    forced_shares,
    least_switch_probability,
    look_ahead_accuracy,
    next_symbol,
    perfect_generator,
    perfect_generator_accuracy,
    switch_probability,
)
from formula_env.gan.gumbel_softmax import gumbel_softmax
from formula_env.tasks import make_task
from tests.helpers import count

pytestmark = pytest.mark.slow

TWO, FOUR = least_switch_probability(2, 1.0), least_switch_probability(4, 1.0)


def test_switch_probabilities() -> None:
    assert pytest.approx(0.119203, abs=5e-7) == TWO == pytest.approx(1 / (1 + exp(2)))
    assert pytest.approx(0.288765, abs=5e-7) == FOUR == pytest.approx(3 / (3 + exp(2)))
    assert least_switch_probability(2, 10.0) == pytest.approx(2.0612e-9, rel=5e-5)
    assert switch_probability(torch.tensor([1.0, -1.0])) == pytest.approx(TWO)


def test_lemma_5() -> None:
    """No logits within the bounds leave the largest one less often."""
    rng = torch.Generator().manual_seed(0)
    random = [switch_probability(2 * torch.rand(4, generator=rng) - 1) for _ in range(500)]
    edges = [switch_probability(torch.tensor(corner)) for corner in product((-1.0, 1.0), repeat=4)]
    assert min(random) > FOUR
    assert min(edges) == pytest.approx(FOUR)


def mean_of_two(gap: float, temperature: float) -> float:
    """E[y_1] of the Gumbel-softmax of two logits `gap` apart: E[σ((gap + L)/τ)], L ~ Logistic, by quadrature."""
    shares = (np.arange(200_000) + 0.5) / 200_000
    noise = np.log(shares / (1 - shares))
    return float((0.5 + 0.5 * np.tanh((gap + noise) / (2 * temperature))).mean())


def test_the_mean_of_the_gumbel_softmax_of_two_logits() -> None:
    for gap, temperature in ((1.0, 0.1), (1.0, 1.0), (-2.0, 5.0)):
        logits = torch.tensor([gap, 0.0], dtype=torch.float64).expand(200_000, -1)
        sampled = gumbel_softmax(logits, temperature, torch.Generator().manual_seed(0))[:, 0]
        assert mean_of_two(gap, temperature) == pytest.approx(float(sampled.mean()), abs=0.005)


@pytest.mark.parametrize(
    ("length", "switch", "vocab_size", "tie", "exact"),
    [
        (8, TWO, 2, "emit 0", 0.759947),
        (16, TWO, 2, "emit 0", 0.638952),
        (8, FOUR, 2, "emit 0", 0.49998),
        (8, TWO, 2, "leave 0", 0.95468),
        (16, TWO, 2, "leave 0", 0.98094),
        (8, FOUR, 2, "leave 0", 0.84132),
        (8, FOUR, 4, "emit 0", 0.3231),
    ],
)
def test_algorithm_2(length: int, switch: float, vocab_size: int, tie: Tie, exact: float) -> None:
    digits = len(str(exact)) - 2
    assert round(perfect_generator_accuracy(length, switch, tie, vocab_size), digits) == exact
    n = 100_000
    sequences = perfect_generator(n, length, switch, np.random.default_rng(0), tie, vocab_size)
    half = length // 2
    correct = (sequences < 2).all(axis=1) & (sequences[:, :half].sum(axis=1) == sequences[:, half:].sum(axis=1))
    assert correct.mean() == pytest.approx(exact, abs=5 * 0.5 / n**0.5)


def test_looking_ahead() -> None:
    assert look_ahead_accuracy(8, TWO, both_halves=False) == pytest.approx(0.82396, abs=5e-6)
    assert look_ahead_accuracy(8, TWO, both_halves=True) == pytest.approx(0.86496, abs=5e-6)
    for bound, limit in ((1.0, 0.8647), (1.5, 0.9502), (2.0, 0.9817), (3.0, 0.9975), (5.0, 0.99995)):
        assert 1 - exp(-2 * bound) == pytest.approx(limit, abs=5e-5)
        switch = least_switch_probability(2, bound)
        reached = [look_ahead_accuracy(length, switch, both_halves=True) for length in (8, 16, 32, 64)]
        assert min(reached) >= 1 - exp(-2 * bound) - 1e-9
    certainty = 1 - least_switch_probability(2, 1.0)
    assert certainty == pytest.approx(0.8808, abs=5e-5)


def test_looking_ahead_against_every_policy_of_a_tiny_case() -> None:
    """n = 2: the second symbol is wanted to equal the first; nothing but its own flip can go wrong."""
    assert look_ahead_accuracy(2, 0.1, both_halves=True) == pytest.approx(0.9)
    assert look_ahead_accuracy(2, 0.1, both_halves=False) == pytest.approx(0.9)


def test_the_bounded_match_is_the_nearest() -> None:
    """No other bounded policy gives real data more likelihood."""
    task = make_task("binary-sum", length=4)
    matching = bounded_match(task, 1.0)
    assert np.exp(bounded_match(make_task("binary-sum"), 1.0)).sum() == pytest.approx(0.8203, abs=5e-5)
    assert exact_jsd(bounded_match(make_task("binary-sum"), 1.0)) == pytest.approx(0.0678, abs=5e-5)
    formulae = task.enumerate()
    rng = np.random.default_rng(0)
    for _ in range(300):  # random bounded policies: a probability of 1 for each prefix
        ones = {prefix: rng.uniform(TWO, 1 - TWO) for t in range(4) for prefix in product((0, 1), repeat=t)}
        log_probs = [
            sum(np.log(ones[tuple(row[:t])] if row[t] else 1 - ones[tuple(row[:t])]) for t in range(4))
            for row in formulae.tolist()
        ]
        assert np.mean(log_probs) < matching.mean()


def test_conditional_entropies() -> None:
    task = make_task("binary-sum")
    expected = [1, 0.985, 0.965, 0.935, 0.885, 0.787, 0.571, 0]
    np.testing.assert_allclose(conditional_entropies(task), expected, atol=5e-4)
    np.testing.assert_allclose(forced_shares(task)[4:], [0.029, 0.143, 0.429, 1], atol=5e-4)
    for other in (task, make_task("signed-equation", length=7)):
        assert sum(conditional_entropies(other)) == pytest.approx(np.log2(count(other)))


def test_the_next_symbol() -> None:
    assert next_symbol(make_task("binary-sum"), "0110010").tolist() == [0, 1]
    assert next_symbol(make_task("signed-equation"), "1+0+1+1=0+1+1+").tolist() == [0, 1, 0, 0, 0]
    assert next_symbol(make_task("binary-sum"), "").tolist() == [0.5, 0.5]


def test_an_alternating_generator_has_the_thesis_accuracy_and_two_spikes() -> None:
    """Figs 6.3 and 6.4: about 60% correct, spikes at 01010101 and 10101010."""
    task = make_task("binary-sum", length=8)
    probs = np.exp(alternator(task, TWO))
    assert probs.sum() == pytest.approx(0.630468, abs=5e-7)
    spikes = {text: p for text, p in zip(task.decode(task.enumerate()), probs, strict=True) if p > 0.05}
    assert spikes == {text: pytest.approx(0.205637, abs=5e-7) for text in ("01010101", "10101010")}


def test_an_alternating_generator_by_sampling() -> None:
    """Beside draws of the Gumbel-max trick, from logits at ±1 against the last symbol."""
    rng, task, n = np.random.default_rng(0), make_task("binary-sum", length=8), 200_000
    rows = rng.integers(2, size=(n, 8))
    for t in range(1, 8):
        logits = np.where(np.arange(2) != rows[:, t - 1, None], 1.0, -1.0)
        rows[:, t] = np.argmax(logits + rng.gumbel(size=(n, 2)), axis=1)
    share = float(task.is_correct(rows).mean())
    assert share == pytest.approx(float(np.exp(alternator(task, TWO)).sum()), abs=4 * 0.5 / n**0.5)


@pytest.mark.parametrize("name", [name for name in ANALYSES if ANALYSES[name].startswith("formula_env.gan.")])
def test_analyses_are_deterministic_and_can_be_written(name: str) -> None:
    import json

    rows = analysis(name)(0)
    assert rows
    assert json.dumps(rows, allow_nan=False) == json.dumps(analysis(name)(0))
