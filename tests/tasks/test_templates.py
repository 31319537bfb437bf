"""Templates against regular expressions over every sequence of small tasks."""

import re
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.tasks import make_task, templates
from formula_env.tasks.automaton import AutomatonTask
from formula_env.tasks.base import SequenceTask
from formula_env.tasks.templates import Template, TemplateMask, read_prefix, read_template
from formula_env.vocabulary import Tokens, Vocabulary
from tests.even_ones import EvenOnes
from tests.helpers import name_of, small_tasks
from tests.oracles import all_sequences, is_well_formed


class OnlyMasks(SequenceTask):
    """A task that hides its automaton: what is known of it are its masks and its checker."""

    def __init__(self, task: SequenceTask) -> None:
        self.task = task

    @property
    def vocabulary(self) -> Vocabulary:
        return self.task.vocabulary

    @property
    def max_length(self) -> int:
        return self.task.max_length

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        return self.task.sample(n, rng)

    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        return self.task.is_correct(tokens)

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        return self.task.legal_symbols(prefixes)

    def count(self) -> int | None:
        return None


class Language:
    """All sequences of a task, and those that a template must match."""

    def __init__(self, task: SequenceTask) -> None:
        self.task = task

    @cached_property
    def well_formed(self) -> Tokens:
        sequences = all_sequences(self.task)
        rows = sequences[is_well_formed(self.task, sequences)].tolist()
        return np.array(sorted(rows))

    def text_of(self, items: list[int | None]) -> str:
        return "".join("?" if item is None else self.task.vocabulary.symbols[item] for item in items)

    def matching(self, items: list[int | None], tail: str = "") -> list[list[int]]:
        """By a regular expression, with a letter for each symbol; `None` is a gap."""
        pattern = "".join("[a-z]+" if item is None else chr(ord("a") + item) for item in items) + tail
        number = len(self.task.vocabulary.symbols)
        rows = self.well_formed.tolist()
        texts = ["".join(chr(ord("a") + v) for v in row if v < number) for row in rows]
        return [row for row, text in zip(rows, texts, strict=True) if re.fullmatch(pattern, text)]

    def random_items(self, rng: np.random.Generator) -> list[int | None]:
        """A template that some well-formed formula matches, or with a symbol changed, perhaps none."""
        row = [int(v) for v in rng.choice(self.well_formed) if v < len(self.task.vocabulary.symbols)]
        items: list[int | None] = list(row)
        for _ in range(rng.integers(4)):
            first = int(rng.integers(len(items)))
            items[first : first + int(rng.integers(1, 4))] = [None]
        if rng.random() < 0.3:
            items[int(rng.integers(len(items)))] = int(rng.integers(len(self.task.vocabulary.symbols)))
        return items


LANGUAGES = [Language(task) for task in small_tasks()]
on_each = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: name_of(language.task))


def mask_of(task: SequenceTask, template: Template) -> TemplateMask | None:
    """None where nothing can match."""
    try:
        return TemplateMask(task, template)
    except FormulaError:
        return None


@on_each
def test_a_template_matches_what_a_regular_expression_does(language: Language) -> None:
    """The masks of automata are exact, so there what can't match is refused at once."""
    task, rng = language.task, np.random.default_rng(0)
    sequences = all_sequences(task).numpy()
    found = 0
    for _ in range(25):
        items = language.random_items(rng)
        template, expected = read_template(language.text_of(items), task.vocabulary), language.matching(items)
        for known in (task, OnlyMasks(task)):
            mask = mask_of(known, template)
            listed = mask.enumerate() if mask is not None else np.empty((0, task.max_length), dtype=np.int64)
            assert listed is not None
            assert listed.tolist() == expected
            assert mask is not None or not expected
            assert mask is None or expected or not isinstance(known, AutomatonTask)
            if mask is not None:
                assert sorted(sequences[mask.matches(sequences)].tolist()) == expected
        found += bool(expected)
    assert found > 5


@on_each
def test_a_prefix_is_what_formulae_begin_with(language: Language) -> None:
    task, rng = language.task, np.random.default_rng(1)
    for length in range(1, task.max_length):
        row = [v for v in rng.choice(language.well_formed)[:length].tolist() if v < len(task.vocabulary.symbols)]
        expected = language.matching(list(row), tail="[a-z]*")
        listed = TemplateMask(task, read_prefix(language.text_of(list(row)), task.vocabulary)).enumerate()
        assert listed is not None
        assert listed.tolist() == expected != []


