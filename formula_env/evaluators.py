"""Evaluators: formulae, and their log-probabilities where known, to metrics. All evaluation goes through here.

For formulae made of symbols, metrics of the *distribution* (accuracy, JSD, novelty, NLL) are computed from the
generator's own probabilities of all correct formulae wherever those are known and can be listed; then they have no
sampling noise. Where the number of correct formulae is unknown, metrics that need it are left out.
Metrics of the *sample* (coverage, uniqueness, entropy) always come from the formulae given. Metrics of the
*discriminator* compare its logits to the density ratio, which is known wherever the generator's probabilities are.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from formula_env.algorithm import Batch, DensityRatio, LogProb
from formula_env.errors import FormulaError
from formula_env.networks.policy import UniformPolicy
from formula_env.sampling import log_prob, sample
from formula_env.tasks.base import BaseTask, ContinuousTask, SequenceTask, Vectors
from formula_env.vocabulary import Tokens, distinct_rows, row_keys

Metrics = dict[str, float | int | bool]

DISTRIBUTION_LIMIT = 20_000
"""Largest number of correct formulae for which there is a histogram."""

CHUNK = 2**14
"""Number of formulae whose probabilities are computed at once."""

NLL_SAMPLE = 10_000
"""Size of the task's sample of correct formulae that estimates the NLL where they are too many to list."""

FIRST_CORRECT = {"novel_1k": 1_000, "novel_10k": 10_000}
"""Numbers of correct formulae, first of a sample, among which new ones are counted, by metric."""

DRAWS = {"coverage_10k": 10_000, "coverage_1m": 1_000_000}
"""Numbers of draws of which the expected coverage is a metric."""

CONSTANT = 1e-9
"""Largest difference in nats between logits that counts as rounding."""

NLL_SEED = 2**64
"""Random seed of that sample: above all seeds that a run can have, so that it never repeats a training set."""


class Evaluator(Protocol):
    """What the training loop asks of an evaluator."""

    def __call__(
        self, batch: Any, log_prob: LogProb | None = None, density_ratio: DensityRatio | None = None
    ) -> Metrics:
        """The metrics of a sample; with `log_prob` of the generator it was drawn from, with `density_ratio` of the
        discriminator."""
        ...

    def random_sampler(self, n: int, seed: int) -> Metrics:
        """Metrics of the untrained baseline: n formulae drawn uniformly over legal symbols."""
        ...

    def describe(self, batch: Any) -> list[dict[str, Any]]:
        """For each formula of a sample its text, and whether it is correct and novel."""
        ...

    def histogram(self, batch: Any, log_prob: LogProb | None) -> list[dict[str, Any]]:
        """Each true formula: its text, probability (None where unknown), and how often the sample holds it.

        Empty where they can't be listed.
        """
        ...


def make_evaluator(task: BaseTask, training: Batch | None = None, validation: Batch | None = None) -> Evaluator:
    """The evaluator for this kind of task, which compares formulae with its training set.

    `validation` is the part of the training set that was not trained on. Raises FormulaError where there is no
    likelihood that it could validate.
    """
    if isinstance(task, ContinuousTask):
        if validation is not None and len(validation):
            raise FormulaError("data.validation: vectors have no likelihood to validate by; leave it out")
        return ContinuousEvaluator(task)
    assert isinstance(task, SequenceTask)
    return SequenceEvaluator(task, training, validation)


