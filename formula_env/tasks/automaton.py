"""Tasks whose verdict is a finite automaton: everything in the contract follows from its transition table.

Counting, uniform sampling and legality are all one backward dynamic program over (position, state).
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.tasks.base import ENUMERATION_LIMIT, SequenceTask
from formula_env.vocabulary import Tokens, Vocabulary

DEAD = -1
"""In a transition table: this symbol breaks the formula here."""


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton that reads T symbols; the start is state 0.

    next_state: `(T, S, V)` int64; the state after symbol v in state s at position t, or `DEAD`.
    ended: `(S,)` the formula is over (EOS was read): only PAD may follow. All False for fixed length.
    well_formed, correct: `(S,)` the verdicts in the state after position T-1; correct implies well-formed.
    """

    next_state: NDArray[np.int64]
    well_formed: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    ended: NDArray[np.bool_]


class AutomatonTask(SequenceTask):
    """A task given by `symbols`, `max_length` and `build_automaton`."""

    symbols: ClassVar[tuple[str, ...]]

    @abstractmethod
    def build_automaton(self) -> Automaton:
        """The verdict as a table. With `ended` states, EOS is the last of its symbols."""

    @property
    def vocabulary(self) -> Vocabulary:
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.symbols, variable_length=bool(self._automaton.ended.any()))

    @cached_property
    def _automaton(self) -> Automaton:
        return self.build_automaton()

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """`(T, S+1, V+1)`: the transitions with PAD as symbol V and the dead state as state S."""
        length, states, symbols = self._automaton.next_state.shape
        table = np.full((length, states + 1, symbols + 1), states)
        table[:, :states, :symbols] = np.where(
            self._automaton.next_state == DEAD, states, self._automaton.next_state
        )
        ended = np.flatnonzero(self._automaton.ended)
        table[:, ended, :symbols] = states
        table[:, ended, symbols] = ended
        return table

    @cached_property
    def _prefix_table(self) -> NDArray[np.int64]:
        """`_table` with a column for PAD, which keeps every state: it only fills up a prefix."""
        table = self._table.copy()
        table[:, :, -1] = np.arange(table.shape[1])
        return table

    def _states(self, table: NDArray[np.int64], tokens: Tokens) -> NDArray[np.int64]:
        """The state `(n,)` after reading tokens `(n, t)`."""
        state = np.zeros(len(tokens), dtype=np.int64)
        symbols = table.shape[2]
        for t, column in enumerate(tokens.T):
            state = table[t].ravel().take(state * symbols + column)
        return state

    def _live(self, final: NDArray[np.bool_]) -> NDArray[np.object_]:
        """`(T+1, S+1)` Python ints: how many ways lead from state s at position t to a final state."""
        ways = np.zeros((self.max_length + 1, len(final) + 1), dtype=object)
        ways[-1, :-1] = final.astype(int)
        for t in reversed(range(self.max_length)):
            ways[t] = ways[t + 1][self._table[t]].sum(axis=1)
        return ways

    @cached_property
    def _completions(self) -> NDArray[np.object_]:
        return self._live(self._automaton.correct)

    @cached_property
    def _legal(self) -> NDArray[np.bool_]:
        """`(T+1, S+1, V)`: the next state can still become well-formed; all True where none can."""
        live = self._live(self._automaton.well_formed) > 0
        legal = np.ones((self.max_length + 1, live.shape[1], self.vocabulary.size), dtype=bool)
        for t in range(self.max_length):
            reachable = live[t + 1][self._table[t, :, :-1]]
            legal[t] = reachable | ~reachable.any(axis=1, keepdims=True)
        return legal

    @cached_property
    def _sampling_thresholds(self) -> NDArray[np.float64]:
        """`(T, S+1, V)`: the first v with u < threshold v is the next symbol (PAD if none)."""
        thresholds = np.full((self.max_length, *self._table.shape[1:]), np.inf)
        for t in range(self.max_length):
            ways = self._completions[t + 1][self._table[t]]
            for s, total in enumerate(self._completions[t]):
                if total:
                    # The last symbol that is possible takes what rounding leaves, an impossible one nothing.
                    last = int(np.flatnonzero(ways[s])[-1])
                    cumulative = np.cumsum([int(w) for w in ways[s]], dtype=object)[:last]
                    thresholds[t, s, :last] = [c / total for c in cumulative]
        return thresholds[:, :, :-1]

    @cached_property
    def _verdict(self) -> NDArray[np.bool_]:
        return np.append(self._automaton.correct, False)

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        tokens = np.empty((n, self.max_length), dtype=np.int64)
        state = np.zeros(n, dtype=np.int64)
        if not self.count():
            raise FormulaError(f"{type(self).__name__} has no correct formula of length {self.max_length}")
        for t in range(self.max_length):
            tokens[:, t] = (rng.random(n)[:, None] >= self._sampling_thresholds[t, state]).sum(axis=1)
            state = self._table[t, state, tokens[:, t]]
        return tokens

    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        if tokens.shape[1:] != (self.max_length,):
            raise FormulaError(f"tokens must be (n, {self.max_length}), got shape {tokens.shape}")
        if tokens.size and not (tokens.min() >= 0 and tokens.max() <= self.vocabulary.pad):
            raise FormulaError(f"tokens must be ids from 0 to {self.vocabulary.pad} (PAD)")
        return self._verdict[self._states(self._table, tokens)]

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        if self._legal.all():
            return np.ones((len(prefixes), self.vocabulary.size), dtype=bool)
        lengths = (prefixes != self.vocabulary.pad).sum(axis=1)
        return self._legal[lengths, self._states(self._prefix_table, prefixes)]

    def count(self) -> int:
        return int(self._completions[0, 0])

    def enumerate(self) -> Tokens:
        if self.count() > ENUMERATION_LIMIT:
            raise FormulaError(f"{self.count()} correct formulae are too many to list; use sample()")
        tokens = np.zeros((1, 0), dtype=np.int64)
        state = np.zeros(1, dtype=np.int64)
        for t in range(self.max_length):
            following = self._table[t, state]
            rows, symbols = np.nonzero(self._completions[t + 1][following])
            tokens = np.column_stack([tokens[rows], symbols])
            state = following[rows, symbols]
        return tokens
