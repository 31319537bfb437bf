"""Equations: counts, masks and sampling against a listing of all left sides by their definition."""

import re
from collections.abc import Iterator
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import sympy

from formula_env.checkers.equation import is_correct
from formula_env.errors import FormulaError
from formula_env.tasks import automaton, make_task
from formula_env.tasks.equation import Equation
from tests.checkers.equation_oracle import NoValue, Reader, in_base, value, verdict
from tests.helpers import random_episodes
from tests.oracles import all_sequences
from tests.tasks import test_contract as contract

TINY = [
    Equation(base=3, largest=2, length=5),
    Equation(base=2, largest=2, operators="+-", length=5),
    Equation(base=2, largest=3, operators="*", length=7),
    Equation(base=3, largest=2, operators="^/", length=5),
]
"""All strings of their symbols can be listed."""
SMALL = [
    *TINY,
    Equation(length=5),
    Equation(length=7, largest=12, operators="-"),
    Equation(length=12, largest=2, operators="+-*/^", operands=3, parentheses=True),
    Equation(length=11, largest=1, operators="+-", operands=4, parentheses=True, base=2),
    Equation(length=7, largest=14, operators="^"),
    Equation(length=8, largest=40, operators="/", base=16),
    Equation(length=8, largest=10, operators="-*", operands=3),
]
"""All left sides can be listed."""
LARGE = [
    Equation(),
    Equation(length=13, operators="+-*", operands=3, largest=30),
    Equation(length=30, operators="+-*", operands=6, parentheses=True, largest=120),
    Equation(length=63, operators="^*", operands=3, largest=7, base=2),
]

on_tiny = pytest.mark.parametrize("task", TINY, ids=str)
on_small = pytest.mark.parametrize("task", SMALL, ids=str)
on_each = pytest.mark.parametrize("task", [*SMALL, *LARGE], ids=str)


def sides(task: Equation, operands: int) -> Iterator[str]:
    """Every left side: two or more integers or sides in parentheses, joined by operators."""
    for sizes in product(range(operands + 1), repeat=operands):
        parts = [size for size in sizes if size]
        if sizes[: len(parts)] != tuple(parts) or sum(parts) != operands or len(parts) < 2:
            continue
        items = [list(items_of(task, size)) for size in parts]
        for operators in product(task.operators, repeat=len(parts) - 1):
            for texts in product(*items):
                yield "".join(text + operator for text, operator in zip(texts, (*operators, ""), strict=True))


def items_of(task: Equation, operands: int) -> Iterator[str]:
    if operands == 1:
        yield from (in_base(number, task.base) for number in range(task.largest + 1))
    elif task.parentheses:
        yield from (f"({side})" for side in sides(task, operands))


def correct_by_definition(task: Equation) -> set[str]:
    found = set()
    for left in sides(task, task.operands):
        try:
            formula = f"{left}={in_base(int(value(Reader(left, task.base).whole())), task.base)}"
        except NoValue:
            continue
        if len(formula) <= task.length:
            found.add(formula)
    return found


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 10_000),
        ({"largest": 59}, 3_600),
        ({"length": 5}, 55),
        ({"operators": "*", "length": 10}, 10_000),
        ({"operators": "+-*", "operands": 3, "largest": 9, "length": 9}, 9_000),
        ({"operators": "/", "length": 5, "largest": 9}, sum(a % b == 0 for a in range(10) for b in range(1, 10))),
        ({"operators": "+-*/^", "operands": 6, "parentheses": True}, None),
    ],
)
def test_counts(options: dict[str, Any], count: int | None) -> None:
    assert make_task("equation", **({"length": 13} if count is None else {}) | options).count() == count


@on_small
def test_the_correct_formulae_are_those_of_the_definition(task: Equation) -> None:
    expected = correct_by_definition(task)
    listed = task.decode(task.enumerate())
    assert len(listed) == task.count() == len(expected)
    assert set(listed) == expected
    tokens = task.enumerate().tolist()
    assert tokens == sorted(tokens)


@pytest.mark.parametrize("size", [1, 7, 100, 2**20])
def test_blocks_are_all_paths_in_lexicographic_order(size: int) -> None:
    paths = Equation(length=11, largest=2, operands=3, operators="+-", parentheses=True)._left_sides
    blocks = list(paths.blocks(size))
    assert max(map(len, blocks)) <= size
    listed = np.concatenate(blocks).tolist()
    assert len(listed) == paths.count
    assert listed == sorted(listed)


