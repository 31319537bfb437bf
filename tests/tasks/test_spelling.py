"""Which rows of symbols are what their text is read as, against reading all texts."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formula_env.errors import FormulaError
from formula_env.tasks import make_task, spelling
from formula_env.tasks.spelling import DEAD, RUNNING, START, spellings
from formula_env.vocabulary import Vocabulary

SYMBOLS = st.sets(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=6).map(sorted)
LENGTH = 4


def vocabulary_of(symbols: list[str]) -> Vocabulary:
    return Vocabulary(tuple(symbols), variable_length=True)


def reads_as_itself(vocabulary: Vocabulary, row: tuple[int, ...]) -> bool:
    try:
        return vocabulary.read("".join(vocabulary.symbols[i] for i in row)) == list(row)
    except FormulaError:
        return False


@given(SYMBOLS)
def test_rows_are_read_iff_their_text_is_read_as_them(symbols: list[str]) -> None:
    vocabulary = vocabulary_of(symbols)
    table = spellings(vocabulary)
    for length in range(1, LENGTH + 1):
        for row in product(range(len(symbols)), repeat=length):
            state = START
            for i in row:
                state = int(table[state, i])
            assert (state != DEAD) == reads_as_itself(vocabulary, row), (symbols, row)


@given(st.sets(st.text("ab", min_size=1, max_size=8), min_size=1, max_size=12).map(sorted))
def test_there_are_no_more_states_than_characters_and_four(symbols: list[str]) -> None:
    assert len(spellings(vocabulary_of(symbols))) <= RUNNING + 1 + sum(map(len, symbols))


@given(SYMBOLS)
def test_masked_formulae_of_a_file_are_those_whose_text_encodes_to_them(
    tmp_path_factory: pytest.TempPathFactory, symbols: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "symbols.txt"
    path.write_text("\n".join([*symbols, max(symbols, key=len) * (LENGTH - 1)]))
    task = make_task("formula-file", path=str(path), tokens=" ".join(symbols), held_out_size=0)
    vocabulary = task.vocabulary
    eos, pad, longest = len(vocabulary.symbols), vocabulary.pad, task.max_length - 1
    rows = [row for n in range(1, longest + 1) for row in product(range(eos), repeat=n)]
    tokens = np.array([[*row, eos, *[pad] * (longest - len(row))] for row in rows])
    expected = [reads_as_itself(vocabulary, row) for row in rows]
    assert task.is_well_formed(tokens).tolist() == expected
    readable = tokens[expected]
    assert np.array_equal(task.encode(task.decode(readable)), readable)
    every_readable = {row.tobytes() for row in vocabulary.read_all(task.decode(tokens), task.max_length)[0]}
    assert {row.tobytes() for row in readable} >= every_readable - {np.full(task.max_length, pad).tobytes()}
    correct = task.is_correct(tokens)
    assert not correct[~np.array(expected)].any()


def test_sin_is_not_written_as_s_i_n() -> None:
    vocabulary = vocabulary_of(sorted(["sin", "s", "i", "n", "1", "12", "2"]))
    table = spellings(vocabulary)
    ids = {symbol: i for i, symbol in enumerate(vocabulary.symbols)}

    def is_read(*row: str) -> bool:
        state = START
        for symbol in row:
            state = int(table[state, ids[symbol]])
        return state != DEAD

    assert not is_read("s", "i", "n")
    assert not is_read("1", "2")
    assert is_read("s", "i", "s", "i", "1", "12", "2", "n")
    assert not is_read("2", "s", "s", "i", "n")


def test_too_large_a_table_is_refused_by_its_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "MAX_TRANSITIONS", 30)
    with pytest.raises(FormulaError, match="too many begin others, as 'a' begins 'ab'") as told:
        spellings(vocabulary_of(["a", "ab", "b", "ba"]))
    assert "\n" not in str(told.value)
