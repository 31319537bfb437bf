"""Scores of formulae of any origin: validity, correctness, variety, novelty, coverage."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.evaluators import ideal_coverage
from formula_env.tasks.base import SequenceTask

BATCH: Final = 2**16
"""Formulae that are checked at once at most."""

MAX_LEGAL: Final = 2**24
"""Entries of their masks at most."""

Z: Final = 1.959963984540054
"""Half the width, in standard deviations, of the middle 95 % of a normal distribution."""


@dataclass(frozen=True)
class Share:
    """A share of formulae, with its 95 % interval (Wilson's) for the source that they were drawn from."""

    number: int
    of: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class LengthScore:
    """The formulae of one length."""

    length: int
    """Number of symbols, EOS not counted."""
    valid: Share
    correct: Share


@dataclass(frozen=True)
class Score:
    """Result of `score`; entries that can't be known are None."""

    num: int
    """Number of formulae."""
    valid: Share
    """Well-formed: made of the task's symbols, each of them legal under its masks, and complete."""
    correct: Share
    """Correct by the task's verdict."""
    undecided: Share | None
    """The checker can't decide, so they are not correct; only for checkers that leave some undecided."""
    novel: Share | None
    """Correct and not in the training set; only with a training set."""
    canonical_novel: Share | None
    """Correct, and in canonical form not in the training set's canonical forms; only with canonical forms."""
    unique_1k: float | None
    """Share of different formulae among the first 1,000 correct ones; only with as many."""
    unique_10k: float | None
    """Share of different formulae among the first 10,000 correct ones; only with as many."""
    distinct: int
    """Number of different correct formulae."""
    distinct_novel: int | None
    """Number of different correct formulae that are not in the training set."""
    distinct_canonical: int | None
    """Number of different canonical forms of the correct formulae."""
    skeletons: int | None
    """Number of different skeletons, canonical forms without their numbers, of the correct formulae."""
    count: int | None
    """Number of correct formulae there are."""
    coverage: float | None
    """Share of all correct formulae that is among these."""
    ideal_coverage: float | None
    """Coverage that as many independent, uniform draws from the correct formulae have on average."""
    lengths: list[LengthScore]
    """Formulae by length, those left out that are not made of the task's symbols or are too long."""

    def to_dict(self) -> dict[str, Any]:
        """The score as plain values, without what isn't known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def score(formulae: Iterable[str], task: SequenceTask, training: Iterable[str] | None = None) -> Score:
    """Score formulae of any origin by a task's grammar and verdict.

    Args:
        formulae: at least one; white space in them is ignored.
        task: as `formula_env.make_task` makes it.
        training: the formulae that novel ones are compared with; default those that the task brings, if any.

    Raises FormulaError for anything else.
    """
    if not isinstance(task, SequenceTask):
        raise FormulaError(f"score needs a task of symbols, such as make_task('equation'), got {task!r}")
    texts = _without_blanks(formulae, "formulae")
    known = _known(task, training)
    places: dict[str, int] = {}
    index = np.fromiter((places.setdefault(text, len(places)) for text in texts), dtype=np.int64, count=len(texts))
    lengths, valid, correct, undecided = _verdicts(task, list(places))
    first = index[correct[index]]  # of the correct formulae, in their order
    different = [text for text, is_right in zip(places, correct.tolist(), strict=True) if is_right]
    counts = np.bincount(index, minlength=len(places))[correct]
    novel = None if known is None else np.array([text not in known for text in different], dtype=bool)
    count = task.count()
    return Score(
        num=len(texts),
        valid=share(int(valid[index].sum()), len(texts)),
        correct=share(len(first), len(texts)),
        undecided=None if undecided is None else share(int(undecided[index].sum()), len(texts)),
        novel=None if novel is None else share(int(counts[novel].sum()), len(texts)),
        unique_1k=_unique(first, 1_000),
        unique_10k=_unique(first, 10_000),
        distinct=len(different),
        distinct_novel=None if novel is None else int(novel.sum()),
        count=count,
        coverage=len(different) / count if count else None,
        ideal_coverage=ideal_coverage(len(texts), count) if count else None,
        lengths=_by_length(lengths[index], valid[index], correct[index]),
        **_forms(task, different, counts, known, len(texts)),
    )


def share(number: int, of: int) -> Share:
    """A share with Wilson's interval: the probabilities less than `Z` standard deviations away from it."""
    p = number / of
    middle, width = p + Z**2 / (2 * of), Z * math.sqrt(p * (1 - p) / of + (Z / (2 * of)) ** 2)
    scale = 1 + Z**2 / of
    low, high = max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
    return Share(number, of, p, low if number else 0.0, high if number < of else 1.0)


def _without_blanks(formulae: Iterable[str], what: str) -> list[str]:
    texts = None if isinstance(formulae, str) or not isinstance(formulae, Iterable) else list(formulae)
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise FormulaError(f"{what} must be strings, such as ['1+2=3']")
    if not texts:
        raise FormulaError(f"{what} must be at least one formula, got none")
    return ["".join(text.split()) for text in texts]


def _known(task: SequenceTask, training: Iterable[str] | None) -> set[str] | None:
    """The texts of the training set."""
    if training is not None:
        return set(_without_blanks(training, "training"))
    own = task.training_set()
    return None if own is None else set(task.decode(own))


def _verdicts(
    task: SequenceTask, texts: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Lengths `(n,)` in symbols, -1 of what can't be encoded; which texts are valid; correct; undecided."""
    lengths = np.full(len(texts), -1)
    valid, correct, undecided = np.zeros((3, len(texts)), dtype=bool)
    decides_all = task.is_undecided(task.encode([])) is None
    vocabulary = task.vocabulary
    size = min(BATCH, max(1, MAX_LEGAL // vocabulary.size))
    for start in range(0, len(texts), size):
        tokens, is_read = vocabulary.read_all(texts[start : start + size], task.max_length)
        rows = start + np.flatnonzero(is_read)
        tokens = tokens[is_read]
        lengths[rows] = (tokens < len(vocabulary.symbols)).sum(axis=1)
        well_formed = task.is_well_formed(tokens)
        valid[rows] = well_formed
        correct[rows[well_formed]] = task.is_correct(tokens[well_formed])
        open_rows = well_formed & ~correct[rows]
        if (open_verdicts := task.is_undecided(tokens[open_rows])) is not None:
            undecided[rows[open_rows]] = open_verdicts
    return lengths, valid, correct, None if decides_all else undecided


def _unique(first: NDArray[np.int64], number: int) -> float | None:
    return len(np.unique(first[:number])) / number if len(first) >= number else None


def _forms(
    task: SequenceTask, different: list[str], counts: NDArray[np.int64], known: set[str] | None, num: int
) -> dict[str, Any]:
    """The entries of a score that need canonical forms, of the different correct formulae and their counts."""
    if type(task).canonical is SequenceTask.canonical:
        return dict.fromkeys(("canonical_novel", "distinct_canonical", "skeletons"))
    forms = task.canonical(different)
    distinct = list(set(forms))
    novel = None
    if known is not None:
        known_forms = set(task.canonical(list(known)))
        is_new = np.array([form not in known_forms for form in forms], dtype=bool)
        novel = share(int(counts[is_new].sum()), num)
    # A form has the same skeleton as what it is the form of, and there are fewer of them.
    skeletons = len(set(task.skeleton(distinct)))
    return {"canonical_novel": novel, "distinct_canonical": len(distinct), "skeletons": skeletons}


def _by_length(
    lengths: NDArray[np.int64], valid: NDArray[np.bool_], correct: NDArray[np.bool_]
) -> list[LengthScore]:
    is_read = lengths >= 0
    numbers = np.bincount(lengths[is_read])
    columns = [np.bincount(lengths[is_read], weights[is_read]).astype(int) for weights in (valid, correct)]
    return [
        LengthScore(int(length), *(share(int(column[length]), int(numbers[length])) for column in columns))
        for length in np.flatnonzero(numbers)
    ]
