"""Texts as arrays of codes, so that many formulae can be checked at once."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from formula_env.checkers.expression import MAX_SYMBOLS

Codes: TypeAlias = NDArray[np.int8]
Flags: TypeAlias = NDArray[np.bool_]

CHUNK = 2**18
"""Symbols of texts that are checked at once: few enough for the processor's cache."""
FEW = 32
"""Number of texts below which checking one after the other is faster."""


class Alphabet:
    """The symbols of a kind of formulae, one character each; the code of a symbol is its index."""

    def __init__(self, symbols: str) -> None:
        """`symbols` are different ASCII characters, at most 126."""
        self.symbols = symbols
        self.end = len(symbols)
        """Code of what follows the last symbol."""
        self.unknown = len(symbols) + 1
        """Code of what is no symbol."""
        self._code_of_point = np.full(128, self.unknown, dtype=np.int8)
        self._code_of_point[[ord(symbol) for symbol in symbols]] = range(len(symbols))
        self._code_of_point[ord(" ")] = self.end

    def codes_of(self, symbols: Sequence[str]) -> Codes:
        """The code `(len(symbols),)` of each symbol; that of the end for the empty text."""
        return np.array([self.symbols.index(symbol) if symbol else self.end for symbol in symbols], dtype=np.int8)

    def text_of(self, codes: Codes) -> str:
        """The text of the codes `(T,)` of known symbols; the end is nothing."""
        return "".join(self.symbols[code] for code in codes.tolist() if code != self.end)

    def check(
        self,
        formulae: Sequence[str],
        check_codes: Callable[[Codes], Flags],
        is_correct: Callable[[str], bool],
    ) -> Flags:
        """The verdicts `(n,)` on n texts, by checks of many as codes `(m, T)` and of one that agree.

        White space is ignored, but counts for the length; a text of more than `MAX_SYMBOLS` is not correct.
        """
        texts = ["".join(text.split()) if len(text) <= MAX_SYMBOLS else "" for text in formulae]
        rest = sorted(range(len(texts)), key=lambda row: -len(texts[row]))  # a chunk is as wide as its first text
        verdicts = np.zeros(len(texts), dtype=bool)
        while len(rest) >= FEW:
            size = max(FEW, CHUNK // max(1, len(texts[rest[0]])))
            rows, rest = rest[:size], rest[size:]
            verdicts[rows] = check_codes(self._codes_of_texts([texts[row] for row in rows]))
        verdicts[rest] = [is_correct(texts[row]) for row in rest]
        return verdicts

    def _codes_of_texts(self, texts: Sequence[str]) -> Codes:
        """Codes `(n, T)` of texts without white space, which serves as the end."""
        width = max(map(len, texts))
        joined = "".join(text.ljust(width) for text in texts).encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(joined, dtype=np.uint32).reshape(len(texts), width)
        return self._code_of_point[np.minimum(points, len(self._code_of_point) - 1)]
