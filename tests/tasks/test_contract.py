"""What every task promises, checked on each registered one and on one of variable length."""

from math import sqrt

import numpy as np
import pytest
import sympy

from formula_env.errors import FormulaError
from formula_env.tasks.base import BaseTask, SequenceTask
from tests.helpers import name_of, small_tasks
from tests.oracles import all_sequences

pytestmark = pytest.mark.parametrize("task", small_tasks(), ids=name_of)


def test_enumerate_is_exactly_what_the_checker_accepts(task: SequenceTask) -> None:
    sequences = all_sequences(task).numpy()
    accepted = sequences[task.is_correct(sequences)]
    listed = task.enumerate()
    assert len(listed) == task.count() == len(accepted)
    assert {tuple(row) for row in listed} == {tuple(row) for row in accepted}
    assert listed.tolist() == sorted(listed.tolist())


def test_sampling_is_uniform_over_the_correct_formulae(task: SequenceTask) -> None:
    draws = 200 * task.count()
    sample = task.sample(draws, np.random.default_rng(1))
    assert task.is_correct(sample).all()
    distinct, counts = np.unique(sample, axis=0, return_counts=True)
    assert len(distinct) == task.count()
    chi_square = float(((counts - 200) ** 2 / 200).sum())
    degrees = task.count() - 1
    assert abs(chi_square - degrees) < 5 * sqrt(2 * degrees)


def test_sampling_is_seeded(task: SequenceTask) -> None:
    one, two, other = (task.sample(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_legal_symbols_are_those_that_lead_to_a_well_formed_formula(task: SequenceTask) -> None:
    """A symbol is legal iff some correct-length sequence through it never makes an illegal choice itself."""
    sequences = all_sequences(task).numpy()
    pad = task.vocabulary.pad
    legal_all_the_way = np.ones(len(sequences), dtype=bool)
    for t in range(task.max_length):
        legal = task.legal_symbols(sequences[:, :t])
        assert legal.any(axis=1).all()
        written = sequences[:, t] != pad
        chosen = np.where(written, sequences[:, t], 0)
        legal_all_the_way &= ~written | legal[np.arange(len(sequences)), chosen]
    assert not (task.is_correct(sequences) & ~legal_all_the_way).any()
    for t in range(task.max_length):  # nothing legal is a dead end
        prefixes = np.unique(sequences[legal_all_the_way, :t], axis=0)
        prefixes = prefixes[~(prefixes == pad).any(axis=1)] if t else prefixes
        if task.vocabulary.eos is not None and t:
            prefixes = prefixes[~(prefixes == task.vocabulary.eos).any(axis=1)]
        followed = {tuple(row) for row in sequences[legal_all_the_way, : t + 1]}
        for prefix, legal in zip(prefixes, task.legal_symbols(prefixes), strict=True):
            expected = [(*prefix.tolist(), v) in followed for v in range(task.vocabulary.size)]
            assert legal.tolist() == expected


def test_pad_only_fills_a_prefix_up(task: SequenceTask) -> None:
    sample = task.sample(20, np.random.default_rng(0))
    for t in range(task.max_length):
        padded = np.full_like(sample, task.vocabulary.pad)
        padded[:, :t] = sample[:, :t]
        assert np.array_equal(task.legal_symbols(padded), task.legal_symbols(sample[:, :t]))
        assert not task.is_correct(padded).any() or task.vocabulary.eos is not None


def test_strings_and_tokens_agree(task: SequenceTask) -> None:
    formulae = task.enumerate()
    texts = task.decode(formulae)
    assert len(set(texts)) == task.count()
    assert np.array_equal(task.encode(texts), formulae)
    assert all(task.to_latex(text) for text in texts)


def test_split_is_seeded_disjoint_and_complete(task: SequenceTask) -> None:
    for size in (0.5, 3):
        train, held_out = task.split(size, seed=7)
        assert len(train) == (3 if size == 3 else round(task.count() / 2))
        both = {tuple(row) for row in train} | {tuple(row) for row in held_out}
        assert len(both) == len(train) + len(held_out) == task.count()
        again = task.split(size, seed=7)
        assert np.array_equal(train, again[0])
        assert np.array_equal(held_out, again[1])
    assert not np.array_equal(task.split(0.5, seed=7)[0], task.split(0.5, seed=8)[0])
    for impossible in (0, task.count() + 1, 0.0, -3):
        with pytest.raises(FormulaError, match=r"cannot split|a share of the correct formulae"):
            task.split(impossible, seed=0)


def test_wrong_shapes_and_ids_are_refused(task: SequenceTask) -> None:
    with pytest.raises(FormulaError, match="tokens must be"):
        task.is_correct(np.zeros((2, task.max_length + 1), dtype=np.int64))
    with pytest.raises(FormulaError, match="tokens must be"):
        task.is_correct(np.full((2, task.max_length), task.vocabulary.bos))


def test_sympy_agrees_with_the_checker(task: SequenceTask) -> None:
    if type(task).to_sympy is BaseTask.to_sympy:  # it is optional
        with pytest.raises(FormulaError, match="sympy"):
            task.to_sympy(task.decode(task.enumerate()[:1])[0])
        return
    sequences = all_sequences(task).numpy()
    legal = np.all([task.legal_symbols(sequences[:, :t])[np.arange(len(sequences)), sequences[:, t]]
                    for t in range(task.max_length)], axis=0)  # fmt: skip
    rows = sequences[legal][::7]
    for text, correct in zip(task.decode(rows), task.is_correct(rows), strict=True):
        assert bool(sympy.sympify(task.to_sympy(text))) == correct


def test_options_recreate_the_task(task: SequenceTask) -> None:
    assert type(task)(**task.options) == task
