"""Templates: a form that formulae are to have, such as `?+?=100`, and what can still be completed to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens, Vocabulary

WILDCARD = "?"
"""What stands in a template for one or more symbols, whichever."""

GAP = -1
"""The wildcard among the ids of a template."""

MATCH_LIMIT = 2**17
"""How many prefixes of one length `TemplateMask.enumerate` follows at most."""


@dataclass(frozen=True)
class Template:
    """A form of formulae, as the automaton that reads them: state i has read the first i items.

    It is nondeterministic, since a gap may end after any of its symbols: a formula is in a set of states.
    """

    text: str
    """Words for messages: what a formula is to match."""
    items: tuple[int, ...]
    """Ids of the symbols, and `GAP` for one or more symbols."""
    is_open: bool
    """Whether any symbols may follow the last item."""

    def moves(self, vocabulary: Vocabulary) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each id `0 … V` (PAD) leads from state i to i + 1, and whether it stays in i, `(V+1, m+1)` each.

        EOS and PAD stay everywhere: a formula matches if it is in the last state at the end.
        """
        last = len(self.items)
        is_symbol = np.arange(vocabulary.size + 1) < len(vocabulary.symbols)
        advance, stay = np.zeros((2, vocabulary.size + 1, last + 1), dtype=bool)
        for i, item in enumerate(self.items):
            advance[:, i] = is_symbol if item == GAP else np.arange(vocabulary.size + 1) == item
            stay[:, i + 1] = is_symbol & (item == GAP)
        stay[:, last] |= is_symbol & self.is_open
        stay[~is_symbol] = True
        return advance, stay


def read_template(text: str, vocabulary: Vocabulary) -> Template:
    """The template of a text like `?+?=100`, in which each `?` stands for one or more symbols.

    Raises FormulaError for an unknown symbol, or an empty text.
    """
    if any(WILDCARD in symbol for symbol in vocabulary.symbols):
        raise FormulaError(f"{WILDCARD} is a symbol of this task's formulae, so templates can't have it as a gap")
    items: list[int] = []
    for number, part in enumerate(text.split(WILDCARD)):
        items += [GAP] * (number > 0) + vocabulary.read(part)
    if not items:
        raise FormulaError("the template is empty; write symbols, and ? for any one or more of them")
    return Template(f"the template {text}", tuple(items), is_open=False)


def read_prefix(text: str, vocabulary: Vocabulary) -> Template:
    """The template of all formulae that begin with a text.

    Raises FormulaError for an unknown symbol, or an empty text.
    """
    if not text.strip():
        raise FormulaError("the prefix is empty; write the symbols that formulae are to begin with")
    return Template(f"the prefix {text}", tuple(vocabulary.read(text)), is_open=True)


@dataclass(frozen=True)
class _Places:
    """Where prefixes are: in one state of the task's automaton each, and in a set of the template's."""

    state: NDArray[np.int64]  # (n,)
    reached: NDArray[np.bool_]  # (n, m+1)


