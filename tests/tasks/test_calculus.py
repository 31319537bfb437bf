"""The calculus task: its data, masks and options, and the differentiator against SymPy."""

from collections import Counter
from itertools import islice, product
from pathlib import Path
from random import Random

import numpy as np
import pytest
import sympy
from numpy.typing import NDArray

from formula_env.checkers.calculus import Verdict, verdicts
from formula_env.checkers.calculus_forms import skeleton
from formula_env.checkers.calculus_proof import prove
from formula_env.checkers.calculus_syntax import FUNCTIONS, SYMBOLS, parse, write
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.scoring import score
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.calculus import Calculus
from formula_env.tasks.calculus_data import derivative, integral, num_trees, random_prefix, random_tree
from formula_env.tasks.calculus_rules import BINARY, differentiate
from formula_env.vocabulary import Tokens
from tests.checkers import calculus_oracle as oracle

GENERATORS = ("derivative", "integral")
both = pytest.mark.parametrize("generator", GENERATORS)


def is_legal(task: Calculus, tokens: Tokens) -> NDArray[np.bool_]:
    """Whether all symbols of formulae `(n, T)` are allowed by the masks, EOS included."""
    legal = np.ones(len(tokens), dtype=bool)
    for t, column in enumerate(tokens.T):
        rows = np.flatnonzero(legal & (column != task.vocabulary.pad))
        legal[rows] = task.legal_symbols(tokens[rows, :t])[np.arange(len(rows)), column[rows]]
    return legal


def is_read(text: str) -> bool:
    try:
        parse(text)
    except FormulaError:
        return False
    return True


def encode(task: Calculus, formulae: list[list[int]]) -> Tokens:
    """Lists of ids as tokens, ended by EOS."""
    eos = task.vocabulary.eos
    assert eos is not None
    tokens = np.full((len(formulae), task.max_length), task.vocabulary.pad)
    for row, ids in zip(tokens, formulae, strict=True):
        row[: len(ids) + 1] = [*ids, eos]
    return tokens


# --- masks ----------------------------------------------------------------------------------------------------


def test_masks_allow_exactly_what_the_parser_reads_among_all_short_sequences() -> None:
    task = Calculus(length=9)
    few = [SYMBOLS.index(symbol) for symbol in ("x", "0", "7", "-", "^", "sin(", "∫(", ")", "=")]
    for length in (3, 4, 5):
        formulae = [list(ids) for ids in product(few, repeat=length)]
        texts = ["".join(SYMBOLS[i] for i in ids) for ids in formulae]
        expected = [is_read(text) for text in texts]
        assert is_legal(task, encode(task, formulae)).tolist() == expected
        assert any(expected)
    assert is_read("∫(x)=7")


@pytest.mark.parametrize("length", [9, 24, 63])
def test_masks_allow_exactly_what_the_parser_reads_among_changed_formulae(length: int) -> None:
    task = Calculus(length=length)
    rng = np.random.default_rng(length)
    sample = [task.vocabulary.read(text) for text in task.decode(task.sample(300, rng))]
    sample += [task.vocabulary.read(text) for text in ("∫(x)=x^2/2", "(-x)^2=x", "-(x)=-x")]
    changed = []
    for ids in sample * 4:
        i, j = rng.integers(len(ids), size=2)
        new = [*ids[:i], *rng.integers(len(SYMBOLS), size=rng.integers(2)).tolist(), *ids[i + rng.integers(2) :]]
        new[j % len(new)] = new[i % len(new)]
        changed.append(new[:length])
    texts = ["".join(SYMBOLS[i] for i in ids) for ids in sample + changed]
    expected = [is_read(text) for text in texts]
    assert is_legal(task, encode(task, sample + changed)).tolist() == expected
    assert 0.05 < np.mean(expected[len(sample) :]) < 0.95


@pytest.mark.parametrize("length", [9, 24, 63])
def test_masked_random_episodes_are_read_and_end_in_time_at_every_depth(length: int) -> None:
    task = Calculus(length=length)
    rng = np.random.default_rng(0)
    vocabulary = task.vocabulary
    tokens = np.full((300, task.max_length), vocabulary.pad)
    going = np.ones(300, dtype=bool)
    preferred = np.array([1 + 5 * symbol.endswith("(") for symbol in (*SYMBOLS, "EOS")])  # nest deeply
    for t in range(task.max_length):
        legal = task.legal_symbols(tokens[:, :t])
        chosen = (legal * rng.random(legal.shape) * preferred).argmax(axis=1)
        tokens[going, t] = chosen[going]
        going &= chosen != vocabulary.eos
    assert not going.any()
    texts = task.decode(tokens)
    assert all(map(is_read, texts))
    depths = [max(np.cumsum([(c == "(") - (c == ")") for c in text])) for text in texts]
    assert max(depths) >= (length - 3) // 2 - 1
    assert any(text.startswith("∫(") for text in texts)