@on_tiny
def test_every_string_gets_the_verdict_of_another_evaluator(task: Equation) -> None:
    """And those of integers and operators on the left and one integer on the right alone are well-formed."""
    sequences = all_sequences(task).numpy()
    verdicts = task.is_correct(sequences)
    texts = task.decode(sequences)
    left_sides = set(sides(task, task.operands))
    ended = (sequences == task.vocabulary.eos).any(axis=1)
    for text, ends, found in zip(texts, ended.tolist(), verdicts.tolist(), strict=True):
        left, _, right = text.partition("=")
        is_integer = re.fullmatch("0|-?[1-9a-f][0-9a-f]*", right) is not None
        expected = ends and left in left_sides and is_integer and verdict(text, task.base)
        assert found == expected, text
    assert verdicts.sum() == task.count()


@on_small
def test_masks_allow_exactly_what_can_be_finished(task: Equation) -> None:
    """All prefixes of well-formed formulae, by definition, against the legal ones."""
    digits = "0123456789abcdef"[: task.base]
    left_sides = [side for side in sides(task, task.operands) if len(side) + 2 <= task.length]
    for t in range(task.max_length):
        prefixes = sorted({f"{left}="[:t] for left in left_sides if len(left) + 1 >= t})
        following = {prefix: set() for prefix in prefixes}
        for left in left_sides:
            if t <= len(left):
                following[left[:t]].add(f"{left}="[t])
            elif t == len(left) + 1:
                negative = {"-"} if "-" in task.operators and t + 2 <= task.length else set()
                following[f"{left}="] |= set(digits) | negative
        for prefix, symbols in following.items():
            tokens = np.array([[task.vocabulary.symbols.index(symbol) for symbol in prefix]], dtype=np.int64)
            legal = np.flatnonzero(task.legal_symbols(tokens.reshape(1, t))[0])
            assert {task.vocabulary.symbols[v] for v in legal} == symbols, prefix


@on_each
def test_masks_of_the_right_side_allow_an_integer(task: Equation) -> None:
    """Random masked episodes end in `0`, or in digits of which the first is not 0, behind at most one `-`."""
    tokens = random_episodes(task, 500, seed=0)
    rights, negative, longest = set(), False, 0
    for text in task.decode(tokens):
        left, _, right = text.partition("=")
        Reader(left, task.base).whole()
        numbers = re.findall("[0-9a-f]+", left)
        assert len(numbers) == task.operands
        assert max(int(number, task.base) for number in numbers) <= task.largest
        assert re.fullmatch("0|-?[1-9a-f][0-9a-f]*", right)
        rights.add(right)
        negative |= right[0] == "-"
        longest = max(longest, len(text))
    assert "0" in rights
    assert negative <= ("-" in task.operators)
    assert longest <= task.length


@on_each
def test_the_contract_of_all_tasks(task: Equation) -> None:
    contract.test_sampling_is_seeded(task)
    contract.test_pad_only_fills_a_prefix_up(task)
    contract.test_wrong_shapes_and_ids_are_refused(task)
    contract.test_options_recreate_the_task(task)
    contract.test_a_masked_random_episode_is_well_formed_and_ends_in_time(task)
    contract.test_what_is_sampled_is_correct_and_can_be_written_under_the_mask(task)
    contract.test_training_and_held_out_formulae_are_distinct_and_correct(task)
    contract.test_a_canonical_form_is_that_of_itself_and_correct(task)


@on_tiny
def test_the_contract_of_small_tasks(task: Equation) -> None:
    contract.test_enumerate_is_exactly_what_the_checker_accepts(task)
    contract.test_legal_symbols_are_those_that_lead_to_a_well_formed_formula(task)
    contract.test_strings_and_tokens_agree(task)


@on_small
def test_sampling_is_uniform(task: Equation) -> None:
    contract.test_sampling_is_uniform_over_the_correct_formulae(task)


def test_sampling_of_many_formulae_is_uniform_over_left_sides() -> None:
    """Three operands: the first number and the operators occur as often as among all correct formulae."""
    task = Equation(length=13, operators="+-*", operands=3, largest=30)
    everything = task.decode(task.enumerate())
    sample = task.decode(task.sample(30_000, np.random.default_rng(2)))
    classes = [[re.sub("[0-9]+", "#", text) + text[0] for text in texts] for texts in (everything, sample)]
    names = sorted(set(classes[0]))
    shares, counts = (np.array([of.count(name) for name in names]) for of in classes)
    expected = shares / len(everything) * 30_000
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    degrees = len(names) - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)
    assert counts.sum() == 30_000


@on_each
def test_correct_is_well_formed_and_true(task: Equation) -> None:
    sample = task.sample(300, np.random.default_rng(3))
    for text in task.decode(sample):
        assert verdict(text, task.base)
        assert is_correct(text, task.base)
    last = np.flatnonzero(sample[0] == task.vocabulary.eos)[0] - 1
    wrong = sample.copy()
    wrong[0, last] = (wrong[0, last] + 1) % task.base
    assert not task.is_correct(wrong)[0]


