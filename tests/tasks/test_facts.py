"""What is listed of tasks: grammars describe what is well-formed, examples are correct, docs/tasks.md shows it."""

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.tasks import CONTINUOUS_TASKS, TASKS, SequenceTask, make_task, task_class
from formula_env.tasks.automaton import GrammarTask
from formula_env.tasks.equation import Equation
from formula_env.tasks.facts import NUM_EXAMPLES, task_facts, tasks_markdown
from tests.external.palindromes import Palindrome

ROOT = Path(__file__).parents[2]

# --- an independent reader of grammars ------------------------------------------------------------------------

Recogniser = Callable[[tuple[str, ...], int], frozenset[int]]
"""The places at which what is recognised from a place on may end."""


class Grammar:
    """A grammar in extended Backus-Naur form: `name = …; name = …`, whose first name is that of formulae."""

    def __init__(self, text: str) -> None:
        rules = dict(rule.split(" = ", 1) for rule in text.split("; "))
        self.start = next(iter(rules))
        self.rules = {name: self._alternatives(self._words(body)) for name, body in rules.items()}

    @staticmethod
    def _words(body: str) -> Iterator[str]:
        return iter([*re.findall(r'"[^"]+"(?:…"[^"]+")?|\w+|[][(){}|]', body), "END"])

    def _alternatives(self, words: Iterator[str]) -> Recogniser:
        parts: list[list[Recogniser]] = [[]]
        for word in words:
            if word in (")", "]", "}", "END"):
                break
            if word == "|":
                parts.append([])
            elif word in ("(", "[", "{"):
                parts[-1].append(self._bracket(word, self._alternatives(words)))
            else:
                parts[-1].append(self._word(word))
        return lambda symbols, start: frozenset(
            end for sequence in parts for end in self._sequence(sequence, symbols, start)
        )

    @staticmethod
    def _sequence(sequence: list[Recogniser], symbols: tuple[str, ...], start: int) -> set[int]:
        ends = {start}
        for recogniser in sequence:
            ends = {end for begin in ends for end in recogniser(symbols, begin)}
        return ends

    def _word(self, word: str) -> Recogniser:
        if not word.startswith('"'):
            return cache(lambda symbols, start: self.rules[word](symbols, start))
        first, _, last = word.replace('"', "").partition("…")
        known = {chr(i) for i in range(ord(first), ord(last) + 1)} if last else {first}
        return lambda symbols, start: frozenset(
            {start + 1} if symbols[start : start + 1] and symbols[start] in known else ()
        )

    @staticmethod
    def _bracket(kind: str, inner: Recogniser) -> Recogniser:
        def repeated(symbols: tuple[str, ...], start: int) -> frozenset[int]:
            ends, new = {start}, {start}
            while new:
                new = {end for begin in new for end in inner(symbols, begin)} - ends
                ends |= new
            return frozenset(ends)

        if kind == "{":
            return repeated
        return inner if kind == "(" else lambda symbols, start: inner(symbols, start) | {start}

    def derives(self, symbols: tuple[str, ...]) -> bool:
        return len(symbols) in self.rules[self.start](symbols, 0)


def symbols_of(task: SequenceTask, row: np.ndarray) -> tuple[str, ...]:
    return tuple(task.vocabulary.symbols[i] for i in row if i < len(task.vocabulary.symbols))


def test_the_reader_of_grammars() -> None:
    grammar = Grammar('formula = ["-"] number {("+" | "-") number}; number = "0" | "1"…"3" {"0"…"9"}')
    assert all(grammar.derives(tuple(text)) for text in ("0", "-10+0", "39-1-0", "1"))
    assert not any(grammar.derives(tuple(text)) for text in ("", "-", "00", "41", "1+", "--1", "1+-1", "01"))