class SequenceEvaluator:
    """Evaluator of formulae made of symbols; calling it gives metrics, which `formula_env.metrics` defines.

    With probabilities of all correct formulae accuracy, JSD and novelty are exact. The discriminator's metrics
    compare its logit to the generator that it is trained against, which may be another one than the sample's; what
    is incorrect stays out, since its density ratio is 0 and its log none.

    What is infinite (`nll`, `kl`, `ratio_error`, if a correct formula has probability 0) or undefined is left out.
    """

    def __init__(
        self, task: SequenceTask, training: Tokens | None = None, validation: Tokens | None = None
    ) -> None:
        self.task, self._training_set, self._validation = task, training, validation
        self._training = np.unique(row_keys(training)) if training is not None else None

    @cached_property
    def correct_set(self) -> Tokens:
        """All correct formulae `(count, T)`, where they can be listed."""
        return self.task.enumerate()

    @cached_property
    def _novel(self) -> NDArray[np.bool_]:
        """`(count,)`: which correct formulae are not in the training set."""
        return self.is_novel(self.correct_set)

    def is_novel(self, tokens: Tokens) -> NDArray[np.bool_]:
        """`(n,)`: which correct formulae are not in the training set."""
        known = np.isin(row_keys(tokens), self._training) if self._training is not None else False
        return self.task.is_correct(tokens) & ~np.asarray(known)

    def __call__(
        self, batch: Tokens, log_prob: LogProb | None = None, density_ratio: DensityRatio | None = None
    ) -> Metrics:
        """Evaluate a sample `(n, T)`; with `log_prob` the generator it was drawn from, with `density_ratio` the
        discriminator. Raises FormulaError for what is no sample of this task."""
        _check_sample(batch, self.task.max_length, np.integer, "tokens")
        formulae, counts = distinct_formulae(batch)
        metrics = self._sample_metrics(formulae, counts) | self._first_novel(batch)
        if density_ratio is not None and self._lists_all:
            metrics |= calibration(*_ratio_in_chunks(density_ratio, self.correct_set))
        if log_prob is None:
            return metrics
        metrics |= _finite({"entropy": float(-(counts * in_chunks(log_prob, formulae)).sum() / len(batch))})
        if self._validation is not None and len(self._validation):
            metrics |= _finite({"validation_nll": float(-in_chunks(log_prob, self._validation).mean())})
        if self._lists_all:
            metrics.pop("jsd_floor", None)  # an exact divergence has none
            return metrics | self._exact_metrics(in_chunks(log_prob, self.correct_set))
        return metrics | self._estimates(log_prob)

    @cached_property
    def _lists_all(self) -> bool:
        """Whether the distribution that is to be learnt is uniform over correct formulae that can be listed."""
        return self.task.is_uniform and self.task.enumerable

    def random_sampler(self, n: int, seed: int) -> Metrics:
        """Uniform legal symbols."""
        policy, vocabulary = UniformPolicy(self.task), self.task.vocabulary
        tokens = sample(policy, vocabulary, self.task.max_length, n, torch.Generator().manual_seed(seed))
        return self(tokens.numpy(), lambda batch: log_prob(policy, vocabulary, torch.from_numpy(batch)).numpy())

    def describe(self, batch: Tokens) -> list[dict[str, Any]]:
        """For each formula of a sample its text, and whether it is correct and novel."""
        texts, correct, novel = self.task.decode(batch), self.task.is_correct(batch), self.is_novel(batch)
        columns = zip(texts, correct.tolist(), novel.tolist(), strict=True)
        return [{"formula": text, "correct": good, "novel": new} for text, good, new in columns]

    def histogram(self, batch: Tokens, log_prob: LogProb | None) -> list[dict[str, Any]]:
        """Text, probability (None if unknown) and count of each correct formula; empty if there are too many."""
        if not self._lists_all or len(self.correct_set) > DISTRIBUTION_LIMIT:
            return []
        unknown = [None] * len(self.correct_set)
        probs = unknown if log_prob is None else np.exp(in_chunks(log_prob, self.correct_set)).tolist()
        counts = Counter(self.task.decode(batch))
        texts = self.task.decode(self.correct_set)
        return [
            {"formula": text, "probability": p, "sampled": counts[text]}
            for text, p in zip(texts, probs, strict=True)
        ]

    def _sample_metrics(self, formulae: Tokens, counts: NDArray[np.int64]) -> Metrics:
        """Metrics of the sample, from its distinct formulae and their counts."""
        n, total = int(counts.sum()), self.task.count()
        correct, novel = self.task.is_correct(formulae), self.is_novel(formulae)
        num_correct = int(correct.sum())
        metrics: Metrics = {"accuracy": float(counts[correct].sum() / n)}
        if total is not None and self.task.is_uniform:
            metrics["jsd"] = sampled_jsd(counts[correct], n, total)
            metrics |= {"jsd_exact": False, "jsd_floor": jsd_floor(n, total)}
        if total is not None:
            metrics["coverage"] = num_correct / total
        metrics["num_correct"] = num_correct
        if total is not None:
            metrics["num_formulae"] = total
        metrics |= {
            "uniqueness": len(formulae) / n,
            "novelty": float(counts[novel].sum() / n),
            "num_samples": n,
        }
        if self._training is not None:
            metrics["memorised"] = float(counts[correct & ~novel].sum() / n)
        if (undecided := self.task.is_undecided(formulae[~correct])) is not None:
            metrics["undecided"] = float(counts[~correct][undecided].sum() / n)
        return metrics | self._canonical_metrics(formulae[correct], counts[correct] / n)

    def _canonical_metrics(self, correct: Tokens, shares: NDArray[np.float64]) -> Metrics:
        """Uniqueness and novelty of canonical forms, of a sample's distinct correct formulae and their shares."""
        if type(self.task).canonical is SequenceTask.canonical or not len(correct):
            return {}
        forms = self.task.canonical(self.task.decode(correct))
        metrics: Metrics = {"num_canonical": len(set(forms))}
        if self._canonical_training is not None:
            is_new = np.array([form not in self._canonical_training for form in forms])
            metrics["canonical_novelty"] = float(shares[is_new].sum())
        return metrics

    @cached_property
    def _canonical_training(self) -> set[str] | None:
        if self._training_set is None:
            return None
        return set(self.task.canonical(self.task.decode(self._training_set)))

    def _first_novel(self, batch: Tokens) -> Metrics:
        """How many new formulae are among the first correct ones of a sample."""
        if self._training is None:
            return {}
        correct = batch[self.task.is_correct(batch)]
        metrics: Metrics = {}
        for name, number in FIRST_CORRECT.items():
            if len(correct) >= number:
                first = distinct_formulae(correct[:number])[0]
                metrics[name] = int(self.is_novel(first).sum())
        return metrics

    def _estimates(self, log_prob: LogProb) -> Metrics:
        """Metrics of the distribution where not all correct formulae can be listed, from a sample of the task."""
        metrics = self._target_metrics(log_prob)
        correct = self.task.sample(NLL_SAMPLE, np.random.default_rng(NLL_SEED))
        log_probs = in_chunks(log_prob, correct)
        metrics |= _finite({"nll": float(-log_probs.mean())})
        held_out = self.task.held_out()
        if held_out is not None:
            log_probs = in_chunks(log_prob, held_out)
            metrics["held_out_mass"] = float(np.minimum(1.0, np.exp(log_probs).sum()))
        elif self._training is not None:
            log_probs = log_probs[self.is_novel(correct)]
        else:
            return metrics | expected_coverages(log_probs, self.task.count())
        if len(log_probs):
            metrics |= _finite({"held_out_nll": float(-log_probs.mean())})
            metrics |= expected_coverages(log_probs, self.task.count())
        return metrics

    def _target_metrics(self, log_prob: LogProb) -> Metrics:
        """The exact JSD where the distribution that is to be learnt can be listed, whether or not it is all."""
        target = self.task.target()
        if target is None:
            return {}
        return {"jsd": exact_jsd(in_chunks(log_prob, target[0]), target[1]), "jsd_exact": True}

    def _exact_metrics(self, log_probs: NDArray[np.float64]) -> Metrics:
        """Metrics of the distribution, from the log-probabilities `(count,)` of the correct set."""
        probs = np.exp(log_probs)
        nll = float(-log_probs.mean())
        return {
            "accuracy": float(np.minimum(1.0, probs.sum())),
            "jsd": exact_jsd(log_probs),
            "jsd_exact": True,
            **_finite({"nll": nll, "kl": max(0.0, nll - math.log(len(probs)))}),
            **variety(log_probs),
            **self._memory(probs),
            **expected_coverages(log_probs, len(log_probs)),
            **self._held_out_nll(log_probs),
        }

    def _held_out_nll(self, log_probs: NDArray[np.float64]) -> Metrics:
        if self._training is None or not self._novel.any():
            return {}
        return _finite({"held_out_nll": float(-log_probs[self._novel].mean())})

    def _memory(self, probs: NDArray[np.float64]) -> Metrics:
        """Shares of the generator's mass on correct formulae of the training set, and on others."""
        metrics: Metrics = {"novelty": float(np.minimum(1.0, probs[self._novel].sum()))}
        if self._training is None:
            return metrics
        metrics["memorised"] = float(np.minimum(1.0, probs[~self._novel].sum()))
        if self._novel.any():
            metrics["novel_coverage"] = float((probs[self._novel] >= 0.5 / len(probs)).mean())
        return metrics


