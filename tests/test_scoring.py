"""Scores of formulae of any origin, against a count by hand in plain Python."""

import json
import re
import shlex
import time
from itertools import groupby
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import formula_env
from formula_env import scoring
from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.scoring import Score, score, share
from formula_env.tasks import SequenceTask, make_task
from tests.helpers import every_task, name_of

EQUATION = make_task("equation", length=9)
NUMBER = "(0|[1-9][0-9]*)"
SUMS = [f"{a}+{b}={a + b}" for a in range(40) for b in range(40)]


def is_valid(text: str) -> bool:
    """`a+b=c` with a, b up to 99, in at most 9 symbols."""
    found = re.fullmatch(rf"{NUMBER}\+{NUMBER}={NUMBER}", text, re.ASCII)
    return found is not None and len(text) <= 9 and max(int(found[1]), int(found[2])) <= 99


def is_correct(text: str) -> bool:
    a, b, c = map(int, re.findall("[0-9]+", text)) if is_valid(text) else (0, 0, 1)
    return a + b == c


def canonical(text: str) -> str:
    left, right = text.split("=")
    return f"{'+'.join(sorted(left.split('+'), key=lambda number: (len(number), number)))}={right}"


texts = st.one_of(
    st.sampled_from(SUMS[:90]),
    st.from_regex(r"[019]{1,3}\+[019]{1,2}=[0129]{1,3}", fullmatch=True),
    st.text("0159+-=( \u0661\x00", max_size=12),
)


@given(st.lists(texts, min_size=1, max_size=30), st.lists(st.sampled_from(SUMS[:90]), min_size=1, max_size=5))
def test_every_entry_is_what_is_counted_by_hand(formulae: list[str], training: list[str]) -> None:
    result = score(formulae, EQUATION, training)
    plain = ["".join(text.split()) for text in formulae]
    correct = [text for text in plain if is_correct(text)]
    novel = [text for text in correct if text not in training]
    forms = [canonical(text) for text in correct]
    known_forms = {canonical(text) for text in training}
    assert result.num == len(formulae)
    assert result.valid.number == sum(map(is_valid, plain))
    assert result.correct.number == len(correct)
    assert result.novel is not None
    assert result.novel.number == len(novel)
    assert result.canonical_novel is not None
    assert result.canonical_novel.number == sum(form not in known_forms for form in forms)
    assert (result.distinct, result.distinct_novel) == (len(set(correct)), len(set(novel)))
    assert (result.distinct_canonical, result.skeletons) == (len(set(forms)), len(set(correct)) > 0)
    assert (result.count, result.coverage) == (10_000, len(set(correct)) / 10_000)
    assert result.unique_1k is result.unique_10k is None
    read = sorted((text for text in plain if re.fullmatch("[0-9+=]{0,9}", text, re.ASCII)), key=len)
    by_hand = [
        (length, len(group), sum(map(is_valid, group)), sum(map(is_correct, group)))
        for length, each in groupby(read, key=len)
        if (group := list(each))
    ]
    found = [(row.length, row.valid.of, row.valid.number, row.correct.number) for row in result.lengths]
    assert found == by_hand
    assert all(row.correct.of == row.valid.of for row in result.lengths)


def test_uniqueness_is_that_of_the_first_correct_ones() -> None:
    """Of 10,400 correct ones: 800 different among the first 1,000, and no new one behind; wrong ones between."""
    first = [*SUMS[:800], *SUMS[:200]]
    formulae = [text for each in [*first, *(SUMS[:100] * 94)] for text in (each, "1+1=3")]
    result = score(formulae, EQUATION)
    assert (result.unique_1k, result.unique_10k) == (0.8, 0.08)
    assert result.correct.number == 10_400
    fewer = score(formulae[: 2 * 999], EQUATION)
    assert (fewer.unique_1k, fewer.unique_10k) == (None, None)
    assert {"unique_1k", "unique_10k", "novel", "distinct_novel"}.isdisjoint(fewer.to_dict())


def test_the_order_decides_uniqueness_alone_and_batches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    formulae = [*SUMS[::7], *SUMS[:50], "1+1=", "1+2=4", "x", ""]
    whole = score(formulae, EQUATION, SUMS[::5])
    assert score(formulae[::-1], EQUATION, SUMS[::5][::-1]) == whole
    monkeypatch.setattr(scoring, "BATCH", 7)
    assert score(formulae, EQUATION, SUMS[::5]) == whole
    monkeypatch.setattr(scoring, "MAX_LEGAL", 1)
    assert score(formulae, EQUATION, SUMS[::5]) == whole


@pytest.mark.parametrize(
    ("number", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_intervals_are_wilsons(number: int, of: int, low: float, high: float) -> None:
    """As in tables of it."""
    found = share(number, of)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 10**7), st.data())
def test_an_interval_ends_where_the_score_test_would_reject(of: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, of))
    found = share(number, of)
    assert 0 <= found.low <= found.share <= found.high <= 1
    for end in (found.low, found.high):
        if 0 < end < 1:
            deviations = abs(end - number / of) / sqrt(end * (1 - end) / of)
            assert deviations == pytest.approx(1.96, abs=1e-3)


