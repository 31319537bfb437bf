"""A task of variable length, to hold the contract's EOS and PAD to what they promise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from formula_env.tasks.automaton import DEAD, Automaton, AutomatonTask


@dataclass(frozen=True)
class EvenOnes(AutomatonTask):
    """Binary strings of 1 to length-1 symbols; correct with an even number of ones."""

    length: int = 5
    symbols: ClassVar[tuple[str, ...]] = ("0", "1")

    @property
    def max_length(self) -> int:
        return self.length

    def build_automaton(self) -> Automaton:
        # State 0 is the start: nothing written, so nothing to end.
        start, even, odd, good, bad = range(5)
        row = np.full((5, 3), DEAD)
        row[start] = even, odd, DEAD
        row[even] = even, odd, good
        row[odd] = odd, even, bad
        states = np.arange(5)
        return Automaton(
            next_state=np.repeat(row[None], self.length, axis=0),
            well_formed=states >= good,
            correct=states == good,
            ended=states >= good,
        )