class ContinuousEvaluator:
    """Evaluator of vectors; calling it gives metrics of the sample, which `formula_env.metrics` defines.

    What lies outside the grid is part of the JSD.
    """

    def __init__(self, task: ContinuousTask) -> None:
        self.task = task

    def __call__(
        self, batch: Vectors, log_prob: LogProb | None = None, density_ratio: DensityRatio | None = None
    ) -> Metrics:
        """Evaluate a sample `(n, d)`; raises FormulaError for what is none of this task."""
        _check_sample(batch, self.task.size, np.number, "numbers")
        n, total = len(batch), self.task.num_cells
        cells = self.task.cells(batch)
        counts = np.bincount(cells[cells >= 0], minlength=total)
        true = self.task.quantiles((np.arange(n) + 0.5) / n)
        free = np.sort(batch[:, : true.shape[1]], axis=0)
        return {
            "mse": float(np.square(self.task.error(batch)).mean()),
            "marginal_distance": float(np.abs(free - true).mean()),
            "jsd": sampled_jsd(counts[counts > 0], n, total),
            "jsd_exact": False,
            "jsd_floor": jsd_floor(n, total),
            "coverage": float((counts > 0).mean()),
            "num_cells": total,
            "integer_distance": float(np.abs(batch - np.round(batch)).mean()),
            "num_samples": n,
        }

    def random_sampler(self, n: int, seed: int) -> Metrics:
        """Metrics of the untrained baseline: n vectors, uniform over the range of each number."""
        return self(self.task.sample_box(n, np.random.default_rng(seed)))

    def describe(self, batch: Vectors) -> list[dict[str, Any]]:
        """For each vector its text and by how much its equation fails."""
        texts, errors = self.task.decode(batch), self.task.error(batch).tolist()
        return [{"formula": text, "error": round(error, 4)} for text, error in zip(texts, errors, strict=True)]

    def histogram(self, batch: Vectors, log_prob: LogProb | None) -> list[dict[str, Any]]:
        """An empty list: real vectors are not listed."""
        return []


