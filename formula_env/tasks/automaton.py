"""Tasks whose formulae a finite automaton reads: everything follows from its transition table.

Counting, uniform sampling and legality are all one backward dynamic program over (position, state).
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
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

BLOCK = 2**16
"""Formulae that are drawn or checked at once."""

MAX_DRAWS = 2**22
"""Candidates without a correct one after which sampling by rejection gives up."""


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


class Paths:
    """The sequences that an automaton reads from its start to a final state: counted, drawn and listed."""

    def __init__(self, next_state: NDArray[np.int64], ended: NDArray[np.bool_], final: NDArray[np.bool_]) -> None:
        """`next_state` and `ended` as in `Automaton`; `final` `(S,)` are the states in which a path may end."""
        self.length, states, symbols = next_state.shape
        table = np.full((self.length, states + 1, symbols + 1), states)
        table[:, :states, :symbols] = np.where(next_state == DEAD, states, next_state)
        rows = np.flatnonzero(ended)
        table[:, rows, :symbols] = states
        table[:, rows, symbols] = rows
        self.table = table
        """`(T, S+1, V+1)`: the transitions with PAD as symbol V and the dead state as state S."""
        self.final = np.append(final, False)

    @cached_property
    def prefix_table(self) -> NDArray[np.int64]:
        """`table` with a column for PAD, which keeps every state: it only fills up a prefix."""
        table = self.table.copy()
        table[:, :, -1] = np.arange(table.shape[1])
        return table

    @cached_property
    def ways(self) -> NDArray[np.object_]:
        """`(T+1, S+1)` Python ints: how many ways lead from state s at position t to a final state."""
        ways = np.zeros((self.length + 1, len(self.final)), dtype=object)
        ways[-1] = self.final.astype(int)
        for t in reversed(range(self.length)):
            ways[t] = ways[t + 1][self.table[t]].sum(axis=1)
        return ways

    @property
    def count(self) -> int:
        """How many paths there are."""
        return int(self.ways[0, 0])

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        """`(T+1, S+1, V)`: the next state can still become final; all True where none can."""
        live = self.ways > 0
        legal = np.ones((*live.shape, self.table.shape[2] - 1), dtype=bool)
        for t in range(self.length):
            reachable = live[t + 1][self.table[t, :, :-1]]
            legal[t] = reachable | ~reachable.any(axis=1, keepdims=True)
        return legal

    @cached_property
    def _thresholds(self) -> NDArray[np.float64]:
        """`(T, S+1, V)`: the first v with u < threshold v is the next symbol (PAD if none)."""
        thresholds = np.full((self.length, *self.table.shape[1:]), np.inf)
        for t in range(self.length):
            ways = self.ways[t + 1][self.table[t]]
            for s, total in enumerate(self.ways[t]):
                if total:
                    # The last symbol that is possible takes what rounding leaves, an impossible one nothing.
                    last = int(np.flatnonzero(ways[s])[-1])
                    cumulative = np.cumsum([int(w) for w in ways[s]], dtype=object)[:last]
                    thresholds[t, s, :last] = [c / total for c in cumulative]
        return thresholds[:, :, :-1]

    def states(self, tokens: Tokens) -> NDArray[np.int64]:
        """The state `(n,)` after reading tokens `(n, T)`."""
        return _follow(self.table, tokens)

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        """Masks `(n, V)` of the symbols that can still lead from these prefixes to a final state."""
        pad = self.table.shape[2] - 1
        if self.legal.all():
            return np.ones((len(prefixes), pad), dtype=bool)
        lengths = (prefixes != pad).sum(axis=1)
        return self.legal[lengths, _follow(self.prefix_table, prefixes)]

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        """n paths `(n, T)`, independent and uniform; there must be one."""
        tokens = np.empty((n, self.length), dtype=np.int64)
        state = np.zeros(n, dtype=np.int64)
        for t in range(self.length):
            tokens[:, t] = (rng.random(n)[:, None] >= self._thresholds[t, state]).sum(axis=1)
            state = self.table[t, state, tokens[:, t]]
        return tokens

    def enumerate(self) -> Tokens:
        """All paths `(count, T)` in lexicographic order."""
        return np.concatenate([*self.blocks(self.count)]) if self.count else np.zeros((0, self.length), np.int64)

    def blocks(self, size: int) -> Iterator[Tokens]:
        """All paths in lexicographic order, at most `size` at once: `(n, T)`."""
        live = self.ways > 0
        waiting = [(np.zeros((1, 0), dtype=np.int64), np.zeros(1, dtype=np.int64))]
        while waiting:
            prefixes, state = waiting.pop()
            t = prefixes.shape[1]
            if t == self.length:
                yield prefixes
                continue
            states, symbols = np.nonzero(live[t + 1][self.table[t]])  # every step there is, by state
            first, branches = np.searchsorted(states, state), np.bincount(states, minlength=live.shape[1])[state]
            rows = np.repeat(np.arange(len(state)), branches)
            steps = np.arange(len(rows)) + (first - np.cumsum(branches) + branches)[rows]
            tokens = np.column_stack([prefixes[rows], symbols[steps]])
            state = self.table[t, states[steps], symbols[steps]]
            starts = range(0, len(tokens), size)
            waiting += [(tokens[start : start + size], state[start : start + size]) for start in reversed(starts)]


def _follow(table: NDArray[np.int64], tokens: Tokens) -> NDArray[np.int64]:
    """The state `(n,)` to which tokens `(n, t)` lead in a table."""
    state = np.zeros(len(tokens), dtype=np.int64)
    symbols = table.shape[2]
    for t, column in enumerate(tokens.T):
        state = table[t].ravel().take(state * symbols + column)
    return state


def check_tokens(task: SequenceTask, tokens: Tokens) -> None:
    """Raise FormulaError for an array that does not have the shape or ids of formulae of the task."""
    if tokens.shape[1:] != (task.max_length,):
        raise FormulaError(f"tokens must be (n, {task.max_length}), got shape {tokens.shape}")
    if tokens.size and not (tokens.min() >= 0 and tokens.max() <= task.vocabulary.pad):
        raise FormulaError(f"tokens must be ids from 0 to {task.vocabulary.pad} (PAD)")


class GrammarTask(SequenceTask):
    """Base class of tasks whose well-formed formulae an automaton reads: masks follow from it."""

    @abstractmethod
    def build_well_formed(self) -> Paths:
        """The well-formed formulae, correct or not."""

    @cached_property
    def well_formed(self) -> Paths:
        """The well-formed formulae, correct or not."""
        return self.build_well_formed()

    @property
    def transitions(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return self.well_formed.table, self.well_formed.final

    def legal_symbols(self, prefixes: Tokens) -> NDArray[np.bool_]:
        return self.well_formed.legal_symbols(prefixes)


class CheckedTask(GrammarTask):
    """Base class of tasks whose well-formed formulae, of up to `length` symbols and EOS, a checker judges."""

    length: int
    default_preset: ClassVar[str | None] = "transformer"

    @property
    def max_length(self) -> int:
        return self.length + 1

    @abstractmethod
    def check(self, tokens: Tokens) -> NDArray[np.bool_]:
        """The verdicts `(n,)` on well-formed formulae `(n, T)`."""

    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        check_tokens(self, tokens)
        verdicts = self.well_formed.final[self.well_formed.states(tokens)]
        verdicts[verdicts] = self.check(tokens[verdicts])
        return verdicts

    def sample_by_rejection(self, n: int, draw: Callable[[int], Tokens]) -> Tokens:
        """n correct formulae `(n, T)`, of draws that give those correct among so many candidates.

        Raises FormulaError if `MAX_DRAWS` candidates hold none.
        """
        kept = np.zeros((0, self.max_length), dtype=np.int64)
        drawn = 0
        while len(kept) < n:
            if not len(kept) and drawn >= MAX_DRAWS:
                raise FormulaError(
                    f"none of {drawn:,} candidates is correct with at most {self.length} symbols; use simpler "
                    "formulae or another length"
                )
            wanted = min((n - len(kept)) * (drawn + 1) // (len(kept) + 1) + 16, BLOCK)
            kept = np.concatenate([kept, draw(wanted)])
            drawn += wanted
        return kept[:n]


class AutomatonTask(GrammarTask):
    """A task given by `symbols`, `max_length` and `build_automaton`: the automaton gives the verdict, too."""

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
    def _correct(self) -> Paths:
        return Paths(self._automaton.next_state, self._automaton.ended, self._automaton.correct)

    def build_well_formed(self) -> Paths:
        return Paths(self._automaton.next_state, self._automaton.ended, self._automaton.well_formed)

    def sample(self, n: int, rng: np.random.Generator) -> Tokens:
        if not self.count():
            raise FormulaError(f"{type(self).__name__} has no correct formula of length {self.max_length}")
        return self._correct.sample(n, rng)

    def is_correct(self, tokens: Tokens) -> NDArray[np.bool_]:
        check_tokens(self, tokens)
        return self._correct.final[self._correct.states(tokens)]

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        return self.is_correct(tokens)

    def count(self) -> int:
        return self._correct.count

    def enumerate(self) -> Tokens:
        if self.count() > ENUMERATION_LIMIT:
            raise FormulaError(f"{self.count()} correct formulae are too many to list; use sample()")
        return self._correct.enumerate()
