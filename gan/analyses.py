"""Analyses of the Gumbel sampler, without training anything (thesis chapters 3, 6 and 8).

Each analysis at the end, `…_rows`, returns rows for a study; its name is in `ANALYSES` of
`formula_env.experiment.registry`.
"""

import math
from itertools import product
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from formula_env.evaluators import exact_jsd
from formula_env.gan.gumbel_softmax import gumbel_softmax
from formula_env.tasks import SequenceTask, make_task
from formula_env.vocabulary import distinct_rows

Row = dict[str, Any]

# --- the sampler ----------------------------------------------------------------------------------------------


def switch_probability(logits: Tensor) -> float:
    """P_s = 1 - max softmax(logits `(V,)`): how often the sampler's choice is not the largest logit (eq. 6.12).

    The thesis' eqs. 6.10 and 6.11 say "≠" on the left and mean "="; 6.12 is right.
    """
    return 1 - float(torch.softmax(logits.double(), dim=0).max())


def least_switch_probability(vocab_size: int, bound: float) -> float:
    """inf P_s over logits in [-c, c]: (K-1)/(K-1+e^{2c}), at one logit c and all others -c (Lemma 5)."""
    others = vocab_size - 1
    return others / (others + math.exp(2 * bound))


# --- the perfect generator ------------------------------------------------------------------------------------

Tie = Literal["emit 0", "leave 0"]
"""Algorithm 2 does not say what happens where both halves' sums are equal. "emit 0": 0 is what is wanted, and the
sampler may flip it, like any other symbol; only this gives the thesis' figures. "leave 0": its literal text, by
which the 0 that the sequence was filled with stays, safe from the sampler."""


def perfect_generator_accuracy(length: int, switch: float, tie: Tie = "emit 0", vocab_size: int = 2) -> float:
    """Share of correct sequences from the thesis' Algorithm 2, exact, over (symbols left, sum still missing).

    With more than the two digits in the vocabulary, a switch leads to each of the other symbols alike; anything
    but a digit makes the sequence incorrect.
    """
    half = length // 2
    slip = switch / (vocab_size - 1)  # to the other digit
    missing = np.arange(-half, half + 1)  # what the second half's sum still lacks
    value = (missing == 0).astype(np.float64)
    for _ in range(half):
        after_one = np.concatenate([[0.0], value[:-1]])
        one_wanted = (1 - switch) * after_one + slip * value
        zero_wanted = (1 - switch) * value + slip * after_one
        at_tie = value if tie == "leave 0" else zero_wanted
        value = np.where(missing > 0, one_wanted, np.where(missing < 0, zero_wanted, at_tie))
    return float(_first_half_weights(half) @ value[half:])


def perfect_generator(
    n: int, length: int, switch: float, rng: np.random.Generator, tie: Tie = "emit 0", vocab_size: int = 2
) -> NDArray[np.int64]:
    """n sequences `(n, length)` from Algorithm 2; symbols from 2 on are the ones that are no digits."""
    half = length // 2
    sequences = np.zeros((n, length), dtype=np.int64)
    sequences[:, :half] = rng.integers(2, size=(n, half))
    for t in range(half, length):
        missing = sequences[:, :half].sum(axis=1) - sequences[:, half:t].sum(axis=1)
        wanted = (missing > 0).astype(np.int64)
        switched = rng.random(n) < switch
        if tie == "leave 0":
            switched &= missing != 0
        shift = rng.integers(1, vocab_size, size=n)
        sequences[:, t] = np.where(switched, (wanted + shift) % vocab_size, wanted)
    return sequences


def look_ahead_accuracy(length: int, switch: float, both_halves: bool) -> float:
    """The most that any controller can reach whose every symbol is flipped with probability `switch`.

    Bellman's equation over (symbols left, difference of the halves): V = (1 - P_s)·max + P_s·min over the symbols.
    The first half is random, or controlled as well.
    """
    half = length // 2
    value = (np.arange(-half, half + 1) == 0).astype(np.float64)
    for _ in range(half):
        value = _control(value, np.concatenate([[0.0], value[:-1]]), switch)
    for _ in range(half):
        after_one = np.concatenate([value[1:], [0.0]])
        value = _control(value, after_one, switch) if both_halves else (value + after_one) / 2
    return float(value[half])


def _control(zero: NDArray[np.float64], one: NDArray[np.float64], switch: float) -> NDArray[np.float64]:
    return (1 - switch) * np.maximum(zero, one) + switch * np.minimum(zero, one)


def _first_half_weights(half: int) -> NDArray[np.float64]:
    return np.array([math.comb(half, ones) for ones in range(half + 1)]) / 2**half


def bounded_match(task: SequenceTask, bound: float) -> NDArray[np.float64]:
    """Log-probabilities `(count,)` of the correct formulae under the bounded policy nearest to the truth.

    With logits in [-c, c] and two symbols, a conditional probability lies in [P_s, 1 - P_s]; the policy of least
    KL(truth ‖ policy), which is what maximum likelihood finds, clips each true conditional to that.
    """
    formulae = task.enumerate()
    log_probs = np.zeros(len(formulae))
    least = least_switch_probability(2, bound)
    for t in range(task.max_length):
        share = _next_shares(formulae, t)
        log_probs += np.log(np.clip(share, least, 1 - least))
    return log_probs