def test_an_ideal_generator_has_the_ideal_coverage() -> None:
    """Within three standard errors, over 30 samples of as many formulae as there are correct ones."""
    task = make_task("binary-sum", length=8)
    rng = np.random.default_rng(0)
    scores = [score(task.decode(task.sample(70, rng)), task) for _ in range(30)]
    coverages = [each.distinct / 70 for each in scores]
    assert coverages == [each.coverage for each in scores]
    ideal = scores[0].ideal_coverage
    assert ideal == pytest.approx(1 - (69 / 70) ** 70)
    assert np.mean(coverages) == pytest.approx(ideal, abs=3 * float(np.std(coverages)) / sqrt(30))


def test_a_file_is_its_own_training_set(tmp_path: Path) -> None:
    """Its training lines, without those held out; another training set takes their place."""
    (tmp_path / "lines.txt").write_text("\n".join(SUMS[:100]))
    task = make_task("formula-file", path=str(tmp_path / "lines.txt"), checker="equation", held_out_size=30)
    result = score(SUMS[:150], task)
    assert result.valid.number == 150
    assert result.novel is not None
    assert result.novel.number == 50 + 30
    assert (result.count, result.coverage, result.ideal_coverage) == (None, None, None)
    other = score(SUMS[:150], task, SUMS[:1]).novel
    assert other is not None
    assert other.number == 149


@pytest.mark.parametrize("task", every_task(), ids=name_of)
@given(st.lists(st.one_of(st.text(max_size=12), st.text("01+-=x", max_size=9)), min_size=1, max_size=8))
def test_any_text_has_a_score(task: SequenceTask, formulae: list[str]) -> None:
    result = score(formulae, task, formulae[:1])
    assert result.correct.number <= result.valid.number <= result.num == len(formulae)
    assert result.distinct <= result.correct.number
    assert sum(row.valid.number for row in result.lengths) == result.valid.number
    assert sum(row.correct.number for row in result.lengths) == result.correct.number
    assert json.loads(json.dumps(result.to_dict()))["num"] == len(formulae)


@pytest.mark.parametrize("task", every_task(), ids=name_of)
def test_what_the_task_samples_is_correct(task: SequenceTask) -> None:
    formulae = task.decode(task.sample(50, np.random.default_rng(0)))
    result = score(formulae, task)
    assert (result.valid.number, result.correct.number) == (50, 50)
    assert result.distinct == len(set(formulae))


def test_hostile_formulae_cost_nothing() -> None:
    task = make_task("equation", operators="+^", length=20, operands=4, largest=9)
    hostile = ["(" * 10**6, "9^9^9^9=1", "__import__('os').system('touch hostile')", "9" * 10**6, "=" * 1_000]
    began = time.process_time()
    result = score(hostile, task)
    assert time.process_time() - began < 5
    assert result.correct.number == 0
    assert not Path("hostile").exists()


BAD: list[tuple[object, object, object, str]] = [
    ("1+1=2", EQUATION, None, "formulae must be strings"),
    (["1+1=2", 2], EQUATION, None, "formulae must be strings"),
    ([], EQUATION, None, "formulae must be at least one formula, got none"),
    (["1+1=2"], EQUATION, [], "training must be at least one formula, got none"),
    (["1+1=2"], EQUATION, "1+1=2", "training must be strings"),
    (["1+1=2"], "equation", None, "score needs a task of symbols, such as make_task"),
    (5, EQUATION, None, "formulae must be strings"),
]


@pytest.mark.parametrize(("formulae", "task", "training", "message"), BAD)
def test_wrong_arguments_are_refused_in_one_line(formulae: Any, task: Any, training: Any, message: str) -> None:
    with pytest.raises(FormulaError, match=message) as told:
        score(formulae, task, training)
    assert "\n" not in str(told.value)


def test_it_is_a_function_of_the_package() -> None:
    assert formula_env.score is score
    assert isinstance(formula_env.score(["1+1=2"], EQUATION), Score)


# --- command --------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A file of formulae, and the training file, which is a table."""
    monkeypatch.chdir(tmp_path)
    formulae = ["1+2=3", "2+1=3", "1+2=4", "99+1=100", "1+1=", "hello"]
    (tmp_path / "mine.txt").write_bytes(("\ufeff" + "\r\n".join(formulae)).encode())
    (tmp_path / "known.csv").write_text("n,formula\n1,1+2=3\n")
    return formulae


COMMAND = shlex.split("score mine.txt --task equation --training known.csv --training-column formula")


def test_the_command_scores_a_file(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--json"]) == 0
    out, err = capsys.readouterr()
    expected = score(files, make_task("equation"), ["1+2=3"])
    assert json.loads(out) == json.loads(json.dumps(expected.to_dict()))
    assert err == ""
    assert (expected.valid.number, expected.correct.number, expected.distinct_novel) == (4, 3, 2)


def test_the_table_shows_the_score(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(COMMAND) == 0
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["valid", "66.67%", "[30.00, 90.32]", "well-formed"] in rows
    assert ["coverage", "0.03%", "", "of all 10,000 correct formulae"] in rows
    assert ["5", "3", "100.00%", "[43.85, 100.00]", "66.67%", "[20.77, 93.85]"] in rows
    assert ["Formulae with other symbols than the task's, or too many: 1"] in rows
    assert not any(row[0] == "unique@1k" for row in rows)
    assert len(files) == 6
