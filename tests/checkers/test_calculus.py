"""The calculus checker against SymPy and mpmath, by hand, and with hostile texts."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from time import perf_counter

import flint
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from formula_env.checkers import calculus_forms, find_checker, find_forms
from formula_env.checkers.calculus import Verdict, check, verdict, verdicts
from formula_env.checkers.calculus_forms import canonical, skeleton, to_latex, to_sympy
from formula_env.checkers.calculus_proof import expression, prove
from formula_env.checkers.calculus_syntax import (
    MAX_CHARACTERS,
    MAX_NODES,
    SYMBOLS,
    parse,
    tree,
    write,
    write_formula,
)
from formula_env.errors import FormulaError
from formula_env.tasks.calculus import Calculus
from tests.checkers import calculus_oracle as oracle

CORRECT = [
    "d(x^2)=2*x", "∫(cos(x))=sin(x)", "∫(cos(x))=sin(x)+7", "log(x^2)=2*log(x)", "sqrt(x^2)=x",
    "sin(x)^2+cos(x)^2=1", "exp(log(x))=x", "(x^2)^(1/2)=x", "x^x=exp(x*log(x))", "d(x^x)=x^x*(log(x)+1)",
    "∫(1/x)=log(x)", "∫(log(x))=x*log(x)-x", "d(d(x^3))=6*x", "d(d(d(d(x^4))))=24", "∫(d(x^2))=x^2", "0^0=1",
    "sqrt(0)=0", "sqrt(x-x)=0", "sin(π)=0", "e=exp(1)", "-x^2=-(x^2)", "2^3^2=512", "(-2)^3=-8", "1-2-3=-4",
    "12/3/2=2", "sqrt(x-2)^2=x-2", "log(1-x)=log(1-x)", "x^20/x^19=x", "d(7)=0", "d(d(x))=0", " d ( x ) = 1 ",
]  # fmt: skip
WRONG = [
    "d(x^2)=x", "exp(π)-π-20=0", "exp(π*sqrt(163))=262537412640768744", "sqrt((x-3)^2)=x-3", "x=x+1", "-x^2=x^2",
    "((x-3)^2)^(1/2)=x-3", "exp(log((x-3)^2)/2)=x-3", "sqrt((x-50)^2)=50-x", "∫(cos(x))=sin(x)+x", "1=2",
    "e^(-99)+x=x", "e^(-99)+1=1", "x^99=x^98", "2^3^2=64", "d(log(x))=1/x^2", "∫(2)=2", "1/3=333333333/10^9",
]  # fmt: skip
UNDEFINED = [
    "9^9^9^9=1", "9^9^9^9=9^9^9^9", "1/0=1/0", "log(0)=log(0)", "sqrt(-1)=sqrt(-1)",
    "log(-x)=log(-x)", "1/(x-x)=1/(x-x)", "x/0=x/0", "(-x)^(1/2)=(-x)^(1/2)", "d(1/0)=0",
    "d(log(0))=0", "d(log(0))=1", "d(x+sqrt(-2))=1", "d(x+sqrt(-2))=2", "∫(1)=x+log(-1)", "∫(2)=x+log(-1)",
]  # fmt: skip
UNDECIDED = [
    "10^(-9999)+1=1", "log(exp(exp(8))+x)=exp(8)", "d(x*exp(exp(8)))=exp(exp(8))", "x+exp(-exp(8))=x",
    "d(log(exp(exp(8))+x)+x)=1", "d(sin(x+exp(exp(8)))+x)=1",
]  # fmt: skip
NO_VERDICT = [*UNDEFINED, *UNDECIDED]
MALFORMED = {
    "": "one =", "x": "one =, not 0", "x=x=x": "one =, not 2", "=x": "a side is empty", "x=": "a side is empty",
    "(x=x": "not closed", "sin(x=x": r"a sin\( is not closed", "x)=x": r"a \) closes nothing", "xx=x": "stand",
    "x=()": "can't stand", "01=1": "01 has a leading zero", "x=y": "'y' is no symbol", "∫(∫(x))=x": "only begin",
    "2x=x": "x can't stand after 2", "x*-1=x": r"- can't stand after \*", "x+=x": r"can't end with \+",
    "*x=x": r"\* can't begin a side", "x=∫(x)": "only begin", "∫(x)+1=x": "only begin", "1+∫(x)=x": "only begin",
    "∫(x)+(x)=x": "closes nothing", "--x=x": "- can't stand after -", "∫x=x": "'∫' is no symbol",
    "__import__('os')=1": "is no symbol", "sin x=x": "is no symbol", "x=\0": "is no symbol",
    "x²=x": "is no symbol", "١=1": "is no symbol", "dx=1": "'d' is no symbol",
}  # fmt: skip


def well_formed(text: str) -> bool:
    try:
        parse(text)
    except FormulaError:
        return False
    return True


def generated(n: int, seed: int) -> list[str]:
    """n correct formulae: derivatives and integrals."""
    texts = []
    for generator in ("derivative", "integral"):
        task = Calculus(generator=generator)
        texts += task.decode(task.sample(n // 2, np.random.default_rng(seed)))
    return texts


def mutated(texts: list[str], n: int, seed: int) -> list[str]:
    """n well-formed formulae that differ from one of these in a symbol: replaced, left out, added or swapped."""
    rng = np.random.default_rng(seed)
    vocabulary = Calculus().vocabulary
    symbols, found = vocabulary.symbols, []
    while len(found) < n:
        ids = vocabulary.read(texts[rng.integers(len(texts))])
        i, new = rng.integers(len(ids)), int(rng.integers(len(symbols)))
        kind = rng.integers(4)
        if kind == 3 and i:
            ids[i - 1], ids[i] = ids[i], ids[i - 1]
        else:
            ids[i : i + (kind != 2)] = [new] if kind else []
        text = "".join(symbols[each] for each in ids)
        if well_formed(text):
            found.append(text)
    return found


# --- verdicts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", CORRECT)
def test_true_identities_are_correct(text: str) -> None:
    assert verdict(text) is Verdict.CORRECT


@pytest.mark.parametrize("text", WRONG)
def test_false_identities_are_wrong(text: str) -> None:
    assert verdict(text) is Verdict.WRONG


@pytest.mark.parametrize("text", UNDECIDED)
def test_what_has_no_moderate_value_is_undecided(text: str) -> None:
    assert verdict(text) is Verdict.UNDECIDED


@pytest.mark.parametrize("text", UNDEFINED)
def test_what_has_no_value_is_undefined(text: str) -> None:
    assert verdict(text) is Verdict.UNDEFINED


@pytest.mark.parametrize("text", ["d(x+exp(exp(8)))=1", "d(d(3-(x^2+9^exp(7))))=-2", "d(-(exp(4^10)-x)+x)=2"])
def test_constant_terms_of_what_is_differentiated_may_be_large(text: str) -> None:
    assert verdict(text) is Verdict.CORRECT
    assert verdict(f"{text}+10^(-60)") is Verdict.WRONG


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_text_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(FormulaError, match=MALFORMED[text]):
        verdict(text)


def test_batches_give_the_verdicts_of_single_formulae() -> None:
    texts = [*CORRECT, *WRONG, *NO_VERDICT, *MALFORMED]
    expected = [*map(verdict, [*CORRECT, *WRONG, *NO_VERDICT]), *(None for _ in MALFORMED)]
    assert verdicts(texts) == expected
    assert check(texts).tolist() == [each is Verdict.CORRECT for each in expected]
    assert check([]).shape == (0,)


def test_the_checker_and_its_forms_are_found_by_name() -> None:
    assert find_checker("calculus") is check
    assert find_forms("calculus") is calculus_forms


def compare(texts: list[str]) -> Counter[tuple[Verdict, bool | None]]:
    """How often each pair of the checker's and the oracle's verdict occurs; they never contradict each other."""
    found: Counter[tuple[Verdict, bool | None]] = Counter()
    for text, ours in zip(texts, verdicts(texts), strict=True):
        assert ours is not None
        theirs = oracle.is_correct(text)
        assert (ours, theirs) not in ((Verdict.CORRECT, False), (Verdict.WRONG, True)), text
        found[ours, theirs] += 1
    return found


def assert_agreement(n: int, seed: int) -> None:
    texts = generated(n, seed)
    found = compare(texts)
    assert found.keys() <= {(Verdict.CORRECT, True), (Verdict.CORRECT, None)}
    assert found[Verdict.CORRECT, True] > 0.99 * n
    found = compare(mutated(texts, n, seed))
    assert found[Verdict.WRONG, False] > 0.5 * n, "most changes make a formula wrong"
    assert found[Verdict.CORRECT, True] > 0.01 * n, "and some don't"
    unknown = (Verdict.UNDECIDED, Verdict.UNDEFINED)
    assert sum(found[ours, theirs] for ours in unknown for theirs in (True, False)) < 0.03 * n


def test_sympy_agrees_on_generated_and_mutated_formulae() -> None:
    assert_agreement(500, seed=1)


@pytest.mark.exhaustive
def test_sympy_agrees_on_many_generated_and_mutated_formulae() -> None:
    assert_agreement(10_000, seed=2)


def test_the_oracle_finds_what_is_known() -> None:
    assert all(oracle.is_correct("".join(text.split())) for text in CORRECT)
    assert not any(oracle.is_correct(text) for text in WRONG)
    assert oracle.is_correct("∫(x^exp(6))=exp(6)*x^(exp(6)-1)") is None  # all its values are tiny or huge


# --- work, threads, fuzz --------------------------------------------------------------------------------------

HOSTILE = [
    "9^9^9^9=1", "(" * 10**6, "x=" + "(" * 10**6, "d(" * 60 + "x^x" + ")" * 60 + "=1", "x=x" * 10**5,
    "^".join("x" * 31) + "=1", "d(" * 20 + "tan(exp(sin(x^x)))" + ")" * 20 + "=1", f"sin({'9' * 240})=1",
    "sin(exp(exp(exp(exp(exp(9))))))=1", f"{'9' * 200}^{'9' * 30}=1", f"x^{'9' * 200}=1", "9" * 10**6 + "=1",
    "tan(" * 40 + "x" + ")" * 40 + "=1", "d(" * 50 + "sqrt(x)" + ")" * 50 + "=x", "\ud800=1", "\0" * 100,
    "d(" * 28 + "x^x^x^x^x^x^x" + ")" * 28 + "=0^x",
]  # fmt: skip


def seconds(text: str) -> float:
    """Time of a verdict: the least of three, as the machine may be busy."""
    times = []
    for _ in range(3):
        start = perf_counter()
        verdicts([text])
        times.append(perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_costs_more_than_10_milliseconds(text: str) -> None:
    assert seconds(text) < 0.01


def test_size_is_bounded() -> None:
    assert MAX_NODES == 64
    assert verdict("+".join("x" * 31) + "=31*x") is Verdict.CORRECT  # 61 + 3 nodes
    with pytest.raises(FormulaError, match="at most 64 numbers, operators and functions, not 65"):
        parse("+".join("x" * 31) + "=31*sin(x)")
    assert well_formed("1" * (MAX_CHARACTERS - 2) + "=1")
    with pytest.raises(FormulaError, match="at most 256 characters, this one has 257"):
        parse("1" * (MAX_CHARACTERS - 1) + "=1")


def test_threads_get_the_same_verdicts_and_flint_keeps_its_settings() -> None:
    texts = [*CORRECT, *WRONG, *NO_VERDICT] * 20
    before = flint.ctx.prec, flint.ctx.cap
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(verdicts, [texts] * 4))
    assert all(result == verdicts(texts) for result in results)
    assert (flint.ctx.prec, flint.ctx.cap) == before


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*SYMBOLS, "=", "x"]), max_size=40).map("".join) | st.text(max_size=40))
def test_any_text_has_a_verdict_or_is_refused(text: str) -> None:
    if well_formed(text):
        assert isinstance(verdict(text), Verdict)
        assert canonical(canonical(text)) == canonical(text)
    else:
        assert verdicts([text]) == [None]
        assert canonical(text) == text


expressions = st.recursive(
    st.sampled_from(["x", "0", "7", "12", "π", "e"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["((", "(-(", "(sin(", "(d("]), inner, st.just("))")).map("".join),
        st.tuples(inner, st.sampled_from("+-*/^"), inner).map("".join),
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(expressions, expressions)
def test_what_is_written_is_read_as_the_same_trees_without_needless_parentheses(left: str, right: str) -> None:
    formula = parse(f"{left}={right}")
    one, two = tree(formula.left), tree(formula.right)
    text = write_formula(one, two)
    again = parse(text)
    assert (again.left, again.right) == (formula.left, formula.right)
    assert len(text) <= len(left) + len(right) + 1
    for i, opening in enumerate(text):
        if opening == "(" and (i == 0 or not text[i - 1].isalpha()):
            assert parse_without_pair(text, i) != (formula.left, formula.right)


def parse_without_pair(text: str, i: int) -> object:
    """Both sides without the parenthesis at i and its partner; None if that is not well-formed."""
    depth, j = 1, i
    while depth:
        j += 1
        depth += {"(": 1, ")": -1}.get(text[j], 0)
    shorter = text[:i] + text[i + 1 : j] + text[j + 1 :]
    return tuple(parse(shorter)[:2]) if well_formed(shorter) else None


# --- other forms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "hidden"),
    [
        ("d(x+2)=1", "d(2+x)=1", "d(#+x)=#"),
        ("(x)*(3)=((3*x))", "3*x=3*x", "#*x=#*x"),
        ("x-(2-e)=e+x-2", "e+x-2=e+x-2", "e+x-#=e+x-#"),
        ("-(1-x)=x-1", "x-1=x-1", "x-#=x-#"),
        ("-2-1=-1-2", "-1-2=-1-2", "-#-#=-#-#"),
        ("-(-x)=x", "x=x", "x=x"),
        ("x/(2/π)=π*x/2", "x*π/2=x*π/2", "x*π/#=x*π/#"),
        ("1/(x*2)=1/2/x", "1/2/x=1/2/x", "#/#/x=#/#/x"),
        ("∫(x*2)=x^2", "∫(2*x)=x^2", "∫(#*x)=x^#"),
        ("12+x*3=x+13", "12+3*x=13+x", "#+#*x=#+x"),
        ("x*sin(x+1)=2", "sin(1+x)*x=2", "sin(#+x)*x=#"),
        ("x^(2-1)^3=x", "x^(2-1)^3=x", "x^(#-#)^#=x"),
    ],
)
def test_canonical_forms_and_skeletons_by_hand(text: str, form: str, hidden: str) -> None:
    assert canonical(text) == form
    assert skeleton(text) == hidden


def test_a_canonical_form_has_the_same_verdict_and_is_not_longer() -> None:
    texts = generated(400, seed=3)
    texts += mutated(texts, 400, seed=3)
    forms = [canonical(text) for text in texts]
    assert verdicts(forms) == verdicts(texts)
    for text, form in zip(texts, forms, strict=True):
        assert len(form) <= len(text)
        assert canonical(form) == form
        assert skeleton(form) == skeleton(text)
        assert not set(skeleton(text)) & set("0123456789")


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["x", "2", "sin(x)", "x^2", "e*x", "x/2", "π"]), min_size=1, max_size=4), st.data()
)
def test_the_order_of_terms_and_factors_does_not_matter(parts: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(parts))
    for symbol in "+*":
        assert canonical(f"{symbol.join(parts)}=1") == canonical(f"{symbol.join(shuffled)}=1")
        grouped = f"{symbol}(".join(parts) + ")" * (len(parts) - 1)
        assert canonical(f"{grouped}=1") == canonical(f"{symbol.join(parts)}=1")


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("d(x^2)=2*x", r"\frac{d}{dx}\left(x^{2}\right)=2 \cdot x"),
        ("∫(1/x)=log(x)", r"\int \frac{1}{x}\,dx=\log\left(x\right)"),
        ("∫(1-x)=x-x^2/2", r"\int \left(1-x\right)\,dx=x-\frac{x^{2}}{2}"),
        ("sqrt(π)*e=(x+1)^(-2)", r"\sqrt{\pi} \cdot e=\left(x+1\right)^{-2}"),
        ("(1/x)^2=-(x+1)", r"\left(\frac{1}{x}\right)^{2}=-\left(x+1\right)"),
        ("sin(x)^2=1-(x-2)", r"\sin\left(x\right)^{2}=1-\left(x-2\right)"),
        ("2*(x/3)=x*(1+x)", r"2 \cdot \frac{x}{3}=x \cdot \left(1+x\right)"),
        ("x^=", r"\texttt{x\^{}=}"),
    ],
)
def test_latex_by_hand(text: str, latex: str) -> None:
    assert to_latex(text) == latex


def test_sympy_texts_are_read_as_the_oracle_reads_the_formula() -> None:
    texts = generated(200, seed=4)
    for text in texts:
        equation = sympy.sympify(to_sympy(text), evaluate=False)  # pyright: ignore[reportCallIssue]
        for ours, theirs in zip(equation.args, oracle.sides(text), strict=True):
            read = ours.doit().subs(sympy.Symbol("x"), oracle.X)
            for point in oracle.POINTS[:2]:
                one, two = oracle.value(read, point), oracle.value(theirs, point)
                assert (one is None) == (two is None)
                assert one is None or abs(one - two) < 1e-12 * max(1, abs(one))
    with pytest.raises(FormulaError, match="a side is empty"):
        to_sympy("x=")


def test_proofs_are_found_for_identities_and_for_nothing_else() -> None:
    for text in ("d(x^2)=2*x", "∫(cos(x))=sin(x)+1", "log(x^2)=2*log(x)", "sin(x)^2+cos(x)^2=1", "e=exp(1)"):
        assert prove(text)
    for text in (*WRONG, *NO_VERDICT):
        assert not prove(text)
    with pytest.raises(FormulaError):
        prove("__import__('os')=1")


def test_proofs_are_about_the_formula_that_was_read() -> None:
    for text in generated(100, seed=5):
        formula = parse(text)
        right = expression(formula.right)
        ours = (expression(formula.left), sympy.diff(right, oracle.X) if formula.is_integral else right)
        assert ours == oracle.sides(text)


def test_every_short_sequence_is_read_as_the_oracle_grammar_allows() -> None:
    """Against a regular description of expressions without nesting of depth 2."""
    number, leaf = "(?:0|[12][012]*)", "x"
    atom = f"(?:{number}|{leaf})"
    flat = f"-?{atom}(?:[-^]{atom})*"
    inner = rf"(?:{atom}|\({flat}\))"
    expected = re.compile(f"-?{inner}(?:[-^]{inner})*=-?{inner}(?:[-^]{inner})*")
    for length in range(1, 7):
        for symbols in product("x02-^()=", repeat=length):
            text = "".join(symbols)
            if "((" not in text:
                assert well_formed(text) == bool(expected.fullmatch(text)), text
    assert write(tree(parse("1-(x)=0").left)) == "1-x"