@pytest.mark.parametrize(
    "formula", ["1-1=-0", "2=1+1", "(1)+1=2", "(1+1)=2", "((1+1))+1=3", "1+1+1+1=4", "100+1-1=100"]
)
def test_what_is_true_but_of_another_form_is_not_correct(formula: str) -> None:
    task = Equation(length=12, operators="+-", operands=3 if formula.count("1") > 2 else 2, parentheses=True)
    assert is_correct(formula)
    assert not task.is_correct(task.encode([formula]))[0]


def test_values_beyond_64_bits_are_exact() -> None:
    task = Equation(length=44, operators="^/-*", operands=4, largest=128, parentheses=True)
    formulae = [
        "2^100/2^99=2",
        "2^100/2^99=3",
        "2^64-(2^63)=9223372036854775808",
        "2^63-2^64=-9223372036854775808",
    ]
    formulae += ["10^19/10^18=10", "2^128/2^128=1"]
    assert task.is_correct(task.encode(formulae)).tolist() == [True, False, True, True, True, True]
    powers = Equation(length=24, operators="^", largest=70)
    assert {text for text in powers.decode(powers.enumerate()) if text.startswith("2^6")} == {
        f"2^{n}={2**n}" for n in (6, *range(60, 64))
    }  # 2^64 has 20 digits, one too many


def test_forms() -> None:
    task = Equation(length=13, operators="+-*^", operands=3, parentheses=True)
    assert task.canonical(["12+7*3=33", "9-(2-8)=15", "5-9+3=-1"]) == ["12+3*7=33", "9-(2-8)=15", "3+5-9=-1"]
    assert task.skeleton(["12+7*3=33", "7*3+12=33", "5-9+3=-1"]) == ["#+#*#=#", "#+#*#=#", "#+#-#=-#"]
    assert task.to_latex("2^(1+9)=1024") == "2^{(1+9)}=1024"
    assert task.to_sympy("2^(1+9)=1024") == "Eq(2**(1+9), 1024)"
    assert Equation.default_preset == "transformer"


@pytest.mark.parametrize("base", [10, 16])
def test_sympy_agrees_with_the_checker(base: int) -> None:
    task = Equation(length=11, operators="+-*^", operands=3, parentheses=True, largest=15, base=base)
    correct = task.sample(60, np.random.default_rng(4))
    wrong = correct.copy()
    last = (wrong == task.vocabulary.eos).argmax(axis=1) - 1
    rows = np.arange(len(wrong))
    wrong[rows, last] = (wrong[rows, last] + 1) % base
    for tokens, expected in ((correct, True), (wrong, False)):
        for text in task.decode(tokens):
            assert bool(sympy.sympify(task.to_sympy(text))) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 4}, "length must be at least 5, got 4"),
        ({"operands": 3, "length": 6}, "length must be at least 7, got 6"),
        ({"length": 64}, "length must be at most 63"),
        ({"operands": 1}, "operands must be at least 2"),
        ({"operands": 7}, "operands must be at most 6"),
        ({"largest": 0}, "largest must be at least 1"),
        ({"largest": 10_000_000}, "largest must be at most 1,000,000"),
        ({"base": 17}, "base must be at most 16"),
        ({"base": 1}, "base must be at least 2"),
        ({"operators": ""}, r"operators must be different ones of \+-\*/\^, got ''"),
        ({"operators": "++"}, r"operators must be different ones of \+-\*/\^, got '\+\+'"),
        ({"operators": "+%"}, r"operators must be different ones of"),
        ({"operators": 3}, "operators must be str"),
        ({"parentheses": 1}, "parentheses must be bool"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        make_task("equation", **options)


def test_what_is_too_much_to_list_is_refused() -> None:
    task = Equation(length=20, operators="+-*", operands=4)
    assert task.count() is None
    assert not task.enumerable
    with pytest.raises(FormulaError, match="not known how many"):
        task.enumerate()


def test_sampling_gives_up_where_hardly_a_left_side_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton, "MAX_DRAWS", 100)
    with pytest.raises(FormulaError, match="candidates is correct with at most 63 symbols; use simpler formulae"):
        Equation(length=63, operators="/", operands=6, largest=1_000_000).sample(1, np.random.default_rng(0))


def test_construction_is_cheap() -> None:
    """With masks: below 0.1 s for the default task, at least once in five times."""
    times = []
    for _ in range(5):
        start = perf_counter()
        Equation().legal_symbols(np.zeros((1, 0), dtype=np.int64))
        times.append(perf_counter() - start)
    assert min(times) < 0.1
