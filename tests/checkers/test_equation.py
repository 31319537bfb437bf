"""The checker of equations against recursive descent with fractions, and its batches against single formulae."""

import random
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formula_env.checkers.batches import FEW
from formula_env.checkers.equation import ALPHABET, check, check_codes, is_correct
from formula_env.checkers.equation_forms import canonical, skeleton, to_latex, to_sympy
from formula_env.checkers.expression import MAX_SYMBOLS, evaluate, parse
from formula_env.errors import FormulaError
from tests.checkers.equation_oracle import mutated, random_formula, verdict

SYMBOLS = ALPHABET.symbols

in_bases = pytest.mark.parametrize("base", [2, 3, 10, 16])


def formulae(base: int, n: int = 3_000, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [random_formula(rng, base) for _ in range(n)]


def mutations(base: int) -> list[str]:
    rng = random.Random(1)
    return [mutated(rng, formula, "".join(set(SYMBOLS[:base] + SYMBOLS[16:]))) for formula in formulae(base)]


@in_bases
def test_generated_formulae_get_the_verdicts_of_another_evaluator(base: int) -> None:
    texts = formulae(base)
    expected = np.array([verdict(text, base) for text in texts])
    assert 0.2 < expected.mean() < 0.8
    assert [is_correct(text, base) for text in texts] == expected.tolist()
    assert np.array_equal(check(texts, base), expected)


@in_bases
def test_mutated_formulae_get_the_verdicts_of_another_evaluator(base: int) -> None:
    texts = mutations(base)
    expected = np.array([verdict(text, base) for text in texts])
    assert 0.02 < expected.mean() < 0.5
    assert [is_correct(text, base) for text in texts] == expected.tolist()
    assert np.array_equal(check(texts, base), expected)


@pytest.mark.parametrize("symbols", [SYMBOLS[:10] + SYMBOLS[16:], "012^*=", "12-=()", "0=-", "12(=)^/-"])
def test_random_symbols_get_the_same_verdict_in_batches(symbols: str) -> None:
    rng = random.Random(2)
    texts = ["".join(rng.choices(symbols, k=rng.randint(0, 9))) for _ in range(30_000)]
    verdicts = check(texts).tolist()
    assert any(verdicts)
    assert verdicts == [is_correct(text) for text in texts]


def test_tokens_in_any_order_get_the_verdict_of_their_text() -> None:
    """A token array may hold an end in the middle: what follows an end makes a formula incorrect."""
    symbols = [*"0123+-*^()=", ""]
    tokens = np.random.default_rng(3).integers(len(symbols), size=(20_000, 6))
    verdicts = check_codes(ALPHABET.codes_of(symbols)[tokens])
    for row, found in zip(tokens, verdicts.tolist(), strict=True):
        text = "".join(symbols[token] or " " for token in row).rstrip()
        assert found == (" " not in text and is_correct(text))


def test_values_beyond_64_bits_are_exact() -> None:
    texts = [
        "2^100/2^99=2", "2^100/2^99=3", "99999999999999999999+1=100000000000000000000",
        "99999999999999999999+1=100000000000000000001", "2^128-2^128+1=1", "2^128+1-2^128=1", "(-2)^127=-2^127",
        "9223372036854775807+1=-9223372036854775808", "2^64=0", "4294967296*4294967296=0", "3^80/3^80=1",
        "3^81/3^81=1", "2^128=2^128", "2^129=2^129", "(-2)^128=2^128", "0-2^63=-9223372036854775808",
        "3037000500*3037000500=9223372037000250000", "18446744073709551617=1", "1=18446744073709551617",
    ]  # fmt: skip
    expected = [verdict(text) for text in texts]
    assert expected == [True, False, True, False, True, False, True, False, False, False, True, False, True,
                        False, True, True, True, False, False]  # fmt: skip
    assert [is_correct(text) for text in texts] == expected
    assert check(texts * FEW).tolist() == expected * FEW


@pytest.mark.parametrize(
    "formula",
    ["12+7=19", "3*(4+1)=15", "7-9=-2", "-2^2=-4", "2^3^2=512", "6/2*3=9", "8-4-2=2", "8/4/2=1", "(-2)^2=4",
     "-(1-3)=2", "0=-0", "0^0=1", "(-1)^(9^9)=-1", "((1))=1", " 1 + 1\t= 2\n", "5=2+3", "2*3+4*5=26"],
)  # fmt: skip
def test_these_are_correct(formula: str) -> None:
    assert is_correct(formula)
    assert check([formula] * FEW).all()


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("", "an equation has one =, not 0"),
        ("1=1=1", "an equation has one =, not 2"),
        ("01=1", "01 has a leading zero"),
        ("1=00", "00 has a leading zero"),
        ("1+=2", r"a side can't end with \+"),
        ("=", "a side is empty"),
        ("1=-", "a side can't end with -"),
        ("1=(", r"a side can't end with \("),
        ("(1=1", r"a \( is not closed"),
        ("(1=1)", r"a \( is not closed"),
        ("1)=1", r"a \) closes nothing"),
        ("--1=1", "- can't stand after -"),
        ("2+-1=1", r"- can't stand after \+"),
        ("+1=1", r"\+ can't begin a side"),
        ("()=1", r"\) can't stand after \("),
        ("2(3)=6", r"\( can't stand after 2"),
        ("(2)3=6", r"3 can't stand after \)"),
        ("a=a", "'a' is no symbol of equations in base 10"),
        ("1=1\0", "is no symbol"),
        ("1=\ud800", "is no symbol"),
        ("__import__('os')=1", "'_' is no symbol"),
        ("1=1" + " " * 1_000, "an equation has at most 1,000 symbols, this one has 1,003"),
    ],
)
def test_what_is_not_well_formed_is_not_correct(formula: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        parse(formula)
    assert not is_correct(formula)
    assert not check([formula] * FEW).any()


@pytest.mark.parametrize("formula", ["7/2=3", "1/0=1/0", "0/0=0", "2^(0-1)=0", "7/2*2=7", "1+1=3", "1/2-1/2=0"])
def test_what_is_well_formed_but_wrong_or_has_no_value_is_not_correct(formula: str) -> None:
    parse(formula)
    assert not is_correct(formula)
    assert not check([formula] * FEW).any()


HOSTILE = [
    "9^9^9^9=1", "(" * 10**6, "(" * 499 + "1" + ")" * 499 + "=1", "9" * 10**6 + "=1", "9" * 990 + "=1",
    "1" + "+1" * 10**6, "2^" * 499 + "2", "2^" * 498 + "2=2", "1" + "*9" * 498 + "=1", "=" * 10**6,
    "9^99999999999999=1", "(1-2)^99999999999999=1-2", "\0" * 10**6, " " * 10**6 + "1=1",
]  # fmt: skip


def best_seconds(formula: str) -> float:
    """The shortest of three times that both verdicts take."""
    times = []
    for _ in range(3):
        start = perf_counter()
        assert is_correct(formula) == check([formula])[0]
        times.append(perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("formula", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_cost_nothing(formula: str) -> None:
    assert best_seconds(formula) < 0.02
    assert check([formula] * FEW).tolist() == [is_correct(formula)] * FEW


texts = st.text() | st.text(SYMBOLS + " ", max_size=60)


@settings(max_examples=500)
@given(texts, st.sampled_from([2, 10, 16]))
def test_any_text_has_a_verdict_and_forms(text: str, base: int) -> None:
    assert is_correct(text, base) == check([text] * FEW, base)[0] == verdict(text, base)
    form = canonical(text, base)
    assert canonical(form, base) == form
    assert is_correct(form, base) == is_correct(text, base)
    assert isinstance(skeleton(text, base) + to_latex(text, base) + to_sympy(text, base), str)


@settings(max_examples=200)
@given(st.text(SYMBOLS, max_size=MAX_SYMBOLS))
def test_no_text_takes_10_milliseconds(text: str) -> None:
    assert best_seconds(text) < 0.02


def test_batches_of_any_lengths_keep_their_order() -> None:
    texts = [*formulae(10), "1" + "+1" * 400 + "=401", ""] * 6
    assert check(texts).tolist() == [is_correct(text) for text in texts]
    for n in (0, 1, FEW - 1, FEW, FEW + 1):
        assert check(texts[:n]).tolist() == [is_correct(text) for text in texts[:n]]


# --- forms ----------------------------------------------------------------------------------------------------


def values(formula: str, base: int) -> list[int | None]:
    return [evaluate(side) for side in parse(formula, base)]


@in_bases
def test_a_canonical_form_has_the_same_values_and_the_same_numbers(base: int) -> None:
    for text in formulae(base):
        form = canonical(text, base)
        assert values(form, base) == values(text, base)
        assert canonical(form, base) == form
        assert len(form) <= len(text)
        assert sorted(c for c in form if c.isalnum()) == sorted(c for c in text if c.isalnum())


@pytest.mark.parametrize(
    ("equal", "form", "pattern"),
    [
        (["12+7=19", "7+12=19", "(12)+7=19"], "7+12=19", "#+#=#"),
        (["7-9+3=1", "3+7-9=1", "7+(3-9)=1", "3-9+7=1", "3+(7-9)=1"], "3+7-9=1", "#+#-#=#"),
        (["2*(3*4)=24", "4*3*2=24", "3*(4*2)=24"], "2*3*4=24", "#*#*#=#"),
        (["(4+1)*3=15", "3*(1+4)=15"], "3*(1+4)=15", "#*(#+#)=#"),
        (["3*(6/2)=9", "6/2*3=9"], "6/2*3=9", "#/#*#=#"),
        (["9-(2+1)=6", "9-(1+2)=6"], "9-(1+2)=6", "#-(#+#)=#"),
        (["-2+3=1", "3-2=1"], "3-2=1", "#-#=#"),
        (["5=3+2", "5=2+3"], "5=2+3", "#=#+#"),
        (["(2^3)^2=64"], "(2^3)^2=64", "(#^#)^#=#"),
        (["2^(3^2)=512", "2^3^2=512"], "2^3^2=512", "#^#^#=#"),
        (["1-(-2)=3"], "1-(-2)=3", "#-(-#)=#"),
        (["1+=2"], "1+=2", "#+=#"),
    ],
)
def test_canonical_forms_and_skeletons_by_hand(equal: list[str], form: str, pattern: str) -> None:
    assert {canonical(text) for text in equal} == {form}
    assert {skeleton(text) for text in equal} == {pattern}


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("3*(4+1)=15", r"3\cdot (4+1)=15"),
        ("2^10=1024", "2^{10}=1024"),
        ("2^3^2=512", "2^{3^{2}}=512"),
        ("(1+1)^(1+2^2)+1=33", "(1+1)^{(1+2^{2})}+1=33"),
        ("12/4-9=-6", "12/4-9=-6"),
        ("1^^2=1", r"\texttt{1\^{}\^{}2=1}"),
    ],
)
def test_latex_by_hand(formula: str, latex: str) -> None:
    assert to_latex(formula) == latex


def test_sympy_text_has_decimal_numbers() -> None:
    assert to_sympy("ff*2^a=3fc00", 16) == "Eq(255*2**10, 261120)"
    assert to_sympy("7-9=-2") == "Eq(7-9, -2)"