def _check_sample(batch: Any, width: int, kind: type[np.generic], of_what: str) -> None:
    """Raise FormulaError for what is no array `(n, width)` of this kind, n ≥ 1."""
    is_array = isinstance(batch, np.ndarray) and batch.ndim == 2 and np.issubdtype(batch.dtype, kind)
    if not is_array or not len(batch) or batch.shape[1] != width:
        got = f"{batch.dtype} {batch.shape}" if isinstance(batch, np.ndarray) else type(batch).__name__
        raise FormulaError(f"a sample must be an array (n, {width}) of {of_what} with n at least 1, got {got}")


def exact_jsd(log_probs: NDArray[np.float64], target: NDArray[np.float64] | None = None) -> float:
    """JSD in nats from a target distribution, given the log-probabilities `(m,)` of exactly its formulae.

    The target has the probabilities `(m,)`; without them it is uniform. The mass elsewhere is met by nothing, so
    each share of it adds ½·log 2 (thesis eq. 7.4, whose reference is uniform over the correct sequences, not
    U(0, 1)).
    """
    probs = np.exp(log_probs)
    elsewhere = float(np.maximum(0.0, 1.0 - probs.sum()))
    reference = 1 / len(probs) if target is None else target
    return float(_jsd_terms(probs, reference).sum()) + elsewhere * math.log(2) / 2


