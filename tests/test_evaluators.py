from math import log

import numpy as np
import pytest

from formula_env.evaluators import (
    Evaluator,
    VectorEvaluator,
    distinct_formulae,
    exact_jsd,
    jsd_floor,
    make_evaluator,
    sampled_jsd,
)
from formula_env.tasks import make_task
from formula_env.tasks.integer_sum import IntegerSum

BINARY = make_task("binary-sum")
TINY = make_task("binary-sum", length=2)  # correct: 00 and 11


def test_hand_arithmetic_on_a_sample() -> None:
    """Four formulae of which 00 twice, 11 once, 01 once; only 11 is new."""
    evaluate = Evaluator(TINY, TINY.encode(["00", "00"]))
    metrics = evaluate(TINY.encode(["00", "11", "00", "01"]))
    assert metrics["accuracy"] == 3 / 4
    assert metrics["coverage"] == 1
    assert metrics["num_correct"] == 2
    assert metrics["uniqueness"] == 3 / 4
    assert metrics["novelty"] == 1 / 4
    assert metrics["jsd_exact"] is False
    # p = (1/2, 1/4, 1/4 elsewhere), q = (1/2, 1/2, 0), m = (1/2, 3/8, 1/8)
    p_term = 0 + 1 / 4 * log((1 / 4) / (3 / 8)) + 1 / 4 * log((1 / 4) / (1 / 8))
    q_term = 0 + 1 / 2 * log((1 / 2) / (3 / 8))
    assert metrics["jsd"] == pytest.approx((p_term + q_term) / 2)


def test_hand_arithmetic_on_probabilities() -> None:
    probs = {"00": 0.5, "11": 0.2, "01": 0.2, "10": 0.1}
    evaluate = Evaluator(TINY, TINY.encode(["00"]))
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
    assert exact_jsd(np.log(np.full(70, 0.97 / 70))) == pytest.approx(0.0105, abs=1e-4)  # spec: 3 % incorrect
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
    evaluate = Evaluator(BINARY)
    perfect = evaluate(BINARY.sample(10_000, np.random.default_rng(0)))
    assert perfect["accuracy"] == perfect["coverage"] == perfect["novelty"] == 1
    assert perfect["jsd"] == pytest.approx(0.000864, abs=6 * 0.000146)
    collapsed = evaluate(np.zeros((10_000, 8), dtype=np.int64))
    assert collapsed["accuracy"] == 1
    assert collapsed["coverage"] == 1 / 70
    assert collapsed["uniqueness"] == 1 / 10_000
    assert collapsed["jsd"] > 0.6


def test_what_is_too_large_to_list_gets_a_sampled_jsd_with_its_floor() -> None:
    task = make_task("binary-sum", length=32)
    metrics = Evaluator(task)(
        task.sample(10_000, np.random.default_rng(0)), lambda tokens: np.full(len(tokens), -log(task.count()))
    )
    assert metrics["jsd_exact"] is False
    assert metrics["jsd"] == pytest.approx(metrics["jsd_floor"], abs=1e-4)
    assert metrics["nll"] == metrics["entropy"] == pytest.approx(log(601_080_390))
    assert metrics["accuracy"] == 1


def test_equal_rows_are_recognised_whatever_their_last_symbols() -> None:
    """Rows that end in id 0 must not be mistaken for shorter ones."""
    rows = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [1, 0]])
    assert Evaluator(TINY)(rows)["uniqueness"] == 4 / 5
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
    judge = VectorEvaluator(task)
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
    judge = Evaluator(TINY, TINY.encode(["00"]))
    told = judge.describe(TINY.encode(["00", "11", "01"]))
    assert [tuple(row.values()) for row in told] == [("00", True, False), ("11", True, True), ("01", False, False)]
    bars = judge.histogram(TINY.encode(["00", "00", "01"]), None)
    assert bars == [
        {"formula": "00", "probability": None, "sampled": 2},
        {"formula": "11", "probability": None, "sampled": 0},
    ]
    vectors = VectorEvaluator(IntegerSum())
    assert vectors.describe(np.array([[1.0, 2.0, 2.5]])) == [{"formula": "1.000 2.000 2.500", "error": 0.5}]
    assert vectors.histogram(np.zeros((1, 3)), None) == []
