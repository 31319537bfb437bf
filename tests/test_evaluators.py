from math import exp, log, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.evaluators import (
    ContinuousEvaluator,
    SequenceEvaluator,
    calibration,
    coverage_curve,
    distinct_formulae,
    exact_jsd,
    expected_coverage,
    ideal_coverage,
    jsd_floor,
    make_evaluator,
    sampled_jsd,
    variety,
)
from formula_env.tasks import make_task
from formula_env.tasks.base import BaseTask
from formula_env.tasks.integer_sum import IntegerSum
from formula_env.vocabulary import Tokens, row_keys

BINARY = make_task("binary-sum")
TINY = make_task("binary-sum", length=2)  # correct: 00 and 11


def test_hand_arithmetic_on_a_sample() -> None:
    """Four formulae of which 00 twice, 11 once, 01 once; only 11 is new."""
    evaluate = SequenceEvaluator(TINY, TINY.encode(["00", "00"]))
    metrics = evaluate(TINY.encode(["00", "11", "00", "01"]))
    assert metrics["accuracy"] == 3 / 4
    assert metrics["coverage"] == 1
    assert metrics["num_correct"] == 2
    assert metrics["uniqueness"] == 3 / 4
    assert metrics["novelty"] == 1 / 4
    assert metrics["memorised"] == 1 / 2
    assert metrics["jsd_exact"] is False
    # p = (1/2, 1/4, 1/4 elsewhere), q = (1/2, 1/2, 0), m = (1/2, 3/8, 1/8)
    p_term = 0 + 1 / 4 * log((1 / 4) / (3 / 8)) + 1 / 4 * log((1 / 4) / (1 / 8))
    q_term = 0 + 1 / 2 * log((1 / 2) / (3 / 8))
    assert metrics["jsd"] == pytest.approx((p_term + q_term) / 2)


@pytest.mark.parametrize("task", [BINARY, IntegerSum()], ids=["symbols", "numbers"])
@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda sample: sample[:0], r"\w+ \(0, .\)"),
        (lambda sample: sample[0], r"\w+ \(.,\)"),
        (lambda sample: sample[:, 1:], r"\w+ \(2, .\)"),
        (lambda sample: sample.astype(str), "<U.*"),
        (lambda sample: ["00000000"], "list"),
        (lambda sample: None, "NoneType"),
    ],
    ids=["empty", "one", "narrow", "text array", "text", "none"],
)
def test_what_is_no_sample_is_refused(task: BaseTask, change: Any, got: str) -> None:
    sample = task.sample(2, np.random.default_rng(0))
    message = rf"^a sample must be an array \(n, \d\) of (tokens|numbers) with n at least 1, got {got}$"
    with pytest.raises(FormulaError, match=message):
        make_evaluator(task)(change(sample))


def test_what_is_infinite_is_left_out() -> None:
    metrics = SequenceEvaluator(TINY)(
        TINY.encode(["00", "01"]), lambda tokens: np.where(tokens[:, 1], -np.inf, 0.0)
    )
    assert not {"entropy", "nll", "kl"} & set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


def test_hand_arithmetic_on_probabilities() -> None:
    probs = {"00": 0.5, "11": 0.2, "01": 0.2, "10": 0.1}
    evaluate = SequenceEvaluator(TINY, TINY.encode(["00"]))
    metrics = evaluate(
        TINY.encode(["00", "01"]), lambda tokens: np.log([probs[text] for text in TINY.decode(tokens)])
    )
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["novelty"] == pytest.approx(0.2)
    assert metrics["nll"] == pytest.approx(-(log(0.5) + log(0.2)) / 2)
    assert metrics["entropy"] == pytest.approx(-(log(0.5) + log(0.2)) / 2)
    assert metrics["coverage"] == 1 / 2
    assert metrics["jsd_exact"] is True
    assert "jsd_floor" not in metrics
    p, q, m = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.5, 0.5, 0, 0]), np.array([0.5, 0.35, 0.1, 0.05])
    kl = [np.sum(x[x > 0] * np.log(x[x > 0] / m[x > 0])) for x in (p, q)]
    assert metrics["jsd"] == pytest.approx(sum(kl) / 2)