def expected_coverage(log_probs: NDArray[np.float64], draws: float) -> float:
    """Mean of 1 - (1 - p)^K over formulae `(m,)`: the share of them that K draws reach on average, exactly."""
    return float(_reached(log_probs, draws).mean())


def _reached(log_probs: NDArray[np.float64], draws: float) -> NDArray[np.float64]:
    """The probability `(m,)` that K draws reach each formula."""
    with np.errstate(divide="ignore"):
        misses = np.log1p(-np.minimum(1.0, np.exp(log_probs)))
    return -np.expm1(draws * misses)


def ideal_coverage(draws: float, total: int) -> float:
    """Expected coverage of a uniform generator over `total` formulae, 1 - (1 - 1/N)^K, about 1 - exp(-K/N)."""
    return -math.expm1(draws * math.log1p(-1 / total)) if total > 1 else 1.0


@dataclass(frozen=True)
class CoveragePoint:
    """Expected coverage by one number of draws."""

    draws: float
    """Number of draws K."""
    coverage: float
    """Share of the formulae that K draws reach on average."""
    error: float
    """Standard error of `coverage` if the formulae are a uniform sample of all; nan for a single formula."""
    ideal: float | None
    """Coverage of a uniform generator; None where the number of formulae is not known."""

    @property
    def share(self) -> float | None:
        """Coverage as a share of the ideal."""
        return None if self.ideal is None else self.coverage / self.ideal


def coverage_curve(
    log_probs: NDArray[np.float64], draws: Sequence[float], total: int | None
) -> list[CoveragePoint]:
    """Expected coverage by each of these numbers of draws, computed without sampling from the generator.

    `log_probs` `(m,)`, in nats, are of all `total` formulae, or of m that are drawn uniformly from them.
    """
    points: list[CoveragePoint] = []
    for k in draws:
        reached = _reached(log_probs, k)
        error = float(reached.std(ddof=1)) / math.sqrt(len(reached)) if len(reached) > 1 else math.nan
        ideal = None if total is None else ideal_coverage(k, total)
        points.append(CoveragePoint(k, float(reached.mean()), error, ideal))
    return points


def expected_coverages(log_probs: NDArray[np.float64], total: int | None) -> Metrics:
    """The metrics of `DRAWS`; where the number of formulae is known, each as a share of the ideal, too, and the
    coverage by twice as many draws as there are formulae."""
    metrics: Metrics = {}
    points = coverage_curve(log_probs, list(DRAWS.values()), total)
    for name, point in zip(DRAWS, points, strict=True):
        metrics[name] = point.coverage
        if point.share is not None:
            metrics[f"{name}_share"] = point.share
    if total is not None:
        metrics["coverage_twice"] = coverage_curve(log_probs, [2 * total], total)[0].coverage
    return metrics


