"""What every task promises: laws of all sequences on the small ones, laws of samples on each.

The tasks are the registered ones, and one more of variable length.
"""

from math import sqrt

import numpy as np
import pytest
import sympy

from formula_env.errors import FormulaError
from formula_env.tasks.base import BaseTask, SequenceTask
from tests.helpers import count, every_task, name_of, random_episodes, small_tasks
from tests.oracles import all_sequences, is_well_formed

on_small = pytest.mark.parametrize("task", small_tasks(), ids=name_of)
on_all = pytest.mark.parametrize("task", every_task(), ids=name_of)


@on_small
def test_enumerate_is_exactly_what_the_checker_accepts(task: SequenceTask) -> None:
    sequences = all_sequences(task).numpy()
    accepted = sequences[task.is_correct(sequences)]
    listed = task.enumerate()
    assert len(listed) == count(task) == len(accepted)
    assert {tuple(row) for row in listed} == {tuple(row) for row in accepted}
    assert listed.tolist() == sorted(listed.tolist())


@on_small
def test_sampling_is_uniform_over_the_correct_formulae(task: SequenceTask) -> None:
    draws = 200 * count(task)
    sample = task.sample(draws, np.random.default_rng(1))
    assert task.is_correct(sample).all()
    distinct, counts = np.unique(sample, axis=0, return_counts=True)
    assert len(distinct) == count(task)
    chi_square = float(((counts - 200) ** 2 / 200).sum())
    degrees = count(task) - 1
    assert abs(chi_square - degrees) < 5 * sqrt(2 * degrees)


@on_all
def test_sampling_is_seeded(task: SequenceTask) -> None:
    one, two, other = (task.sample(50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@on_small
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


@on_small
def test_what_is_well_formed_has_legal_symbols_up_to_its_end(task: SequenceTask) -> None:
    """A formula without EOS is as long as it can be, another one ends with EOS; PAD is behind it."""
    sequences = all_sequences(task)
    texts = task.decode(sequences.numpy())
    tokens, is_read = task.vocabulary.read_all(texts, task.max_length)
    assert np.array_equal(task.is_well_formed(tokens[is_read]), is_well_formed(task, sequences).numpy()[is_read])
    assert task.is_well_formed(task.enumerate()).all()
    if task.vocabulary.eos is None:
        shorter = task.enumerate()
        shorter[:, -1] = task.vocabulary.pad
        assert not task.is_well_formed(shorter).any()


@on_all
def test_pad_only_fills_a_prefix_up(task: SequenceTask) -> None:
    sample = task.sample(20, np.random.default_rng(0))
    for t in range(task.max_length):
        padded = np.full_like(sample, task.vocabulary.pad)
        padded[:, :t] = sample[:, :t]
        assert np.array_equal(task.legal_symbols(padded), task.legal_symbols(sample[:, :t]))
        assert not task.is_correct(padded).any() or task.vocabulary.eos is not None


@on_small
def test_strings_and_tokens_agree(task: SequenceTask) -> None:
    formulae = task.enumerate()
    texts = task.decode(formulae)
    assert len(set(texts)) == count(task)
    assert np.array_equal(task.encode(texts), formulae)
    assert all(task.to_latex(text) for text in texts)


@on_small
def test_split_is_seeded_disjoint_and_complete(task: SequenceTask) -> None:
    for size in (0.5, 3):
        train, held_out = task.split(size, seed=7)
        assert len(train) == (3 if size == 3 else round(count(task) / 2))
        both = {tuple(row) for row in train} | {tuple(row) for row in held_out}
        assert len(both) == len(train) + len(held_out) == count(task)
        again = task.split(size, seed=7)
        assert np.array_equal(train, again[0])
        assert np.array_equal(held_out, again[1])
    assert not np.array_equal(task.split(0.5, seed=7)[0], task.split(0.5, seed=8)[0])
    for impossible in (0, count(task) + 1, 0.0, -3):
        with pytest.raises(FormulaError, match=r"cannot split|a share of the correct formulae"):
            task.split(impossible, seed=0)


@on_all
def test_wrong_shapes_and_ids_are_refused(task: SequenceTask) -> None:
    with pytest.raises(FormulaError, match="tokens must be"):
        task.is_correct(np.zeros((2, task.max_length + 1), dtype=np.int64))
    with pytest.raises(FormulaError, match="tokens must be"):
        task.is_correct(np.full((2, task.max_length), task.vocabulary.bos))


@on_small
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


@on_all
def test_options_recreate_the_task(task: SequenceTask) -> None:
    assert type(task)(**task.options) == task


@on_all
def test_a_masked_random_episode_is_well_formed_and_ends_in_time(task: SequenceTask) -> None:
    """Each symbol is legal, the last one ends the formula, and the whole can be read back from its text."""
    tokens = random_episodes(task, 300, seed=5)
    texts = task.decode(tokens)
    assert np.array_equal(task.encode(texts), tokens)
    assert np.array_equal(task.is_correct(tokens), task.is_correct(task.encode(texts)))
    assert all(task.to_latex(text) for text in texts)


@on_all
def test_what_is_sampled_is_correct_and_can_be_written_under_the_mask(task: SequenceTask) -> None:
    sample = task.sample(300, np.random.default_rng(6))
    assert task.is_correct(sample).all()
    for t in range(task.max_length):
        written = sample[:, t] != task.vocabulary.pad
        legal = task.legal_symbols(sample[written, :t])
        assert legal[np.arange(len(legal)), sample[written, t]].all()


@on_all
def test_training_and_held_out_formulae_are_distinct_and_correct(task: SequenceTask) -> None:
    train, held_out = task.split(2, seed=1, held_out=3)
    both = np.concatenate([train, held_out])
    assert len(np.unique(both, axis=0)) == 5
    assert task.is_correct(both).all()
    assert np.array_equal(both, np.concatenate(task.split(2, seed=1, held_out=3)))


@on_all
def test_a_canonical_form_is_that_of_itself_and_correct(task: SequenceTask) -> None:
    texts = task.decode(task.sample(100, np.random.default_rng(2)))
    forms = task.canonical(texts)
    assert task.canonical(forms) == forms
    assert task.is_correct(task.encode(forms)).all()
    assert task.skeleton(forms) == task.skeleton(texts)
