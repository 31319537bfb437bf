"""Rows of symbols that are what their text is read as, as an automaton.

A text is read from the left, and the longest symbol that fits comes first. Where one symbol is made of others, as
`sin` of `s`, `i` and `n`, several rows have the same text, and only one of them is how it is read. A row is not if
a symbol in it begins a longer symbol that the row completes: so a state holds what has begun and is not complete.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.vocabulary import Vocabulary

MAX_TRANSITIONS = 2**24
"""Transitions of a table at most: 128 MiB."""

START, ENDED, DEAD, RUNNING = range(4)
"""The first states: nothing is written; EOS was read; the row is not well-formed; nothing longer has begun."""

Begun = frozenset[str]
"""The last characters of a row, from where a longer symbol than that in the row may begin."""


def spellings(vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The next states `(S, V+1)` of the automaton that reads one symbol or more, EOS, and then PAD.

    S is at most the number of characters of all symbols, and four. The symbols must be sorted. Raises
    FormulaError for more than `MAX_TRANSITIONS` transitions.
    """
    symbols, width = vocabulary.symbols, vocabulary.size + 1
    alone = [frozenset({symbol} if _longer(symbols, symbol) else ()) for symbol in symbols]
    states: dict[Begun, int] = {frozenset(): RUNNING}
    waiting: list[Begun] = [frozenset()]
    rows: list[NDArray[np.int64]] = []
    for begun in waiting:
        rows.append(np.full(width, DEAD))
        rows[-1][vocabulary.eos] = ENDED
        for symbol, following in enumerate(_following(symbols, alone, begun)):
            if following is None:
                continue
            if following not in states:
                states[following] = RUNNING + len(states)
                waiting.append(following)
            rows[-1][symbol] = states[following]
        if (RUNNING + len(states)) * width > MAX_TRANSITIONS:
            raise FormulaError(_too_many(symbols))
    start, ended, dead = rows[0].copy(), *np.full((2, width), DEAD)
    start[vocabulary.eos], ended[vocabulary.pad] = DEAD, ENDED
    return np.stack([start, ended, dead, *rows])


def _following(symbols: Sequence[str], alone: Sequence[Begun], begun: Begun) -> list[Begun | None]:
    """What has begun after each symbol; None after one that completes a longer symbol."""
    following: list[Begun | None] = list(alone)
    ids = {symbol: i for i, symbol in enumerate(symbols)}
    for text in begun:
        for rest in _longer(symbols, text):
            completing = _starting_with(symbols, rest)
            following[completing] = [None] * len(symbols[completing])
            for end in range(1, len(rest)):
                i = ids.get(rest[:end])
                if i is not None and (before := following[i]) is not None:
                    following[i] = before | {text + rest[:end]}
    return following


def _longer(symbols: Sequence[str], text: str) -> list[str]:
    """What completes a text to a longer symbol, without what begins with another one of these."""
    rests: list[str] = []
    for symbol in symbols[_starting_with(symbols, text)]:
        rest = symbol[len(text) :]
        if rest and not (rests and rest.startswith(rests[-1])):
            rests.append(rest)
    return rests


def _starting_with(symbols: Sequence[str], text: str) -> slice:
    """The place of the symbols that start with a text, which are neighbours."""

    def start(symbol: str) -> str:
        return symbol[: len(text)]

    return slice(bisect_left(symbols, text, key=start), bisect_right(symbols, text, key=start))


def _too_many(symbols: Sequence[str]) -> str:
    short = next(symbol for symbol in symbols if _longer(symbols, symbol))
    return (
        f"tokens: there are {len(symbols):,}, and too many begin others, as {short!r} begins "
        f"{short + _longer(symbols, short)[0]!r}; use fewer"
    )
