"""The checker of Boolean formulae against recursive descent with bools, and batches against single formulae."""

import random
from itertools import product
from time import process_time

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.logic.inference import satisfiable

from formula_env.checkers import find_checker, find_forms
from formula_env.checkers.batches import FEW
from formula_env.checkers.boolean import (
    ALPHABET,
    TRUTH_TABLES,
    VARIABLES,
    check,
    check_codes,
    is_correct,
    parse,
    truth_table,
    truth_tables,
)
from formula_env.checkers.boolean_forms import canonical, equal_forms, skeleton, to_latex, to_sympy
from formula_env.checkers.equation_forms import MAX_FORMS
from formula_env.checkers.expression import MAX_SYMBOLS
from formula_env.errors import FormulaError
from tests.checkers.boolean_oracle import (
    Reader,
    random_formula,
    random_text,
    random_tree,
    reordered,
    value,
    verdict,
)
from tests.checkers.equation_oracle import mutated

SYMBOLS = ALPHABET.symbols


def formulae(n: int = 10_000, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [random_formula(rng) for _ in range(n)]


def assert_verdicts(texts: list[str], lowest: float, highest: float) -> None:
    """Both checks agree with the oracle, and the share of correct formulae is in this range."""
    expected = [verdict(text) for text in texts]
    assert lowest < np.mean(expected) < highest
    assert [is_correct(text) for text in texts] == expected
    assert check(texts).tolist() == expected


def test_generated_formulae_get_the_verdicts_of_another_evaluator() -> None:
    assert_verdicts(formulae(), 0.3, 0.7)


def test_mutated_formulae_get_the_verdicts_of_another_evaluator() -> None:
    rng = random.Random(1)
    assert_verdicts([mutated(rng, formula, SYMBOLS) for formula in formulae()], 0.05, 0.5)


def test_all_short_texts_get_the_verdicts_of_another_evaluator() -> None:
    texts = ["".join(symbols) for n in range(5) for symbols in product("ab~&|>=()", repeat=n)]
    assert_verdicts(texts, 0.001, 0.1)


@pytest.mark.parametrize("symbols", [SYMBOLS, "a~>=", "ab&|()", "a(~)=", "ab>=>"])
def test_random_symbols_get_the_same_verdict_in_batches(symbols: str) -> None:
    rng = random.Random(2)
    texts = ["".join(rng.choices(symbols, k=rng.randint(0, 9))) for _ in range(20_000)]
    assert check(texts).tolist() == [is_correct(text) for text in texts]


def test_tokens_in_any_order_get_the_verdict_of_their_text() -> None:
    """A token array may hold an end in the middle: what follows an end makes a formula incorrect."""
    symbols = [*"ab~|>=()", ""]
    tokens = np.random.default_rng(3).integers(len(symbols), size=(50_000, 6))
    verdicts = check_codes(ALPHABET.codes_of(symbols)[tokens])
    assert verdicts.any()
    for row, found in zip(tokens, verdicts.tolist(), strict=True):
        text = "".join(symbols[token] or " " for token in row).rstrip()
        assert found == (" " not in text and is_correct(text))


def test_each_bit_of_a_truth_table_is_the_value_under_its_assignment() -> None:
    assignments = [
        {variable: bool(table >> bit & 1) for variable, table in zip(VARIABLES, TRUTH_TABLES, strict=True)}
        for bit in range(32)
    ]
    assert len({tuple(assignment.values()) for assignment in assignments}) == 32
    texts = formulae(1_000)
    codes = np.full((len(texts), max(map(len, texts))), ALPHABET.end, dtype=np.int8)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = ALPHABET.codes_of(text)
    for text, table in zip(texts, truth_tables(codes).tolist(), strict=True):
        tree = Reader(text).whole()
        values = [value(tree, assignment) for assignment in assignments]
        assert [bool(table >> bit & 1) for bit in range(32)] == values
        assert truth_table(parse(text)) == table


@pytest.mark.parametrize(
    "formula",
    ["a>a", "a|~a", "a&b>a", "~(a&b)=~a|~b", "a>b>a", "((a>b)>a)>a", "~~a=a", "a=b=b=a", "(e>e)", " a > a\t\n",
     "a&b|c=(a&b)|c", "a|b>c=(a|b)>c", "a>b>c=(a>(b>c))", "(a>b=c)=((a>b)=c)", "~a&b=(~a)&b", "a=b=c=(a=(b=c))"],
)  # fmt: skip
def test_these_are_correct(formula: str) -> None:
    assert is_correct(formula)
    assert check([formula] * FEW).all()


@pytest.mark.parametrize(
    "formula",
    ["a", "~a", "a>b", "a=b", "a&~a", "~(a|~a)", "a|b", "(a>b)>a", "a>b>c=((a>b)>c)", "a|b&c=(a|b)&c",
     "~a&b=~(a&b)", "a>b=c=(a>(b=c))", "a|b|c|d|e", "a&b&c&d>e", "a=b=a"],
)  # fmt: skip
def test_these_are_well_formed_but_not_correct(formula: str) -> None:
    parse(formula)
    assert not is_correct(formula)
    assert not check([formula] * FEW).any()


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("", "the formula is empty"),
        ("a>", "a formula can't end with >"),
        ("~", "a formula can't end with ~"),
        ("(", r"a formula can't end with \("),
        (">a", "> can't begin a formula"),
        (")a>a", r"\) can't begin a formula"),
        ("()", r"\) can't stand after \("),
        ("(a>a", r"a \( is not closed"),
        ("a>a)", r"a \) closes nothing"),
        ("a>a)(", r"a \) closes nothing"),
        ("ab>a", "b can't stand after a"),
        ("a>>a", "> can't stand after >"),
        ("a~>a", "~ can't stand after a"),
        ("a>a~", "~ can't stand after a"),
        ("(a)(a)>a", r"\( can't stand after \)"),
        ("(a)a>a", r"a can't stand after \)"),
        ("f>f", "'f' is no symbol of Boolean formulae"),
        ("A>A", "'A' is no symbol"),
        ("a>a\0", "is no symbol"),
        ("a>a\ud800", "is no symbol"),
        ("__import__('os')", "'_' is no symbol"),
        ("a>a" + " " * 1_000, "a formula has at most 1,000 symbols, this one has 1,003"),
    ],
)
def test_what_is_not_well_formed_is_not_correct(formula: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        parse(formula)
    assert not is_correct(formula)
    assert not check([formula] * FEW).any()


HOSTILE = [
    "(" * 10**6, "(" * 498 + "a>a" + ")" * 499, "(" * 498 + "a>a" + ")" * 498, "~" * 10**6 + "a",
    "~" * 994 + "(a>a)", "a" + ">a" * 10**6, "a" + ">a" * 499, "a" + "=a" * 498, "(a>" * 249 + "a" + ")" * 249,
    "a&" * 498 + "a>a", "a" + "&(b" * 249 + ")" * 249, "~(a|" * 199 + "a" + ")" * 199, ")" * 10**6, "\0" * 10**6,
    " " * 10**6 + "a>a",
]  # fmt: skip


def best_seconds(formula: str) -> float:
    """The shortest of three CPU times that both verdicts take, and all forms unless the text is too long."""
    forms = (canonical, skeleton, to_latex, to_sympy) if len(formula) <= MAX_SYMBOLS else ()
    times = []
    for _ in range(3):
        start = process_time()
        assert is_correct(formula) == check([formula])[0]
        assert all(isinstance(form(formula), str) for form in forms)
        times.append(process_time() - start)
    return min(times)


@pytest.mark.parametrize("formula", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_cost_nothing(formula: str) -> None:
    assert best_seconds(formula) < 0.02
    assert check([formula] * FEW).tolist() == [is_correct(formula)] * FEW


def test_some_long_texts_are_correct() -> None:
    assert [formula for formula in HOSTILE if is_correct(formula)] == [HOSTILE[i] for i in (2, 4, 6, 8, 9)]


texts = st.text() | st.text(SYMBOLS + " ", max_size=60)


@settings(max_examples=400)
@given(texts)
def test_any_text_has_a_verdict_and_forms(text: str) -> None:
    assert is_correct(text) == check([text] * FEW)[0] == verdict(text)
    form = canonical(text)
    assert canonical(form) == form
    assert is_correct(form) == is_correct(text)
    assert isinstance(skeleton(text) + to_latex(text) + to_sympy(text), str)


@settings(max_examples=100)
@given(st.text(SYMBOLS, max_size=MAX_SYMBOLS))
def test_no_text_takes_long(text: str) -> None:
    assert best_seconds(text) < 0.02


def test_batches_of_any_lengths_keep_their_order() -> None:
    texts = [*formulae(2_000), "a" + ">a" * 400, ""] * 6
    assert check(texts).tolist() == [is_correct(text) for text in texts]
    for n in (0, 1, FEW - 1, FEW, FEW + 1):
        assert check(texts[:n]).tolist() == [is_correct(text) for text in texts[:n]]
    assert not check_codes(np.zeros((3, 0), dtype=np.int8)).any()


def test_a_file_of_formulae_finds_the_checker_and_its_forms_by_name() -> None:
    assert find_checker("boolean")(["a>a", "a"]).tolist() == [True, False]
    forms = find_forms("boolean")
    assert forms is not None
    assert forms.canonical("(b|a)") == "a|b"


# --- forms ----------------------------------------------------------------------------------------------------


def test_a_canonical_form_has_the_same_truth_table_and_variables() -> None:
    for text in formulae(3_000):
        form = canonical(text)
        assert truth_table(parse(form)) == truth_table(parse(text))
        assert canonical(form) == form
        assert len(form) <= len(text)
        assert sorted(c for c in form if c not in "()") == sorted(c for c in text if c not in "()")


def test_order_grouping_and_needless_parentheses_make_no_difference_to_a_canonical_form() -> None:
    rng = random.Random(4)
    changed = 0
    for _ in range(2_000):
        tree = random_tree(rng, rng.randrange(7), "abc")
        one, two = random_text(rng, tree), random_text(rng, reordered(rng, tree))
        assert Reader(one).whole() == tree
        assert canonical(one) == canonical(two)
        changed += one != two
    assert changed > 1_000


def test_no_parentheses_of_a_canonical_form_are_needless() -> None:
    """Without any pair of them the formula is another one, also if its operands are grouped otherwise."""
    for text in formulae(2_000):
        form = canonical(text)
        opened: list[int] = []
        for i, symbol in enumerate(form):
            if symbol == "(":
                opened.append(i)
            elif symbol == ")":
                start = opened.pop()
                assert canonical(form[:start] + form[start + 1 : i] + form[i + 1 :]) != form


def test_names_of_variables_make_no_difference_to_a_skeleton() -> None:
    rng = random.Random(5)
    renamed = 0
    for text in formulae(3_000):
        names = str.maketrans(VARIABLES, "".join(rng.sample(VARIABLES, k=5)))
        assert skeleton(text.translate(names)) == skeleton(text)
        renamed += canonical(text.translate(names)) != canonical(text).translate(names)
    assert renamed > 100, "the control: the order of a canonical form does depend on names"


@pytest.mark.parametrize(
    ("equal", "form", "pattern"),
    [
        (["b|a", "a|b", "(b)|a", "((b|a))"], "a|b", "#|#"),
        (["c&(b&a)", "(a&c)&b"], "a&b&c", "#&#&#"),
        (["a=b=c", "c=(b=a)"], "a=b=c", "#=#=#"),
        (["a>(b>c)", "a>b>c"], "a>b>c", "#>#>#"),
        (["(a>b)>c"], "(a>b)>c", "(#>#)>#"),
        (["b|a&c", "(c&a)|b"], "b|a&c", "#|#&#"),
        (["(b|a)&c", "c&(a|b)"], "c&(a|b)", "#&(#|#)"),
        (["~(~a)", "~~a"], "~~a", "~~#"),
        (["~(b&a)"], "~(a&b)", "~(#&#)"),
        (["(b>a)&(a|b)", "(b|a)&(b>a)"], "(b>a)&(a|b)", "(#>#)&(#|#)"),
        (["a>"], "a>", "#>"),
    ],
)
def test_canonical_forms_and_skeletons_by_hand(equal: list[str], form: str, pattern: str) -> None:
    assert {canonical(text) for text in equal} == {form}
    assert {skeleton(text) for text in equal} == {pattern}


def test_equal_forms_have_one_canonical_form_and_are_not_longer() -> None:
    number = []
    for text in formulae(1_000):
        forms = equal_forms(text)
        assert forms[0] == text
        assert len(set(forms)) == len(forms) <= MAX_FORMS + 1
        assert {canonical(form) for form in forms} == {canonical(text)}
        assert max(map(len, forms)) == len(text)
        number.append(len(forms))
    assert max(number) == MAX_FORMS + 1


@pytest.mark.parametrize(
    ("formula", "forms"),
    [
        ("a&b>c", {"a&b>c", "b&a>c"}),
        ("a>b", {"a>b"}),
        ("(a|b)&~c", {"(a|b)&~c", "(b|a)&~c", "~c&(a|b)", "~c&(b|a)"}),
        ("(a>b)>a=b", {"(a>b)>a=b", "b=(a>b)>a"}),
        ("~(a&b)", {"~(a&b)", "~(b&a)"}),
        ("a&", {"a&"}),
    ],
)
def test_equal_forms_by_hand(formula: str, forms: set[str]) -> None:
    assert set(equal_forms(formula)) == forms


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("~(a&b)=~a|~b", r"\lnot (a \land b) \leftrightarrow \lnot a \lor \lnot b"),
        ("a > b > a", r"a \to b \to a"),
        ("a&|~b", r"\texttt{a\&\textbar{}\textasciitilde{}b}"),
    ],
)
def test_latex_by_hand(formula: str, latex: str) -> None:
    assert to_latex(formula) == latex


def test_sympy_text_by_hand() -> None:
    assert to_sympy("~(a&b)=~a|~b") == "Equivalent(~(a & b), ~a | ~b)"
    assert to_sympy("a&(b|c)>a>b") == "Implies(a & (b | c), Implies(a, b))"


def test_sympy_agrees_with_the_checker() -> None:
    texts = formulae(150)
    assert 30 < sum(map(is_correct, texts)) < 120
    for text in texts:
        is_tautology = satisfiable(sympy.Not(sympy.sympify(to_sympy(text)))) is False
        assert is_tautology == is_correct(text)