def variety(log_probs: NDArray[np.float64]) -> Metrics:
    """`reverse_kl` and `effective_number`, given the log-probabilities `(count,)` of the correct set.

    Empty where none of them is ever generated.
    """
    largest = log_probs.max()
    if largest == -math.inf:
        return {}
    weights = np.exp(log_probs - largest)  # the condition's own normaliser may be as small as it likes
    probs = weights[weights > 0] / weights.sum()
    entropy = min(float(-(probs * np.log(probs)).sum()), math.log(len(log_probs)))
    return {
        "reverse_kl": math.log(len(log_probs)) - entropy,
        "effective_number": min(math.exp(entropy), len(log_probs)),
    }


def calibration(logits: NDArray[np.float64], log_probs: NDArray[np.float64]) -> Metrics:
    """`ratio_error`, `ratio_correlation` and `calibration_error`, from the discriminator's logits and the
    generator's log-probabilities of the correct set, `(count,)` each."""
    ratio = -math.log(len(log_probs)) - log_probs  # log(u/π)
    weights = 1 / len(log_probs) + np.exp(log_probs)
    weights = weights / weights.sum()
    metrics: Metrics = {
        "ratio_error": math.sqrt(weights @ np.square(logits - ratio)),
        "calibration_error": float(weights @ np.abs(_sigmoid(logits) - _sigmoid(ratio))),
    }
    if np.isfinite(ratio).all() and min(np.ptp(logits), np.ptp(ratio)) > CONSTANT:
        one, two = logits - weights @ logits, ratio - weights @ ratio
        scale = math.sqrt((weights @ np.square(one)) * (weights @ np.square(two)))
        metrics["ratio_correlation"] = float(np.clip(weights @ (one * two) / scale, -1.0, 1.0))
    return _finite(metrics)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0.0, -x))


def _finite(metrics: Metrics) -> Metrics:
    """The finite ones among these metrics."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def sampled_jsd(counts: NDArray[np.int64], n: int, total: int) -> float:
    """JSD in nats of a sample of n from uniform over `total` correct formulae; `counts` of the distinct ones."""
    probs = counts / n
    unseen, elsewhere = 1 - len(counts) / total, 1 - float(probs.sum())
    return float(_jsd_terms(probs, 1 / total).sum()) + (unseen + elsewhere) * math.log(2) / 2


@cache
def jsd_floor(n: int, total: int) -> float:
    """Expected `sampled_jsd` in nats of a perfect generator: exact, from the binomial counts of one formula."""
    counts = np.arange(n + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_binomials = log_factorials[n] - log_factorials - log_factorials[::-1]
    other = math.log1p(-1 / total) if total > 1 else -math.inf
    with np.errstate(invalid="ignore"):
        log_misses = np.where(counts == n, 0.0, (n - counts) * other)
    chances = np.exp(log_binomials - counts * math.log(total) + log_misses)
    return float(total * (chances * _jsd_terms(counts / n, 1 / total)).sum())


def _jsd_terms(p: NDArray[np.float64], q: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """½·p·log(p/m) + ½·q·log(q/m) for each p, m = (p + q)/2; 0·log 0 = 0."""
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        p_term = np.where(p > 0, p * np.log(p / m), 0.0)
    return (p_term + q * np.log(q / m)) / 2


def in_chunks(log_prob: LogProb, tokens: Tokens) -> NDArray[np.float64]:
    """`log_prob(tokens)` with bounded memory."""
    parts = [log_prob(tokens[i : i + CHUNK]) for i in range(0, len(tokens), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _ratio_in_chunks(ratio: DensityRatio, tokens: Tokens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`ratio(tokens)` with bounded memory."""
    logits, log_probs = zip(*(ratio(tokens[i : i + CHUNK]) for i in range(0, len(tokens), CHUNK)), strict=True)
    return np.concatenate(logits), np.concatenate(log_probs)


def distinct_formulae(tokens: Tokens) -> tuple[Tokens, NDArray[np.int64]]:
    """The distinct ones `(m, T)` of formulae `(n, T)`, and how often each occurs `(m,)`."""
    first, index = distinct_rows(tokens)
    return tokens[first], np.bincount(index)
