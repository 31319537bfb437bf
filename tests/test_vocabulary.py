import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formula_env.errors import FormulaError
from formula_env.vocabulary import Vocabulary

DIGITS = Vocabulary(("0", "1", "+", "-", "="))
LONG = Vocabulary(("x", "d/dx", "^", "2"), variable_length=True)


def test_ids_are_symbols_then_eos_then_pad_then_bos() -> None:
    assert (DIGITS.size, DIGITS.eos, DIGITS.pad, DIGITS.bos) == (5, None, 5, 6)
    assert (LONG.size, LONG.eos, LONG.pad, LONG.bos) == (5, 4, 5, 6)


@given(st.lists(st.sampled_from(range(5)), min_size=1, max_size=20))
def test_encoding_undoes_decoding(ids: list[int]) -> None:
    text = DIGITS.decode([ids])[0]
    assert DIGITS.encode(text, len(ids)).tolist() == ids


@given(st.lists(st.sampled_from(range(4)), max_size=9))
def test_variable_length_ends_with_eos_then_pad(ids: list[int]) -> None:
    tokens = LONG.encode("".join(LONG.symbols[i] for i in ids), 10)
    assert tokens.tolist() == [*ids, LONG.eos] + [LONG.pad] * (9 - len(ids))
    assert LONG.decode(tokens[None]) == ["".join(LONG.symbols[i] for i in ids)]


def test_white_space_is_ignored_and_blanks_print_as_nothing() -> None:
    assert Vocabulary(("0", "1")).encode("01 10", 4).tolist() == [0, 1, 1, 0]
    assert DIGITS.decode(np.array([[5, 1, 5], [6, 0, 2]])) == ["1", "0+"]


@pytest.mark.parametrize("text", ["2", "0*1", "0" * 8])
def test_what_can_not_be_encoded_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match="symbol"):
        DIGITS.encode(text, 7)


def test_impossible_vocabularies_and_tokens_are_refused() -> None:
    with pytest.raises(FormulaError, match="distinct"):
        Vocabulary(("0", "0"))
    with pytest.raises(FormulaError, match="tokens"):
        DIGITS.decode([[7]])
