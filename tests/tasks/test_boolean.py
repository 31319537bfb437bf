"""Tautologies: counts, masks and sampling against a listing of all well-formed texts by their definition."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest

from formula_env.checkers.boolean import TRUTH_TABLES, is_correct
from formula_env.errors import FormulaError
from formula_env.tasks import make_task
from formula_env.tasks.boolean import Boolean
from formula_env.tasks.boolean_counts import count_by_table, count_tautologies
from tests.checkers.boolean_oracle import VARIABLES, Malformed, Reader, value, verdict
from tests.helpers import random_episodes
from tests.oracles import all_sequences
from tests.tasks import test_contract as contract

TINY = [Boolean(length=3, variables=1), Boolean(length=3, variables=2), Boolean(length=4, variables=1)]
"""All strings of their symbols can be listed."""
SMALL = [*TINY, Boolean(7, 1), Boolean(6, 2), Boolean(5, 3), Boolean(6, 3), Boolean(5, 4), Boolean(5, 5)]
"""All well-formed formulae can be listed."""
LARGE = [Boolean(), Boolean(8, 4), Boolean(7, 5), Boolean(30, 3), Boolean(63, 5)]

on_tiny = pytest.mark.parametrize("task", TINY, ids=str)
on_small = pytest.mark.parametrize("task", SMALL, ids=str)
on_each = pytest.mark.parametrize("task", [*SMALL, *LARGE], ids=str)


@cache
def texts_of_length(length: int, variables: int) -> set[str]:
    """Every well-formed text: a variable, or shorter ones behind `~`, in parentheses or around an operator."""
    if length < 1:
        return set()
    if length == 1:
        return set(VARIABLES[:variables])
    found = {f"~{text}" for text in texts_of_length(length - 1, variables)}
    found |= {f"({text})" for text in texts_of_length(length - 2, variables)}
    for n in range(1, length - 1):
        for first in texts_of_length(n, variables):
            for second in texts_of_length(length - 1 - n, variables):
                found |= {first + operator + second for operator in "&|>="}
    return found


def well_formed(task: Boolean) -> set[str]:
    return set().union(*(texts_of_length(n, task.variables) for n in range(task.length + 1)))


@on_small
def test_the_correct_formulae_are_those_of_the_definition(task: Boolean) -> None:
    expected = {text for text in well_formed(task) if verdict(text)}
    listed = task.decode(task.enumerate())
    assert len(listed) == task.count() == len(expected)
    assert set(listed) == expected
    tokens = task.enumerate().tolist()
    assert tokens == sorted(tokens)


@on_tiny
def test_every_string_gets_the_verdict_of_another_evaluator(task: Boolean) -> None:
    sequences = all_sequences(task).numpy()
    ended = (sequences == task.vocabulary.eos).any(axis=1)
    expected = [ends and verdict(text) for ends, text in zip(ended.tolist(), task.decode(sequences), strict=True)]
    assert task.is_correct(sequences).tolist() == expected
    assert sum(expected) == task.count()


@pytest.mark.parametrize(("length", "variables"), [(6, 1), (6, 2), (5, 3)])
def test_numbers_by_truth_table_are_those_of_a_listing(length: int, variables: int) -> None:
    names = VARIABLES[:variables]
    assignments = [
        {name: bool(table >> bit & 1) for name, table in zip(names, TRUTH_TABLES, strict=False)}
        for bit in range(2**variables)
    ]
    counts = count_by_table(length, variables, dtype=object)
    for n in range(length + 1):
        trees = [Reader(text).whole() for text in texts_of_length(n, variables)]
        tables = Counter(sum(value(tree, a) << bit for bit, a in enumerate(assignments)) for tree in trees)
        assert {table: number for table, number in enumerate(counts[n]) if number} == tables


@pytest.mark.parametrize(("length", "variables"), [(30, 1), (40, 2), (24, 3), (12, 4)])
def test_numbers_of_all_truth_tables_sum_up_to_the_well_formed_formulae(length: int, variables: int) -> None:
    counts = count_by_table(length, variables, dtype=np.int64 if variables == 4 else object)
    assert min(numbers.min() for numbers in counts) == 0
    assert sum(int(numbers.sum()) for numbers in counts) == Boolean(length, variables).well_formed.count


@pytest.mark.parametrize(("length", "variables"), [(14, 1), (13, 2), (12, 3)])
def test_counts_in_64_bits_are_those_of_python_ints(length: int, variables: int) -> None:
    exact = count_tautologies(length, variables, dtype=object)
    assert count_tautologies(length, variables, dtype=np.int64) == exact


@pytest.mark.parametrize("task", [Boolean(), Boolean(8, 4), Boolean(10, 2), Boolean(12, 1)], ids=str)
def test_counts_are_those_of_what_can_be_listed(task: Boolean) -> None:
    listed = task.enumerate()
    assert len(np.unique(listed, axis=0)) == len(listed) == task.count()
    assert task.is_correct(listed).all()


@pytest.mark.parametrize(
    ("options", "count", "enumerable"),
    [
        ({}, 38_268, True),
        ({"length": 3, "variables": 1}, 2, True),
        ({"length": 3, "variables": 5}, 10, True),
        ({"length": 13, "variables": 4}, 51_182_532, False),
        ({"length": 30, "variables": 4}, None, False),
        ({"length": 20, "variables": 5}, None, False),
    ],
)
def test_counts(options: dict[str, Any], count: int | None, enumerable: bool) -> None:
    task = make_task("boolean", **options)
    assert task.count() == count
    assert task.enumerable == enumerable
    if not enumerable:
        with pytest.raises(FormulaError, match=r"too many to list .*; use sample\(\)"):
            task.enumerate()


def test_the_count_in_64_bits_is_used_only_where_it_cannot_overflow() -> None:
    """2^16 times the formulae of the last length with a count are below 2^63, and no more of the next."""
    lengths = [length for length in range(3, 64) if Boolean(length, 4).well_formed.count << 16 < 2**63]
    assert make_task("boolean", length=lengths[-1], variables=4).count() is not None
    assert make_task("boolean", length=lengths[-1] + 1, variables=4).count() is None


@on_small
def test_masks_allow_exactly_what_can_be_finished(task: Boolean) -> None:
    """All prefixes of well-formed formulae, by definition, against the legal ones."""
    names = [*task.vocabulary.symbols, ""]  # "" is EOS
    following: dict[str, set[str]] = {}
    for text in well_formed(task):
        for t in range(len(text) + 1):
            following.setdefault(text[:t], set()).add(text[t : t + 1])
    for t in range(task.length + 1):
        prefixes = [prefix for prefix in following if len(prefix) == t]
        tokens = np.array([[names.index(symbol) for symbol in prefix] for prefix in prefixes], dtype=np.int64)
        for prefix, legal in zip(prefixes, task.legal_symbols(tokens.reshape(len(prefixes), t)), strict=True):
            assert {names[v] for v in np.flatnonzero(legal)} == following[prefix], prefix


@on_each
def test_masked_random_episodes_are_well_formed_and_finished_in_time(task: Boolean) -> None:
    tokens = random_episodes(task, 300, seed=0)
    texts = task.decode(tokens)
    for text in texts:
        Reader(text).whole()
        assert set(re.sub("[^a-e]", "", text)) <= set(VARIABLES[: task.variables])
    assert max(map(len, texts)) <= task.length
    assert task.is_correct(tokens).tolist() == [verdict(text) for text in texts]


def test_what_is_not_ended_is_not_correct() -> None:
    task = Boolean(length=3)
    formula = task.encode(["a>a"])
    assert task.is_correct(formula)[0]
    for end in (task.vocabulary.pad, 0, task.vocabulary.symbols.index("~")):
        assert not task.is_correct(np.append(formula[:, :3], [[end]], axis=1))[0]
    with pytest.raises(Malformed):
        Reader("a>").whole()
    assert not task.is_correct(np.append(task.encode(["a"])[:, :2], formula[:, :2], axis=1))[0]


@on_each
def test_the_contract_of_all_tasks(task: Boolean) -> None:
    contract.test_sampling_is_seeded(task)
    contract.test_pad_only_fills_a_prefix_up(task)
    contract.test_wrong_shapes_and_ids_are_refused(task)
    contract.test_options_recreate_the_task(task)
    contract.test_what_is_sampled_is_correct_and_can_be_written_under_the_mask(task)
    contract.test_a_canonical_form_is_that_of_itself_and_correct(task)
    if task.count() is None or contract.count(task) >= 5:
        contract.test_training_and_held_out_formulae_are_distinct_and_correct(task)


@on_tiny
def test_the_contract_of_small_tasks(task: Boolean) -> None:
    contract.test_enumerate_is_exactly_what_the_checker_accepts(task)
    contract.test_legal_symbols_are_those_that_lead_to_a_well_formed_formula(task)
    contract.test_strings_and_tokens_agree(task)


@on_small
def test_sampling_is_uniform(task: Boolean) -> None:
    assert task.distribution == "uniform over all correct formulae"
    contract.test_sampling_is_uniform_over_the_correct_formulae(task)


def test_sampling_of_many_formulae_is_uniform_over_their_operators() -> None:
    """Lengths and operators occur in a sample of the default task as often as among all correct formulae."""
    task = Boolean()
    everything = task.decode(task.enumerate())
    sample = task.decode(task.sample(30_000, np.random.default_rng(2)))
    shares, counts = (Counter(map(operators_of, texts)) for texts in (everything, sample))
    names = [name for name, number in shares.items() if number >= 10]
    expected = np.array([shares[name] for name in names]) / len(everything) * 30_000
    chi_square = float(((np.array([counts[name] for name in names]) - expected) ** 2 / expected).sum())
    assert len(names) > 50
    assert abs(chi_square - len(names)) < 5 * np.sqrt(2 * len(names))
    assert set(counts) <= set(shares)


def operators_of(text: str) -> str:
    """The operators and parentheses of a formula in some fixed order, and the first variable."""
    return "".join(sorted(re.sub("[a-e]", "", text))) + re.sub("[^a-e]", "", text)[0]


def test_forms() -> None:
    task = Boolean(variables=4)
    assert task.canonical(["(b|a)>b|a", "a>(b>a)"]) == ["a|b>a|b", "a>b>a"]
    assert task.skeleton(["(b|a)>b|a", "c|d>c|d"]) == ["#|#>#|#"] * 2
    assert task.equal_forms("a&b>a") == ["a&b>a", "b&a>a"]
    assert task.to_latex("a&~b>a") == r"a \land \lnot b \to a"
    assert task.to_sympy("a&~b>a") == "Implies(a & ~b, a)"
    assert Boolean.default_preset == "transformer"


def test_a_file_of_tautologies_has_the_same_forms_and_verdicts(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a&b>a\n~a|a\na>b>a\n")
    task = make_task("formula-file", path=str(tmp_path / "lines.txt"), checker="boolean", held_out_size=0)
    tokens = task.encode(["a&b>a", "b>a>b", "a>b"])
    assert task.is_correct(tokens).tolist() == [True, True, False]
    assert task.equal_forms("a&b>a") == Boolean().equal_forms("a&b>a")
    assert task.canonical(["(b|a)>a"]) == Boolean().canonical(["(b|a)>a"])


def test_a_longer_formula_is_judged_as_its_text() -> None:
    task = Boolean(length=63, variables=5)
    formulae = ["((a>b)&(b>c)&(c>d)&(d>e)>a>e)", "((a>b)&(b>c)&(c>d)&(d>e)>e>a)", "a=b=c=d=e=a=b=c=d=e"]
    assert task.is_correct(task.encode(formulae)).tolist() == [is_correct(text) for text in formulae]
    assert [verdict(text) for text in formulae] == [True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 2}, "length must be at least 3, got 2"),
        ({"length": 64}, "length must be at most 63, got 64"),
        ({"variables": 0}, "variables must be at least 1, got 0"),
        ({"variables": 6}, "variables must be at most 5, got 6"),
        ({"variables": "abc"}, "variables must be int, got 'abc'"),
        ({"depth": 3}, "unexpected keyword argument 'depth'; there are: length, variables"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        make_task("boolean", **options)


@pytest.mark.parametrize("options", [{}, {"length": 63, "variables": 5}], ids=str)
def test_construction_is_cheap(options: dict[str, int]) -> None:
    """With masks: below 0.1 s of CPU time, at least once in five times."""
    times = []
    for _ in range(5):
        start = process_time()
        Boolean(**options).legal_symbols(np.zeros((1, 0), dtype=np.int64))
        times.append(process_time() - start)
    assert min(times) < 0.1
