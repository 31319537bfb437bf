"""Symbols <-> ids.

Ids `0 … size-1` can be emitted (they are the environment's actions and a generator's logits); `pad` and `bos`
come after them and never can. A vocabulary of variable-length formulae owns one more emittable id, `eos`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError

Tokens = NDArray[np.int64]

_UNKNOWN, _END = -1, -2
"""Where a text is read: in the place of ids, a character that is no symbol, and the end of a formula."""


class _Ids(dict[str, int]):
    """Ids of symbols; that of any other text is `_UNKNOWN`."""

    def __missing__(self, text: str) -> int:
        return _UNKNOWN


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a formula family, in the order of their ids."""

    symbols: tuple[str, ...]
    variable_length: bool = False

    def __post_init__(self) -> None:
        if not self.symbols or "" in self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise FormulaError(f"symbols must be distinct and non-empty, got {self.symbols}")

    @property
    def size(self) -> int:
        """V: how many ids can be emitted, EOS included where there is one."""
        return len(self.symbols) + self.variable_length

    @property
    def eos(self) -> int | None:
        """Ends a formula of variable length; None where every formula has the same length."""
        return self.size - 1 if self.variable_length else None

    @property
    def pad(self) -> int:
        """Fills positions that hold no symbol: not written yet, or behind EOS."""
        return self.size

    @property
    def bos(self) -> int:
        """Id that a generator reads before the first symbol."""
        return self.size + 1

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """A symbol, a line end, or else a single character; it is looked for in text without white space."""
        # Longest first, so that a symbol that begins another one never shadows it.
        symbols = sorted((s for s in self.symbols if s.split() == [s]), key=len, reverse=True)
        return re.compile("|".join([r"\n", *map(re.escape, symbols), "."]), re.DOTALL)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return _Ids({symbol: i for i, symbol in enumerate(self.symbols)} | {"\n": _END})

    @cached_property
    def _texts(self) -> NDArray[np.str_]:
        hidden = [""] * (self.variable_length + 2)
        return np.array([*self.symbols, *hidden])

    def read(self, text: str) -> list[int]:
        """The ids of the symbols in a text. White space is ignored. Raises FormulaError for an unknown symbol."""
        found = self._pattern.findall("".join(text.split()))
        ids = [self._ids[symbol] for symbol in found]
        if _UNKNOWN in ids:
            wrong, known = found[ids.index(_UNKNOWN)], " ".join(self.symbols)
            raise FormulaError(f"unknown symbol {wrong!r} in {text!r}; the symbols are {known}")
        return ids

    def encode(self, formula: str, max_length: int) -> Tokens:
        """One formula as tokens `(max_length,)`, ended by EOS where there is one and filled with PAD.

        White space is ignored. Raises FormulaError for an unknown symbol or a formula that is too long.
        """
        return self.encode_all([formula], max_length)[0]

    def encode_all(self, formulae: Sequence[str], max_length: int) -> Tokens:
        """n formulae as tokens `(n, max_length)`; raises FormulaError as `encode` for the first that can't be."""
        tokens, is_read = self.read_all(formulae, max_length)
        if not is_read.all():
            formula = formulae[int(is_read.argmin())]
            length = len(self.read(formula)) + self.variable_length
            raise FormulaError(f"{formula!r} has {length} symbols; at most {max_length} fit")
        return tokens

    def read_all(self, formulae: Sequence[str], max_length: int) -> tuple[Tokens, NDArray[np.bool_]]:
        """n formulae as tokens `(n, max_length)`, and which of them can be encoded `(n,)`; the others are PAD."""
        text = "".join(f"{''.join(formula.split())}\n" for formula in formulae)
        found = self._pattern.findall(text)
        ids = np.fromiter(map(self._ids.__getitem__, found), dtype=np.int64, count=len(found))
        ends = np.flatnonzero(ids == _END)
        starts = np.append(0, ends + 1)[:-1]
        lengths = ends - starts
        rows = np.repeat(np.arange(len(ends)), lengths + 1)
        columns = np.arange(len(ids)) - starts[rows]
        is_read = lengths + self.variable_length <= max_length
        is_read[rows[ids == _UNKNOWN]] = False
        tokens = np.full((len(ends), max_length), self.pad)
        kept = is_read[rows] & (ids != _END)
        tokens[rows[kept], columns[kept]] = ids[kept]
        if self.eos is not None:
            tokens[is_read, lengths[is_read]] = self.eos
        return tokens, is_read

    def decode(self, tokens: Tokens | Sequence[Sequence[int]]) -> list[str]:
        """Tokens `(n, T)` as n strings; EOS, PAD and BOS print as nothing."""
        ids = np.asarray(tokens, dtype=np.int64)
        if ids.ndim != 2 or (ids.size and not (ids.min() >= 0 and ids.max() <= self.bos)):
            raise FormulaError(f"tokens must be (n, T) with ids 0…{self.bos}, got shape {ids.shape}")
        if ids.size == 0:
            return [""] * len(ids)
        texts = self._texts[ids]
        if texts.dtype.itemsize == 4:  # one character a symbol: a row of them *is* the string (blanks drop out)
            rows = np.ascontiguousarray(texts).view(f"<U{ids.shape[1]}")[:, 0]
            return [row.replace("\0", "") for row in rows.tolist()]
        return ["".join(row) for row in texts.tolist()]


def row_keys(tokens: NDArray[np.integer[Any]]) -> NDArray[np.bytes_]:
    """One comparable value `(n,)` for each row of tokens `(n, T)`: the bytes of its ids.

    A byte string drops its final zeros, which mixes nothing up among rows of one length.
    """
    packed = np.ascontiguousarray(tokens, dtype=np.uint32)
    return packed.view(f"S{4 * tokens.shape[1]}")[:, 0]


def distinct_rows(tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First index `(m,)` of each distinct row of tokens `(n, T)`, and which of them each row is, `(n,)`."""
    bits = int(tokens.max(initial=1)).bit_length() * tokens.shape[1]
    if bits < 64:  # numbers are found and sorted much faster than bytes
        keys = np.zeros(len(tokens), dtype=np.int64)
        for column in tokens.T:
            keys = (keys << bits // tokens.shape[1]) | column
        index = _rank(keys, bits)
    else:
        index = np.unique(row_keys(tokens), return_inverse=True)[1]
    first = np.empty(index.max(initial=-1) + 1, dtype=np.int64)
    first[index[::-1]] = np.arange(len(tokens))[::-1]
    return first, index


def _rank(keys: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Ranks `(n,)` of keys among the distinct ones, in rising order; all keys are below 2^bits."""
    if 2**bits > len(keys):
        return np.unique(keys, return_inverse=True)[1]
    seen = np.zeros(2**bits, dtype=bool)
    seen[keys] = True
    return (np.cumsum(seen) - 1)[keys]