GRAMMARS = {
    "binary-sum": {},
    "boolean": {"variables": 5},
    "calculus": {"length": 14},
    "equation": {"operators": "+-*/^", "parentheses": True, "operands": 3, "length": 12},
    "signed-equation": {},
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_what_is_well_formed_follows_the_grammar_and_nothing_else_does(name: str) -> None:
    """Random well-formed formulae, and these with one symbol changed."""
    task = make_task(name, **GRAMMARS[name])
    assert isinstance(task, GrammarTask)
    grammar, rng = Grammar(task.grammar), np.random.default_rng(0)
    formulae = task.well_formed.sample(1_000, rng)
    assert all(grammar.derives(symbols_of(task, row)) for row in formulae)
    lengths = (formulae < len(task.vocabulary.symbols)).sum(axis=1)
    changed = formulae.copy()
    changed[np.arange(len(changed)), rng.integers(lengths)] = rng.integers(
        len(task.vocabulary.symbols), size=len(changed)
    )
    derived = np.array([grammar.derives(symbols_of(task, row)) for row in changed])
    fits = np.array([has_numbers_that_fit(task, text) for text in task.decode(changed)])
    np.testing.assert_array_equal(derived & fits, task.is_well_formed(changed))
    assert name == "binary-sum" or 100 < derived.sum() < 900, "both occur"


def has_numbers_that_fit(task: SequenceTask, text: str) -> bool:
    """Whether the integers on the left side of an equation are as many, and as large, as its options want."""
    if not isinstance(task, Equation):
        return True
    numbers = re.findall(r"\d+", text.partition("=")[0])
    return len(numbers) == task.operands and all(int(number) <= task.largest for number in numbers)


# --- the facts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TASKS | CONTINUOUS_TASKS))
def test_every_task_of_this_package_states_its_grammar_and_what_is_hard(name: str) -> None:
    facts = task_facts(task_class(name))
    assert facts.grammar
    assert "\n" not in facts.grammar
    assert facts.difficulty.endswith(".")


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"formula-file"}))
def test_examples_are_different_correct_formulae_of_the_lengths_that_are_listed(name: str) -> None:
    facts, task = task_facts(task_class(name)), make_task(name)
    assert len(set(facts.examples)) == NUM_EXAMPLES
    tokens = task.encode(facts.examples)
    assert task.is_correct(tokens).all()
    lengths = (tokens < len(task.vocabulary.symbols)).sum(axis=1)
    number = int(re.findall(r"\d+", facts.lengths)[0])
    assert (lengths <= number).all() if "up to" in facts.lengths else (lengths == number).all()


def test_counts_are_those_of_all_sequences() -> None:
    """Each of the 2^8 sequences of 0 and 1 by itself."""
    halves = (f"{i:08b}" for i in range(256))
    assert task_facts(task_class("binary-sum")).count == sum(s[:4].count("1") == s[4:].count("1") for s in halves)
    assert task_facts(task_class("equation")).count == 100 * 100
    assert task_facts(task_class("calculus")).count is None


def test_a_task_of_another_package_may_state_less() -> None:
    facts = task_facts(Palindrome)
    assert (facts.grammar, facts.difficulty) == ("", "")
    assert facts.count == 2**3
    assert all(example == example[::-1] for example in facts.examples)


def test_a_task_that_needs_a_file_shows_what_does_not_depend_on_it() -> None:
    facts = task_facts(task_class("formula-file"))
    assert (facts.lengths, facts.count, facts.examples) == ("", None, [])


# --- where they are shown -------------------------------------------------------------------------------------


def test_the_list_of_tasks_shows_the_facts_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    start = time.perf_counter()
    assert main(["list", "tasks"]) == 0
    assert time.perf_counter() - start < 3
    text = capsys.readouterr().out
    assert main(["list", "tasks", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in entries} >= set(TASKS | CONTINUOUS_TASKS)
    for entry in entries:
        for shown in (entry["grammar"], entry["lengths"], *entry["examples"], entry["difficulty"]):
            assert shown in text
        if entry["count"] is not None:
            assert f"correct formulae: {entry['count']:,}\n" in text


def test_the_page_of_tasks_is_as_it_is_printed() -> None:
    (section,) = re.findall(
        r"<!-- tasks -->\n(.*)\n<!-- /tasks -->", (ROOT / "docs/tasks.md").read_text(), re.DOTALL
    )
    assert section == tasks_markdown()
