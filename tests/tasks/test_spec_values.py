"""Exact values from the thesis and its errata."""

from math import comb

import numpy as np
import pytest

from formula_env.errors import FormulaError
from formula_env.tasks import make_task
from formula_env.tasks.automaton import AutomatonTask
from formula_env.tasks.binary_sum import BinarySum


@pytest.mark.parametrize(("length", "count"), [(8, 70), (16, 12_870), (32, 601_080_390)])
def test_binary_sum_counts(length: int, count: int) -> None:
    assert make_task("binary-sum", length=length).count() == count


@pytest.mark.parametrize("length", range(2, 65, 2))
def test_binary_sum_counts_are_central_binomials(length: int) -> None:
    assert make_task("binary-sum", length=length).count() == comb(length, length // 2)


def test_a_uniform_sampler_scores() -> None:
    assert BinarySum().count() / 2**8 == pytest.approx(0.27344, abs=5e-6)
    assert BinarySum(16).count() / 2**16 == pytest.approx(0.19638, abs=5e-6)


def test_signed_equations_of_length_15() -> None:
    task = make_task("signed-equation")
    assert task.count() == len(task.enumerate()) == 24_024
    assert isinstance(task, AutomatonTask)
    assert well_formed_count(task) == 7 * 2**6 * 2**8 == 114_688


def well_formed_count(task: AutomatonTask) -> int:
    """By expanding legal prefixes level by level."""
    prefixes = np.zeros((1, 0), dtype=np.int64)
    for _ in range(task.max_length):
        rows, symbols = np.nonzero(task.legal_symbols(prefixes))
        prefixes = np.column_stack([prefixes[rows], symbols])
    return len(prefixes)


def test_the_printed_examples_are_correct() -> None:
    """Thesis Fig 9.1, and the wrong row of its Table 7.1."""
    signed = make_task("signed-equation")
    assert signed.is_correct(signed.encode(["1+0+1+1=0+1+1+1", "1+0+1+1+0-1=1+1"])).all()
    assert not signed.is_correct(signed.encode(["1+0+1+1=0+1+1-1"])).any()
    binary = make_task("binary-sum")
    assert binary.is_correct(binary.encode(["0110 0101", "01110011"])).tolist() == [True, False]


def test_table_7_1_holds_29_correct_of_30() -> None:
    left = "01011001 00100010 00011000 11101011 01101100 00111100 01110111 10111110 10101001 00100100"
    left += " 01011001 10111101 10101001 10101001 01001000"
    right = "01110011 00010100 11100111 11001100 00110011 10111101 10110111 00110101 01101001 10001000"
    right += " 00000000 11000011 11001100 10101001 00110101"
    formulae = [*left.split(), *right.split()]
    binary = make_task("binary-sum")
    assert binary.is_correct(binary.encode(formulae)).sum() == 29
    assert len(set(formulae)) == 23


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("binary-sum", {"length": 7}, "even number from 2 to 64, got 7"),
        ("binary-sum", {"length": 66}, "even number from 2 to 64"),
        ("signed-equation", {"length": 8}, "odd number from 3 to 63"),
        ("binary-sum", {"size": 8}, "unexpected keyword argument 'size'; there are: length"),
        ("ternary-sum", {}, "there are: binary-sum, .*integer-sum, .*signed-equation"),
    ],
)
def test_impossible_tasks_are_refused(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        make_task(name, **options)


def test_what_can_not_be_listed_can_still_be_sampled_and_split() -> None:
    task = make_task("binary-sum", length=64)
    with pytest.raises(FormulaError, match="too many to list"):
        task.enumerate()
    train, held_out = task.split(500, seed=0, held_out=100)
    assert len(np.unique(np.concatenate([train, held_out]), axis=0)) == 600
    assert task.is_correct(train).all()
