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


ANY = Vocabulary(("a", "ab", "ba", "b\n", "é"), variable_length=True)


@given(st.lists(st.text("ab é\n\x00", max_size=8), max_size=6), st.integers(0, 6), st.booleans())
def test_many_formulae_are_read_as_each_by_itself(texts: list[str], length: int, has_eos: bool) -> None:
    """The longest symbol at each place, recursively; what can't be read or is too long is PAD."""
    vocabulary = Vocabulary(ANY.symbols, has_eos)

    def ids(text: str) -> list[int] | None:
        if not text:
            return []
        found = max((s for s in ("a", "ab", "ba", "é") if text.startswith(s)), key=len, default="")
        rest = ids(text[len(found) :]) if found else None
        return None if rest is None else [vocabulary.symbols.index(found), *rest]

    tokens, is_read = vocabulary.read_all(texts, length)
    assert tokens.shape == (len(texts), length)
    assert tokens.dtype == np.int64
    for text, row, can_be in zip(texts, tokens.tolist(), is_read.tolist(), strict=True):
        expected = ids("".join(text.split()))
        ended = [vocabulary.eos] if has_eos else []
        if expected is not None and len(expected + ended) <= length:
            assert can_be
            assert row == expected + ended + [vocabulary.pad] * (length - len(expected + ended))
        else:
            assert not can_be
            assert row == [vocabulary.pad] * length
    if is_read.all():
        assert np.array_equal(vocabulary.encode_all(texts, length), tokens)
    else:
        first = texts[is_read.tolist().index(False)]
        with pytest.raises(FormulaError) as told:
            vocabulary.encode_all(texts, length)
        with pytest.raises(FormulaError) as alone:
            vocabulary.encode(first, length)
        assert str(told.value) == str(alone.value)
        assert repr(first) in str(told.value)