def test_hand_arithmetic_on_what_the_probabilities_tell_of_variety() -> None:
    """Of four sequences 00 and 11 are correct, with 0.6 and 0.2; given that, 3/4 and 1/4. Only 11 is new."""
    probs = {"00": 0.6, "11": 0.2, "01": 0.15, "10": 0.05}
    evaluate = SequenceEvaluator(TINY, TINY.encode(["00"]))
    metrics = evaluate(TINY.encode(["00"]), lambda tokens: np.log([probs[t] for t in TINY.decode(tokens)]))
    assert metrics["kl"] == pytest.approx((log(0.5 / 0.6) + log(0.5 / 0.2)) / 2)
    assert metrics["reverse_kl"] == pytest.approx(3 / 4 * log(3 / 2) + 1 / 4 * log(1 / 2))
    assert metrics["effective_number"] == pytest.approx(exp(-(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4))))
    assert metrics["memorised"] == pytest.approx(0.6)
    assert metrics["novel_coverage"] == 0  # 0.2 is below half of 1/2
    assert metrics["memorised"] + metrics["novelty"] == pytest.approx(metrics["accuracy"])


def test_unseen_formulae_count_from_half_of_their_due_probability_on() -> None:
    """binary-sum 4 has 6 correct formulae; a third of them is known, and of the 4 others 3 have 1/12 or more."""
    task = make_task("binary-sum", length=4)
    known, unseen = task.enumerate()[:2], task.decode(task.enumerate()[2:])
    probs = dict(zip(unseen, (1 / 12 + 1e-9, 1 / 6, 1 / 4, 1 / 13), strict=True))
    log_prob = lambda tokens: np.log([probs.get(text, 1e-6) for text in task.decode(tokens)])  # noqa: E731
    assert SequenceEvaluator(task, known)(known, log_prob)["novel_coverage"] == 3 / 4
    assert "novel_coverage" not in SequenceEvaluator(task, task.enumerate())(known, log_prob)
    nothing_known = SequenceEvaluator(task)(known, log_prob)
    assert not {"novel_coverage", "memorised"} & set(nothing_known)


def test_extremes_of_variety() -> None:
    """Uniform and a single point, each also where next to no mass is correct."""
    for log_mass in (0.0, log(0.1), -2000.0):
        uniform = variety(np.full(70, log_mass - log(70)))
        assert uniform["effective_number"] == pytest.approx(70)
        assert uniform["effective_number"] <= 70
        assert uniform["reverse_kl"] == pytest.approx(0, abs=1e-9)
        point = variety(np.where(np.arange(70) == 3, log_mass, -np.inf))
        assert point == {"effective_number": pytest.approx(1), "reverse_kl": pytest.approx(log(70))}
    assert variety(np.full(70, -np.inf)) == {}


def test_a_perfect_generator_has_no_divergence_and_an_impossible_formula_no_finite_one() -> None:
    perfect = SequenceEvaluator(BINARY)(BINARY.enumerate(), lambda tokens: np.full(len(tokens), -log(70)))
    assert perfect["kl"] == pytest.approx(0, abs=1e-12)
    assert perfect["kl"] >= 0
    never_11 = SequenceEvaluator(TINY)(
        TINY.encode(["00"]), lambda tokens: np.where(tokens[:, 0] == 0, 0.0, -np.inf)
    )
    assert not {"nll", "kl"} & set(never_11)
    assert never_11["effective_number"] == 1
    assert all(np.isfinite(value) for value in never_11.values())