def alternator(task: SequenceTask, switch: float) -> NDArray[np.float64]:
    """Log-probabilities `(count,)` of the correct formulae under a generator that alternates between two symbols.

    Each symbol wants to be another than the one before it, and the sampler flips it with probability `switch`. So
    do logits within ±c that are at their bounds, against the generator's own last symbol.
    """
    formulae = task.enumerate()
    num_changes = (formulae[:, 1:] != formulae[:, :-1]).sum(axis=1)
    num_repeats = formulae.shape[1] - 1 - num_changes
    return math.log(0.5) + num_changes * math.log1p(-switch) + num_repeats * math.log(switch)


# --- how spiky formulae are -----------------------------------------------------------------------------------


def _next_shares(formulae: NDArray[np.int64], t: int) -> NDArray[np.float64]:
    """p(y_t | y_<t) `(n,)` of each of all correct formulae `(n, T)`, these being uniform."""
    counts = [np.bincount(index)[index] for _, index in (distinct_rows(formulae[:, :k]) for k in (t, t + 1))]
    return counts[1] / counts[0]


def conditional_entropies(task: SequenceTask) -> list[float]:
    """H(y_t | y_<t) in bits at every position, formulae being uniform over the correct ones (thesis Lemma 2)."""
    formulae = task.enumerate()
    return [float(-np.log2(_next_shares(formulae, t)).mean()) for t in range(task.max_length)]


def forced_shares(task: SequenceTask) -> list[float]:
    """At every position, how often only one symbol is possible."""
    formulae = task.enumerate()
    return [float((_next_shares(formulae, t) == 1).mean()) for t in range(task.max_length)]


def next_symbol(task: SequenceTask, prefix: str) -> NDArray[np.float64]:
    """The true distribution `(V,)` of the symbol after a prefix."""
    formulae = task.enumerate()
    start = task.vocabulary.encode(prefix, len(prefix))
    following = formulae[(formulae[:, : len(start)] == start).all(axis=1), len(start)]
    return np.bincount(following, minlength=task.vocabulary.size) / len(following)


# --- rows for studies -----------------------------------------------------------------------------------------

TEMPERATURES = (0.1, 0.5, 1.0, 10.0)
EXAMPLE = (0.1, 0.15, 0.5, 0.2, 0.05)
"""A categorical distribution to look at."""