# --- data -----------------------------------------------------------------------------------------------------


@both
def test_samples_are_correct_short_and_follow_their_generator(generator: str) -> None:
    task = make_task("calculus", generator=generator)
    assert isinstance(task, Calculus)
    sample = task.sample(2_000, np.random.default_rng(1))
    assert task.is_correct(sample).all()
    assert not task.is_undecided(sample).any()
    texts = task.decode(sample)
    assert all(text.startswith({"derivative": "d(", "integral": "∫("}[generator]) for text in texts)
    lengths = (sample != task.vocabulary.pad).sum(axis=1) - 1
    assert lengths.max() == task.length
    assert len(set(texts)) > 800
    assert len(set(task.skeleton(texts))) > 300


@both
@pytest.mark.parametrize("length", [9, 63])
def test_the_shortest_and_the_longest_formulae_can_be_drawn(generator: str, length: int) -> None:
    task = make_task("calculus", generator=generator, length=length)
    assert task.is_correct(task.sample(20, np.random.default_rng(0))).all()


@both
def test_no_drawn_formula_is_wrong_and_few_are_undecided(generator: str) -> None:
    """Before the checker selects them. Some have no value, such as `d(x/0)=1/0`."""
    rng = Random(3)
    draws = (integral(rng) if generator == "integral" else derivative(rng, 24) for _ in range(10_000))
    texts = [text for text in islice(filter(None, draws), 3_000) if len(text) <= 60]
    found = Counter(each for each in verdicts(texts) if each is not None)
    assert found[Verdict.WRONG] == 0
    assert found[Verdict.UNDEFINED] < 0.06 * len(texts)
    assert found[Verdict.UNDECIDED] <= 0.001 * len(texts)


def test_counts_of_trees_and_of_those_that_fill_several_places() -> None:
    assert [num_trees(1, inner) for inner in range(5)] == [1, 2, 6, 22, 90]  # large Schröder numbers
    for places, inner in product((2, 3), range(5)):
        splits = (num_trees(1, k) * num_trees(places - 1, inner - k) for k in range(inner + 1))
        assert num_trees(places, inner) == sum(splits)


def test_trees_have_uniform_shapes_and_symbols() -> None:
    rng = Random(4)
    draws = 22 * 300
    prefixes = [random_prefix(rng, 3) for _ in range(draws)]
    arity = dict.fromkeys(FUNCTIONS, 1) | dict.fromkeys(BINARY, 2)
    shapes = Counter(tuple(arity.get(symbol, 0) for symbol in prefix) for prefix in prefixes)
    assert len(shapes) == 22
    chi_square = sum((count - 300) ** 2 / 300 for count in shapes.values())
    assert abs(chi_square - 21) < 5 * np.sqrt(2 * 21)
    symbols = Counter(symbol for prefix in prefixes for symbol in prefix)
    for kind in (FUNCTIONS, tuple(BINARY)):
        mean = sum(symbols[symbol] for symbol in kind) / len(kind)
        assert all(abs(symbols[symbol] - mean) < 5 * np.sqrt(mean) for symbol in kind)
    leaves = sum(symbols[symbol] for symbol in symbols if symbol not in arity)
    assert symbols["x"] / leaves == pytest.approx(0.6, abs=0.02)
    assert symbols["π"] / leaves == pytest.approx(0.05, abs=0.01)


def test_derivatives_are_those_of_sympy_and_of_finite_differences() -> None:
    rng = Random(5)
    checked = 0
    for _ in range(400):
        f = random_tree(rng, rng.randint(1, 5))
        ours, function = (oracle.Reader(write(each)).expression for each in (differentiate(f), f))
        try:
            ours, function = ours(), function()
        except (oracle.UndecidedError, TypeError, ValueError):
            continue
        step = sympy.Rational(1, 10**15)
        for point in oracle.POINTS[:2]:
            with oracle.mpmath.workdps(60):
                one, two = oracle.value(ours, point), oracle.value(sympy.diff(function, oracle.X), point)
                low, high = (oracle.value(function, point + sign * step) for sign in (-1, 1))
                if None in (one, two, low, high) or max(map(abs, (one, low, high))) > 1e6:
                    continue
                checked += 1
                scale = max(1, abs(one))
                assert abs(one - two) < 1e-30 * scale, write(f)
                assert abs((high - low) / (2 * oracle.mpmath.mpf(10) ** -15) - one) < 1e-4 * scale, write(f)
    assert checked > 300


def test_constants_and_x_keep_their_value_when_a_tree_is_simplified() -> None:
    """Polish notation read without any simplification has the value of the simplified tree."""
    rng = Random(6)
    checked = 0
    for _ in range(300):
        state = rng.getstate()
        prefix = random_prefix(rng, 4)
        rng.setstate(state)
        text = write(random_tree(rng, 4))
        plain = fully_parenthesised(prefix)
        (found,) = verdicts([f"{plain}={text}"])
        assert found is not Verdict.WRONG
        checked += found is Verdict.CORRECT
    assert checked > 240