@on_each
def test_a_mask_allows_exactly_what_can_be_completed(language: Language) -> None:
    task, rng = language.task, np.random.default_rng(2)
    if not isinstance(task, AutomatonTask):
        pytest.skip("only its masks are known")
    for _ in range(10):
        items = language.random_items(rng)
        expected = language.matching(items)
        if not expected:
            continue
        mask = TemplateMask(task, read_template(language.text_of(items), task.vocabulary))
        for t in range(task.max_length):
            follow: dict[tuple[int, ...], set[int]] = {}
            for row in expected:
                if row[t] < task.vocabulary.size:
                    follow.setdefault(tuple(row[:t]), set()).add(row[t])
            if follow:
                prefixes = np.array(list(follow), dtype=np.int64).reshape(len(follow), t)
                padded = np.full((len(follow), task.max_length), task.vocabulary.pad)
                padded[:, :t] = prefixes
                allowed = [set(np.flatnonzero(row)) for row in mask.legal_symbols(prefixes)]
                assert allowed == list(follow.values())
                assert np.array_equal(mask.legal_symbols(padded), mask.legal_symbols(prefixes))


@on_each
def test_where_nothing_is_allowed_everything_is(language: Language) -> None:
    task = language.task
    finished = TemplateMask(task, read_template("?", task.vocabulary)).legal_symbols(language.well_formed)
    assert finished.all()
    row = language.well_formed[:1]
    symbols = [int(v) for v in row[0] if v < len(task.vocabulary.symbols)]
    mask = TemplateMask(task, read_template(language.text_of(list(symbols)), task.vocabulary))
    assert mask.legal_symbols(row).all(), "behind a finished formula"
    broken = np.array([[(symbols[0] + 1) % len(task.vocabulary.symbols)]])
    assert mask.legal_symbols(broken).all(), "behind what doesn't match"


def test_white_space_is_ignored() -> None:
    vocabulary = make_task("signed-equation").vocabulary
    assert read_template(" ? + 1 ", vocabulary).items == read_template("?+1", vocabulary).items
    assert read_prefix("1 + 0", vocabulary).items == read_prefix("1+0", vocabulary).items


def test_a_long_task_is_no_problem() -> None:
    """Too many formulae match to be listed; the mask still allows only what can be completed."""
    task = make_task("signed-equation", length=63)
    mask = TemplateMask(task, read_template("?-?=?+?+1", task.vocabulary))
    assert mask.enumerate() is None
    prefixes = np.zeros((200, 0), dtype=np.int64)
    rng = np.random.default_rng(0)
    for _ in range(63):
        allowed = mask.legal_symbols(prefixes)
        prefixes = np.column_stack([prefixes, (allowed * rng.random(allowed.shape)).argmax(axis=1)])
    assert mask.matches(prefixes).all()
    assert all(re.fullmatch(r".+-.+=.+\+.+\+1", text) for text in task.decode(prefixes))
    assert is_well_formed(task, torch.from_numpy(prefixes)).all()


def test_listing_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("binary-sum", length=4)
    mask = TemplateMask(task, read_template("?", task.vocabulary))
    monkeypatch.setattr(templates, "MATCH_LIMIT", 16)
    listed = mask.enumerate()
    assert listed is not None
    assert len(listed) == 16
    monkeypatch.setattr(templates, "MATCH_LIMIT", 15)
    assert mask.enumerate() is None


@settings(max_examples=100)
@given(st.one_of(st.text(), st.text("01+-=? ")), st.sampled_from([read_template, read_prefix]))
def test_any_text_is_read_or_refused_in_one_line(text: str, read: Any) -> None:
    task = make_task("signed-equation", length=7)
    try:
        mask = TemplateMask(task, read(text, task.vocabulary))
    except FormulaError:
        return
    listed = mask.enumerate()
    assert listed is not None
    assert len(listed) > 0


class Questions(EvenOnes):
    symbols: Any = ("?", "!")


@pytest.mark.parametrize(
    ("task", "read", "text", "message"),
    [
        (EvenOnes(5), read_template, "", "the template is empty"),
        (EvenOnes(5), read_prefix, " ", "the prefix is empty"),
        (EvenOnes(5), read_template, "0?2", "unknown symbol '2'"),
        (EvenOnes(5), read_prefix, "0?", "unknown symbol '?'"),
        (Questions(5), read_template, "!?", "? is a symbol of this task's formulae"),
        (EvenOnes(5), read_template, "?????", "has 5 symbols; at most 4 fit"),
        (EvenOnes(5), read_prefix, "00000", "the prefix 00000 has 5 symbols; at most 4 fit"),
        (make_task("binary-sum", length=4), read_template, "01010", "has 5 symbols; at most 4 fit"),
        (make_task("binary-sum", length=4), read_template, "010", "no well-formed formula of at most 4 symbols"),
        (make_task("signed-equation"), read_prefix, "=", "matches the prefix ="),
    ],
)
def test_templates_that_can_not_be_are_refused(task: SequenceTask, read: Any, text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=re.escape(message)):
        TemplateMask(task, read(text, task.vocabulary))