def gumbel_softmax_rows(seed: int) -> list[Row]:
    """Fig 6.1: mean and samples of the Gumbel-softmax distribution over temperature, and the exact categorical."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.tensor(EXAMPLE).log()
    rows: list[Row] = [{"kind": "categorical", "mean": list(EXAMPLE)}]
    for temperature in TEMPERATURES:
        samples = gumbel_softmax(logits.expand(400_000, -1), temperature, rng)
        mean = samples.mean(dim=0)
        largest = torch.bincount(samples.argmax(dim=1), minlength=len(EXAMPLE)) / len(samples)
        rows.append(
            {
                "kind": "gumbel-softmax",
                "temperature": temperature,
                "mean": mean.tolist(),
                "mean_from_categorical": float((mean - torch.tensor(EXAMPLE)).abs().max()),
                "mean_from_uniform": float((mean - 1 / len(EXAMPLE)).abs().max()),
                "argmax": largest.tolist(),
                "largest_entry": float(samples.max(dim=1).values.mean()),
                "samples": samples[:4].tolist(),
            }
        )
    return rows


def switch_probability_rows(seed: int) -> list[Row]:
    """eqs. 6.13 and 6.14 and Lemma 5: the least P_s of bounded logits, exact and by sampling."""
    rng = torch.Generator().manual_seed(seed)
    rows: list[Row] = []
    for vocab_size, bound in ((2, 1.0), (4, 1.0), (2, 10.0)):
        logits = torch.full((vocab_size,), -bound)
        logits[0] = bound
        samples = gumbel_softmax(logits.expand(1_000_000, -1), 1.0, rng)
        moved = float((samples.argmax(dim=1) != 0).double().mean())
        exact = switch_probability(logits)
        rows.append({"vocab_size": vocab_size, "bound": bound, "exact": exact, "sampled": moved})
    return rows


def perfect_generator_rows(seed: int) -> list[Row]:
    """Algorithm 2: exact and by sampling, for each reading of what it leaves open."""
    rng = np.random.default_rng(seed)
    readings: tuple[Tie, ...] = ("emit 0", "leave 0")
    two, four = least_switch_probability(2, 1.0), least_switch_probability(4, 1.0)
    cases = [(8, two, 2), (16, two, 2), (8, four, 2), (8, four, 4)]
    rows: list[Row] = []
    for (length, switch, vocab_size), tie in product(cases, readings):
        sequences = perfect_generator(1_000_000, length, switch, rng, tie, vocab_size)
        digits = (sequences < 2).all(axis=1)
        equal = sequences[:, : length // 2].sum(axis=1) == sequences[:, length // 2 :].sum(axis=1)
        exact = perfect_generator_accuracy(length, switch, tie, vocab_size)
        rows.append(
            {
                "length": length,
                "switch": switch,
                "vocab_size": vocab_size,
                "tie": tie,
                "exact": exact,
                "sampled": float((digits & equal).mean()),
            }
        )
    return rows


def bound_rows(seed: int) -> list[Row]:
    """Best possible with logits bounded to ±c: by looking ahead, and while matching the distribution."""
    del seed  # nothing is drawn
    task = make_task("binary-sum", length=8)
    rows: list[Row] = []
    for bound in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0):
        switch = least_switch_probability(2, bound)
        matching = bounded_match(task, bound)
        rows.append(
            {
                "bound": bound,
                "certainty": 1 - switch,
                "random_first_half": look_ahead_accuracy(8, switch, both_halves=False),
                "both_halves": look_ahead_accuracy(8, switch, both_halves=True),
                "least_to_length_64": min(
                    look_ahead_accuracy(n, switch, both_halves=True) for n in range(2, 65, 2)
                ),
                "floor_of_any_length": 1 - math.exp(-2 * bound),
                "myopic": perfect_generator_accuracy(8, switch),
                "matching": float(np.exp(matching).sum()),
                "matching_jsd": exact_jsd(matching),
            }
        )
    return rows


def alternator_rows(seed: int) -> list[Row]:
    """Figs 6.3 and 6.4: correct share and spikes of a generator that alternates as far as bounded logits allow."""
    del seed  # nothing is drawn
    rows: list[Row] = []
    for length, bound in product((8, 16), (1.0, 2.0, 3.0)):
        log_probs = alternator(make_task("binary-sum", length=length), least_switch_probability(2, bound))
        rows.append(
            {
                "length": length,
                "bound": bound,
                "accuracy": float(np.exp(log_probs).sum()),
                "spike": float(np.exp(log_probs.max())),
                "jsd": exact_jsd(log_probs),
            }
        )
    return rows


def conditional_rows(seed: int) -> list[Row]:
    """Figs 3.3 and 8.1: how spiky the next symbol's true distribution is, beside a simulated smooth one."""
    rng = np.random.default_rng(seed)
    tasks = {
        "binary-sum 8": make_task("binary-sum", length=8),
        "signed-equation 15": make_task("signed-equation", length=15),
    }
    rows: list[Row] = [
        {
            "kind": "entropy",
            "task": name,
            "bits": conditional_entropies(task),
            "forced": forced_shares(task),
            "mean_bits": fmean(conditional_entropies(task)),
            "mean_forced": fmean(forced_shares(task)),
        }
        for name, task in tasks.items()
    ]
    for name, prefix in (("binary-sum 8", "0110 01"), ("signed-equation 15", "1+0+1+1=0+1+1+")):
        task = tasks[name]
        rows.append(
            {
                "kind": "next",
                "task": name,
                "prefix": prefix,
                "symbols": list(task.vocabulary.symbols),
                "probabilities": next_symbol(task, prefix.replace(" ", "")).tolist(),
            }
        )
    words = ["calm", "blue", "green", "deep", "cold", "wide", "rough", "old"]
    smooth = np.sort(np.exp(0.5 * rng.standard_normal(len(words))))[::-1]
    rows.append(
        {
            "kind": "next",
            "task": "language (simulated)",
            "prefix": "the sea is",
            "symbols": words,
            "probabilities": (smooth / smooth.sum()).tolist(),
        }
    )
    return rows


def sampling_rows(seed: int) -> list[Row]:
    """Fig 8.1: a draw of the Gumbel-max trick that leaves the largest logit, on a smooth and a spiky distribution.

    `moved` and `wrong` are exact: how often a draw leaves the largest logit, and ends at an unacceptable symbol.
    """
    rng = np.random.default_rng(seed)
    cases = (
        (
            "language (simulated)",
            ["calm", "blue", "green", "deep", "loud", "three"],
            (1.0, 0.8, 0.7, 0.5, -0.6, -1.0),
            4,
        ),
        ("formula 1+2=", ["3", "1", "2", "6", "+", "="], (1.0, -1.0, -1.0, -1.0, -1.0, -1.0), 1),
    )
    rows: list[Row] = []
    for name, symbols, logits, num_acceptable in cases:
        probs = np.exp(logits) / np.exp(logits).sum()
        noise = rng.gumbel(size=len(logits))
        while np.argmax(np.add(logits, noise)) == 0:
            noise = rng.gumbel(size=len(logits))
        rows.append(
            {
                "name": name,
                "symbols": symbols,
                "logits": list(logits),
                "acceptable": [i < num_acceptable for i in range(len(logits))],
                "noise": noise.tolist(),
                "moved": float(1 - probs[0]),
                "wrong": float(probs[num_acceptable:].sum()),
            }
        )
    return rows