def test_hand_arithmetic_on_a_discriminator() -> None:
    """Two correct formulae, u = (1/2, 1/2), π = (1/4, 1/8): log(u/π) = log 2, log 4; weights 6 : 5."""
    logits = np.array([log(2) + 1, log(4) - 2])
    metrics = calibration(logits, np.log([1 / 4, 1 / 8]))
    assert metrics["ratio_error"] == pytest.approx(sqrt((6 * 1 + 5 * 4) / 11))
    sigmoids = [1 / (1 + exp(-x)) for x in logits]
    assert metrics["calibration_error"] == pytest.approx(
        (6 * abs(sigmoids[0] - 2 / 3) + 5 * abs(sigmoids[1] - 4 / 5)) / 11
    )
    assert metrics["ratio_correlation"] == pytest.approx(-1)  # the first logit is above the second one


def test_the_true_density_ratio_is_calibrated_and_a_shift_of_it_is_told() -> None:
    """The generator of the ratio is another one than that of the sample."""
    weights = np.random.default_rng(0).dirichlet(np.full(100, 0.5))[:70]  # the other 30 are the incorrect mass
    probs = dict(zip(BINARY.decode(BINARY.enumerate()), weights.tolist(), strict=True))

    def ratio(tokens: np.ndarray, shift: float = 0.0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        log_probs = np.log([probs[text] for text in BINARY.decode(tokens)])
        return scale * (-log(70) - log_probs) + shift, log_probs

    evaluate, batch = SequenceEvaluator(BINARY), BINARY.enumerate()
    perfect = evaluate(batch, None, ratio)
    assert perfect["ratio_error"] == pytest.approx(0, abs=1e-9)
    assert perfect["calibration_error"] == pytest.approx(0, abs=1e-9)
    assert perfect["ratio_correlation"] == pytest.approx(1)
    shifted = evaluate(batch, lambda tokens: np.full(len(tokens), -log(256)), lambda t: ratio(t, shift=-0.7))
    assert shifted["ratio_error"] == pytest.approx(0.7)
    assert shifted["ratio_correlation"] == pytest.approx(1)
    assert shifted["effective_number"] == pytest.approx(70)
    assert evaluate(batch, None, lambda t: ratio(t, scale=-2.0))["ratio_correlation"] == pytest.approx(-1)


def test_what_a_constant_or_an_infinite_ratio_leaves_undefined_is_left_out() -> None:
    varied, constant = np.linspace(-1, 1, 70), np.full(70, -log(70))
    assert "ratio_correlation" not in calibration(varied, constant)
    assert "ratio_correlation" not in calibration(constant, varied - 5)
    impossible = calibration(varied, np.where(np.arange(70) == 0, -np.inf, -log(69)))
    assert set(impossible) == {"calibration_error"}
    # u/(u + π) is 1 for what is never generated; its weight is half of what each of the others has of u alone
    others = np.abs(1 / (1 + np.exp(-varied[1:])) - 69 / 139)
    weights = np.append(1 / 70, np.full(69, 1 / 70 + 1 / 69)) / 2
    errors = np.append(1 - 1 / (1 + exp(1)), others)
    assert impossible["calibration_error"] == pytest.approx(weights @ errors / weights.sum())


def test_exact_jsd_needs_only_the_correct_set() -> None:
    """Against the definition over all 256 sequences, for a random distribution."""
    p = np.random.default_rng(0).dirichlet(np.full(256, 0.3))
    q = np.where(np.arange(256) < 70, 1 / 70, 0)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / m), 0) + np.where(q > 0, q * np.log(q / m), 0)
    assert exact_jsd(np.log(p[:70])) == pytest.approx(terms.sum() / 2)


def test_extremes_of_the_jsd() -> None:
    assert exact_jsd(np.full(70, -log(70))) == pytest.approx(0, abs=1e-12)
    assert exact_jsd(np.full(70, -np.inf)) == pytest.approx(log(2))
    assert exact_jsd(np.log(np.full(70, 0.97 / 70))) == pytest.approx(0.0105, abs=1e-4)  # spec: 3% incorrect
    assert sampled_jsd(np.array([], dtype=np.int64), 10, 70) == pytest.approx(log(2))