class TemplateMask:
    """Masks of the symbols after which a formula can still match a template, and be well-formed.

    Where the task is an automaton, these are exactly the symbols that can be completed in time: a backward dynamic
    program goes over pairs of the task's states and the template's. Of other tasks only the mask is known: a
    symbol is allowed if it is there, and if the template can be completed in the length that is left. Such a
    prefix may turn out to be a dead end.

    Raises FormulaError if no formula can match.
    """

    def __init__(self, task: SequenceTask, template: Template) -> None:
        self.task, self.template = task, template
        self.length, self.vocabulary = task.max_length, task.vocabulary
        longest = self.length - (self.vocabulary.eos is not None)
        if len(template.items) > longest:
            raise FormulaError(f"{template.text} has {len(template.items)} symbols; at most {longest} fit")
        self._advance, self._stay = template.moves(task.vocabulary)
        self._table, final = _transitions(task)
        self._live = self._completable(final)
        if not self._live[0, 0, 0]:
            raise FormulaError(f"no well-formed formula of at most {longest} symbols matches {template.text}")

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """Masks `(n, V)` for prefixes `(n, t)`, filled up with PAD; where no symbol is allowed, all are.

        None is allowed behind a finished formula, behind a dead end, and where the template is broken already.
        """
        allowed = self._allowed(prefixes, self._read(prefixes))
        return allowed | ~allowed.any(axis=1, keepdims=True)

    def matches(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Whether formulae `(n, T)`, finished and filled up with PAD, match and are well-formed: `(n,)`."""
        places, good = self._start(len(tokens)), np.ones(len(tokens), dtype=bool)
        for t, column in enumerate(tokens.T):
            allowed = np.column_stack([self._allowed(tokens[:, :t], places), self._ended(tokens[:, :t])])
            good &= allowed[np.arange(len(tokens)), column]
            places = self._next(places, t, column)
        return good

    def enumerate(self) -> Tokens | None:
        """All well-formed formulae `(count, T)` that match, in lexicographic order of ids.

        None where there are too many: more than `MATCH_LIMIT` prefixes of one length.
        """
        prefixes, places = np.zeros((1, 0), dtype=np.int64), self._start(1)
        for t in range(self.length):
            goes_on = np.column_stack([self._allowed(prefixes, places), self._ended(prefixes)])
            rows, symbols = np.nonzero(goes_on)
            if len(rows) > MATCH_LIMIT:
                return None
            prefixes = np.column_stack([prefixes[rows], symbols])
            places = self._next(_Places(places.state[rows], places.reached[rows]), t, symbols)
        return prefixes

    def _completable(self, final: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`(T+1, S, m+1)`: whether a well-formed match can follow at position t from a pair of states."""
        live = np.zeros((self.length + 1, len(final), len(self.template.items) + 1), dtype=bool)
        live[-1, :, -1] = final
        for t in reversed(range(self.length)):
            live[t] = self._leads_on(live[t + 1][self._table[t]]).any(axis=1)
        return live

    def _leads_on(self, following: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether id v leads from template state i to a live one, `(n, V+1, m+1)`; `following`: the live ones."""
        next_one = np.zeros_like(following)
        next_one[:, :, :-1] = following[:, :, 1:]
        return (self._advance & next_one) | (self._stay & following)

    def _allowed(self, prefixes: Tokens, places: _Places) -> NDArray[np.bool_]:
        """`(n, V)`: the symbols that may follow; perhaps none."""
        lengths: NDArray[np.int64] = np.count_nonzero(prefixes != self.vocabulary.pad, axis=1)
        t = lengths.clip(max=self.length - 1)
        following = self._live[t[:, None] + 1, self._table[t, places.state]]
        leads_on = self._leads_on(following) & places.reached[:, None]  # (n, V+1, m+1)
        allowed = np.logical_or.reduce(leads_on[:, :-1], axis=2)
        allowed[lengths == self.length] = False
        return allowed if self.task.transitions is not None else allowed & self.task.legal_symbols(prefixes)

    def _ended(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """`(n,)`: EOS stands in the prefix, so that PAD follows."""
        eos = self.vocabulary.eos
        return np.zeros(len(prefixes), dtype=bool) if eos is None else (prefixes == eos).any(axis=1)

    def _start(self, n: int) -> _Places:
        reached = np.zeros((n, len(self.template.items) + 1), dtype=bool)
        reached[:, 0] = True
        return _Places(np.zeros(n, dtype=np.int64), reached)

    def _next(self, places: _Places, t: int, symbols: NDArray[np.int64]) -> _Places:
        """After one more symbol `(n,)` at position t; PAD changes nothing."""
        written = symbols != self.vocabulary.pad
        state = np.where(written, self._table[t, places.state, symbols], places.state)
        reached = places.reached & self._stay[symbols]
        reached[:, 1:] |= (places.reached & self._advance[symbols])[:, :-1]
        return _Places(state, reached)

    def _read(self, prefixes: Tokens) -> _Places:
        places = self._start(len(prefixes))
        for t, symbols in enumerate(prefixes.T):
            places = self._next(places, t, symbols)
        return places


def _transitions(task: SequenceTask) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Next states `(T, S, V+1)`, PAD included, of an automaton that reads formulae; and its final states `(S,)`.

    For a task that is no automaton it reads every sequence of symbols that ends in time.
    """
    if (transitions := task.transitions) is not None:
        return transitions
    eos, pad = task.vocabulary.eos, task.vocabulary.pad
    running, ended, dead = range(3)
    row = np.full((3, pad + 1), dead)
    row[running, :pad] = running
    if eos is not None:
        row[running, eos] = row[ended, pad] = ended
    final = ended if eos is not None else running
    return np.repeat(row[None], task.max_length, axis=0), np.arange(3) == final