def fully_parenthesised(prefix: list[str]) -> str:
    stack: list[str] = []
    for symbol in reversed(prefix):
        if symbol in BINARY:
            stack.append(f"({stack.pop()}){symbol}({stack.pop()})")
        else:
            stack.append(f"{symbol}{stack.pop()})" if symbol in FUNCTIONS else symbol)
    return stack[0]


@pytest.mark.exhaustive
@both
def test_20_000_distinct_formulae_are_drawn_for_training(generator: str) -> None:
    task = make_task("calculus", generator=generator)
    train, held_out = task.split(20_000, seed=0, held_out=1_000)
    assert len(np.unique(np.concatenate([train, held_out]), axis=0)) == 21_000
    assert task.is_correct(held_out).all()


@pytest.mark.exhaustive
@both
def test_sympy_proves_most_of_what_is_drawn(generator: str) -> None:
    task = make_task("calculus", generator=generator)
    texts = task.decode(task.sample(100, np.random.default_rng(8)))
    assert np.mean([prove(text) for text in texts]) > 0.9


# --- contract -------------------------------------------------------------------------------------------------


def test_verdicts_on_tokens() -> None:
    task = Calculus()
    tokens = task.encode(["d(x^2)=2*x", "∫(cos(x))=sin(x)+7", "d(x^2)=x", "x+exp(-exp(8))=x", "x=x"])
    assert task.is_correct(tokens).tolist() == [True, True, False, False, True]
    assert task.is_undecided(tokens).tolist() == [False, False, False, True, False]
    broken = tokens.copy()
    broken[0, 0] = SYMBOLS.index(")")
    broken[1, 1] = len(SYMBOLS)  # EOS
    broken[4, 3] = SYMBOLS.index("7")  # no EOS
    assert task.is_correct(broken).tolist() == [False, False, False, False, False]
    assert task.is_undecided(broken).tolist() == [False, False, False, True, False]
    assert task.is_correct(tokens[:0]).shape == (0,)


@both
def test_what_is_unknown_is_absent_and_the_distribution_is_stated(generator: str) -> None:
    task = make_task("calculus", generator=generator)
    assert task.count() is None
    assert not task.is_uniform
    assert not task.enumerable
    assert task.target() is None
    assert task.default_preset == "transformer"
    assert {"derivative": "random unary-binary trees", "integral": "known integrals"}[
        generator
    ] in task.distribution
    with pytest.raises(FormulaError, match="can't be listed; use sample"):
        task.enumerate()


def test_other_forms_of_the_task_are_those_of_the_formulae() -> None:
    task = Calculus()
    assert task.canonical(["x*2=2*x"]) == ["2*x=2*x"]
    assert task.skeleton(["x*2=2*x"]) == [skeleton("x*2=2*x")] == ["#*x=#*x"]
    assert task.to_latex("d(x)=1") == r"\frac{d}{dx}\left(x\right)=1"
    assert task.to_sympy("∫(x)=x^2/2") == "Eq(x, Derivative(((x**2)/2), x))"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 8}, "length must be at least 9, got 8"),
        ({"length": 64}, "length must be at most 63, got 64"),
        ({"length": 24.0}, "length must be int"),
        ({"generator": "backwards"}, "generator must be Literal"),
        ({"size": 3}, "unexpected keyword argument 'size'; there are: length, generator"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        make_task("calculus", **options)


def test_what_is_undecided_is_counted_in_metrics_and_scores(tmp_path: Path) -> None:
    texts = ["d(x^2)=2*x", "d(x^2)=x", *["x+exp(-exp(8))=x"] * 2]
    path = tmp_path / "identities.txt"
    path.write_text("\n".join([*texts[:1] * 10, *texts, "x-exp(8)+1=1-exp(8)+x"] * 5))
    of_file = make_task("formula-file", path=str(path), checker="calculus", tokens=" ".join(SYMBOLS))
    for task in (Calculus(), of_file):
        assert isinstance(task, SequenceTask)
        metrics = SequenceEvaluator(task)(task.encode(texts[:1] + texts[2:]))
        assert metrics["undecided"] == pytest.approx(2 / 3)
        assert metrics["accuracy"] == pytest.approx(1 / 3)
        found = score(texts, task)
        assert (found.correct.number, found.undecided and found.undecided.number) == (1, 2)
    equation = make_task("equation")
    assert isinstance(equation, SequenceTask)
    assert "undecided" not in SequenceEvaluator(equation)(equation.encode(["1+1=2"]))
    assert score(["1+1=2"], equation).undecided is None