def test_the_sampling_floor() -> None:
    """Spec values, and a simulation of the perfect sampler that the formula stands for."""
    assert jsd_floor(10_000, 70) == pytest.approx(0.000864, abs=2e-6)
    assert jsd_floor(10_000, 12_870) == pytest.approx(0.2105, abs=2e-4)
    rng = np.random.default_rng(0)
    for n, total in ((10_000, 70), (500, 924)):
        runs = []
        for _ in range(200):
            counts = rng.multinomial(n, np.full(total, 1 / total))
            runs.append(sampled_jsd(counts[counts > 0], n, total))
        assert jsd_floor(n, total) == pytest.approx(np.mean(runs), abs=5 * np.std(runs) / np.sqrt(200))


def test_a_perfect_sampler_and_a_collapsed_one() -> None:
    evaluate = SequenceEvaluator(BINARY)
    perfect = evaluate(BINARY.sample(10_000, np.random.default_rng(0)))
    assert perfect["accuracy"] == perfect["coverage"] == perfect["novelty"] == 1
    assert perfect["jsd"] == pytest.approx(0.000864, abs=6 * 0.000146)
    collapsed = evaluate(np.zeros((10_000, 8), dtype=np.int64))
    assert collapsed["accuracy"] == 1
    assert collapsed["coverage"] == 1 / 70
    assert collapsed["uniqueness"] == 1 / 10_000
    assert collapsed["jsd"] > 0.6


def test_expected_coverage_is_what_sampling_reaches_on_average() -> None:
    """Within three standard errors of the mean of 400 samples, for a generator far from uniform."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(50, 0.3)) * 0.9  # a tenth of the mass is incorrect
    everything = np.append(probs, 0.1)
    for draws in (10, 100, 1000):
        reached = [len(set(rng.choice(51, draws, p=everything)) - {50}) / 50 for _ in range(400)]
        error = float(np.std(reached)) / 20
        assert abs(expected_coverage(np.log(probs), draws) - float(np.mean(reached))) < 3 * error


def test_a_curve_from_uniformly_drawn_formulae_is_what_sampling_reaches() -> None:
    """The estimate from 200 of 2,000 formulae against counting in real samples, within three standard errors."""
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.full(2_000, 0.5)) * 0.8  # a fifth of the mass is incorrect
    drawn = rng.integers(2_000, size=200)
    for point in coverage_curve(np.log(probs[drawn]), (100, 1_000, 10_000), 2_000):
        samples = (rng.choice(2_001, int(point.draws), p=np.append(probs, 0.2)) for _ in range(40))
        reached = [len(set(sample) - {2_000}) / 2_000 for sample in samples]
        error = float(np.hypot(point.error, np.std(reached, ddof=1) / np.sqrt(40)))
        assert abs(point.coverage - np.mean(reached)) < 3 * error
        assert point.error < 0.05
        assert point.ideal == pytest.approx(1 - np.exp(-point.draws / 2_000), abs=1e-3)
        assert point.share == pytest.approx(point.coverage / (1 - (1 - 1 / 2_000) ** point.draws))


def test_the_standard_error_of_a_curve_covers_the_truth_as_often_as_it_should() -> None:
    rng = np.random.default_rng(2)
    log_probs = np.log(rng.dirichlet(np.full(500, 0.5)))
    truth = expected_coverage(log_probs, 300)
    curves = [coverage_curve(log_probs[rng.integers(500, size=100)], (300,), None)[0] for _ in range(400)]
    within = np.mean([abs(point.coverage - truth) < 1.96 * point.error for point in curves])
    assert 0.91 < within < 0.98
    assert all(point.ideal is None and point.share is None for point in curves)


def test_twice_as_many_draws_as_there_are_formulae_reach_86_percent_of_them() -> None:
    task = make_task("binary-sum", length=8)
    evaluate = make_evaluator(task)

    def coverage(share: float) -> float:
        """Of a generator that is uniform over this share of the 70 formulae."""
        reached = round(70 * share)
        log_probs = np.where(np.arange(70) < reached, -log(reached), -np.inf)
        return float(evaluate(task.enumerate(), lambda tokens: log_probs[: len(tokens)])["coverage_twice"])

    assert coverage(1.0) == pytest.approx(1 - (69 / 70) ** 140, rel=1e-9)
    assert coverage(0.5) == pytest.approx((1 - (34 / 35) ** 140) / 2, rel=1e-9)


def test_a_uniform_generator_has_the_ideal_coverage() -> None:
    for total in (1, 2, 70, 12_870):
        for draws in (1, 100, 10**4, 10**6):
            uniform = expected_coverage(np.full(total, -log(total)), draws)
            assert uniform == pytest.approx(ideal_coverage(draws, total), rel=1e-9)
    assert ideal_coverage(2 * 10**9, 10**9) == pytest.approx(1 - np.exp(-2), rel=1e-6)
    assert expected_coverage(np.log([0.25, 0.5]), 2) == pytest.approx((1 - 0.75**2 + 1 - 0.5**2) / 2)


def test_new_formulae_are_counted_among_the_first_correct_ones() -> None:
    known, new = BINARY.enumerate()[:40], BINARY.enumerate()[40:]
    wrong = np.tile(BINARY.encode(["00000001"]), (500, 1))
    first = np.concatenate([wrong, np.tile(known, (24, 1)), np.tile(new[:10], (4, 1))])  # 500 wrong, 1,000 correct
    metrics = SequenceEvaluator(BINARY, known)(np.concatenate([first, np.tile(new, (10, 1))]))
    assert metrics["novel_1k"] == 10
    assert "novel_10k" not in metrics
    assert "novel_1k" not in SequenceEvaluator(BINARY)(first)


def test_the_held_out_nll_is_that_of_the_unseen_formulae() -> None:
    known, new = BINARY.enumerate()[:40], BINARY.enumerate()[40:]
    is_known = {row.tobytes() for row in known}
    log_prob = lambda tokens: np.array([-3.0 if row.tobytes() in is_known else -5.0 for row in tokens])  # noqa: E731
    metrics = SequenceEvaluator(BINARY, known)(new, log_prob)
    assert metrics["held_out_nll"] == pytest.approx(5)
    assert metrics["nll"] == pytest.approx((40 * 3 + 30 * 5) / 70)
    assert "held_out_nll" not in SequenceEvaluator(BINARY)(new, log_prob)


def test_the_divergence_from_a_target_that_is_not_uniform() -> None:
    target, generated = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.1])
    middle = (target + generated) / 2
    by_hand = (target * np.log(target / middle)).sum() / 2 + (generated * np.log(generated / middle)).sum() / 2
    assert exact_jsd(np.log(generated), target) == pytest.approx(by_hand + 0.4 * log(2) / 2)
    assert exact_jsd(np.log(target), target) == pytest.approx(0, abs=1e-12)


def test_what_is_too_large_to_list_gets_a_sampled_jsd_with_its_floor() -> None:
    task = make_task("binary-sum", length=32)
    metrics = SequenceEvaluator(task)(
        task.sample(10_000, np.random.default_rng(0)), lambda tokens: np.full(len(tokens), -log(601_080_390))
    )
    assert metrics["jsd_exact"] is False
    assert metrics["jsd"] == pytest.approx(metrics["jsd_floor"], abs=1e-4)
    assert metrics["nll"] == metrics["entropy"] == pytest.approx(log(601_080_390))
    assert metrics["accuracy"] == 1


def test_equal_rows_are_recognised_whatever_their_last_symbols() -> None:
    """Rows that end in id 0 must not be mistaken for shorter ones."""
    rows = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [1, 0]])
    assert SequenceEvaluator(TINY)(rows)["uniqueness"] == 4 / 5
    formulae, counts = distinct_formulae(np.array([[0], [256], [1], [256]]))
    assert dict(zip(formulae[:, 0].tolist(), counts.tolist(), strict=True)) == {0: 1, 1: 1, 256: 2}


def test_hand_arithmetic_on_vectors() -> None:
    """a, b in {0, 1}: four cells. Errors 0, .5, 0, -1; the last vector lies outside all cells."""
    judge = make_evaluator(IntegerSum(largest=1))
    vectors = np.array([[0.0, 0.0, 0.0], [1.25, 0.0, 0.75], [0.0, 1.0, 1.0], [2.0, 0.0, 3.0]])
    metrics = judge(vectors)
    assert metrics["mse"] == pytest.approx((0.25 + 1) / 4)
    # sorted a: 0 0 1.25 2 against 0 0 1 1; sorted b: 0 0 0 1 against 0 0 1 1
    assert metrics["marginal_distance"] == pytest.approx((1.25 + 1) / 8)
    assert metrics["coverage"] == 3 / 4
    assert metrics["num_cells"] == 4
    assert metrics["integer_distance"] == pytest.approx((0.25 + 0.25) / 12)
    assert metrics["jsd"] == pytest.approx(log(2) / 4)  # one quarter of either side is met by nothing
    assert metrics["jsd_exact"] is False


@pytest.mark.parametrize("task", [IntegerSum(), IntegerSum(real=True)], ids=str)
def test_true_vectors_and_random_ones(task: IntegerSum) -> None:
    judge = ContinuousEvaluator(task)
    true = judge(task.sample(10_000, np.random.default_rng(0)))
    assert true["mse"] == 0
    assert true["coverage"] == 1
    assert true["jsd"] == pytest.approx(true["jsd_floor"], rel=0.6)
    assert true["marginal_distance"] < 0.1
    assert true["integer_distance"] == pytest.approx(0.25 if task.real else 0, abs=0.01)
    random = judge.random_sampler(10_000, seed=0)
    assert random["mse"] == pytest.approx(50, rel=0.1)  # Var(a) + Var(b) + Var(c) = (100 + 100 + 400)/12
    collapsed = judge(np.tile([[3.0, 4.0, 7.0]], (1_000, 1)))
    assert collapsed["mse"] == 0
    assert collapsed["jsd"] > 0.6
    assert collapsed["coverage"] == 1 / task.num_cells


def test_what_judges_say_of_single_formulae() -> None:
    judge = SequenceEvaluator(TINY, TINY.encode(["00"]))
    told = judge.describe(TINY.encode(["00", "11", "01"]))
    assert [tuple(row.values()) for row in told] == [("00", True, False), ("11", True, True), ("01", False, False)]
    bars = judge.histogram(TINY.encode(["00", "00", "01"]), None)
    assert bars == [
        {"formula": "00", "probability": None, "sampled": 2},
        {"formula": "11", "probability": None, "sampled": 0},
    ]
    vectors = ContinuousEvaluator(IntegerSum())
    assert vectors.describe(np.array([[1.0, 2.0, 2.5]])) == [{"formula": "1.000 2.000 2.500", "error": 0.5}]
    assert vectors.histogram(np.zeros((1, 3)), None) == []


def test_the_nll_of_what_cannot_be_listed_is_not_that_of_a_training_set() -> None:
    task = make_task("binary-sum", length=32)
    judged: list[Tokens] = []

    def log_prob(tokens: Tokens) -> NDArray[np.float64]:
        judged.append(tokens)
        return np.zeros(len(tokens))

    SequenceEvaluator(task)(task.sample(10, np.random.default_rng(1)), log_prob)
    sample = np.unique(row_keys(judged[-1]))
    assert len(sample) > 9_900
    for seed in (0, 1):
        for training in (
            task.sample(10_000, np.random.default_rng(seed)),
            task.split(10_000, seed, held_out=0)[0],
        ):
            assert len(np.intersect1d(sample, row_keys(training))) < 100
