"""Running episodes: formulae written side by side, and the only place where a formula grows by a symbol."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding
from numpy.typing import NDArray
from torch import Tensor

from formula_env.errors import FormulaError, check_keys
from formula_env.rollouts import derive_keys
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens, Vocabulary

Shown = tuple[Tokens, np.int64, NDArray[np.float64], bool]
"""A formula for `formula_env.render`: tokens `(T,)`, length, rewards `(T,)`, whether it is finished."""


def transition(
    vocabulary: Vocabulary,
    tokens: Tokens,
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    actions: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Append the symbols `(m,)` to the prefixes in these rows `(m,)`; returns which of them are finished, `(m,)`.

    Tokens `(n, T)` and their lengths `(n,)` change in place.
    """
    length = lengths[rows]
    tokens[rows, length] = actions
    length += 1
    lengths[rows] = length
    finished = length == tokens.shape[1]
    if vocabulary.eos is not None:
        finished |= actions == vocabulary.eos
    return finished


class Episodes:
    """`n` formulae of a task, one in each environment, with what they earned and their random numbers.

    Attributes:
        tokens: `(n, T)`, with PAD behind the prefixes.
        lengths: `(n,)`, of the prefixes.
        finished: `(n,)` bool; true before the first episode.
        is_correct: `(n,)` int8, 1 where a correct formula is finished.
        q: `(n,)`, of the prefixes.
        rewards: `(n, T)`, of the symbols.
        counts: `(n,)`, episodes begun since the environment was seeded.
        seed_keys: `(n,)`, where the random numbers of an environment's rollouts come from.
        is_seeded: whether `seed` has been called.
    """

    def __init__(self, task: SequenceTask, n: int) -> None:
        self.task = task
        self.tokens: Tokens = np.full((n, task.max_length), task.vocabulary.pad)
        self.lengths = np.zeros(n, dtype=np.int64)
        self.finished = np.ones(n, dtype=bool)
        self.is_correct = np.zeros(n, dtype=np.int8)
        self.q = np.zeros(n)
        self.rewards = np.zeros((n, task.max_length))
        self.counts = np.zeros(n, dtype=np.int64)
        self.seed_keys = np.zeros(n, dtype=np.int64)
        self.is_seeded = False

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[Shown]:
        return zip(self.tokens, self.lengths, self.rewards, self.finished.tolist(), strict=True)

    # --- random numbers ---------------------------------------------------------------------------------------

    def seed(self, seeds: Sequence[int | None] | None, mask: NDArray[np.bool_]) -> None:
        """Seed the environments that are marked and have a seed; the first time, the others by chance.

        Raises FormulaError for another number of seeds than of environments.
        """
        if seeds is not None and len(seeds) != len(self):
            raise FormulaError(f"{len(seeds)} seeds for {len(self)} environments; give one for each")
        if not self.is_seeded:
            self.seed_keys = np.array([_seed_key(None) for _ in range(len(self))])
            self.is_seeded = True
        for i, single in enumerate(seeds or ()):
            if single is not None and mask[i]:
                self.seed_keys[i], self.counts[i] = _seed_key(single), 0

    def keys(self, envs: NDArray[np.int64]) -> Tensor:
        """Seeds `(m,)` of the random numbers of these environments' running episodes."""
        return derive_keys(torch.from_numpy(self.seed_keys[envs]), torch.from_numpy(self.counts[envs]))

    # --- writing ----------------------------------------------------------------------------------------------

    def begin(self, mask: NDArray[np.bool_], prefixes: Tokens | None = None) -> None:
        """New formulae in the environments marked: empty, or beginning with these prefixes `(n, T)`."""
        if prefixes is None:
            self.tokens[mask] = self.task.vocabulary.pad
            self.lengths[mask] = 0
        else:
            self.tokens[mask] = prefixes[mask]
            self.lengths[mask] = (prefixes[mask] != self.task.vocabulary.pad).sum(axis=1)
        self.finished[mask] = False
        self.is_correct[mask] = 0
        self.rewards[mask] = 0.0
        self.counts[mask] += 1

    def append(self, envs: NDArray[np.int64], actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Write symbols `(m,)` in these environments `(m,)`; returns which formulae are finished, `(m,)`."""
        finished = transition(self.task.vocabulary, self.tokens, self.lengths, envs, actions)
        self.finished[envs] = finished
        ended = envs[finished]
        if len(ended):  # faster than finished.any()
            self.is_correct[ended] = self.task.is_correct(self.tokens[ended])
        return finished

    def pay(self, envs: NDArray[np.int64], rewards: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        """Note what the last symbols earned, and the Q of the prefixes, `(m,)` each."""
        self.rewards[envs, self.lengths[envs] - 1] = rewards
        self.q[envs] = q

    def end(self, tokens: Tokens, rewards: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        """Write all formulae `(n, T)` to the end at once, with the rewards `(n, T)` and the last Q `(n,)`."""
        self.tokens, self.rewards, self.q = tokens.copy(), rewards, q.copy()
        self.lengths = (tokens != self.task.vocabulary.pad).sum(axis=1)
        self.finished[:] = True
        self.is_correct[:] = self.task.is_correct(tokens)

    # --- saved ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the arrays, by name, `(n, …)` each."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in _SAVED}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a state that `state_dict` returned; a wrong one raises FormulaError and changes nothing."""
        check_keys("the state of the episodes", state, _SAVED)
        vars(self).update({name: self._checked(name, state[name]) for name in _SAVED})
        self.is_correct[:] = self.finished & self.task.is_correct(self.tokens)
        self.is_seeded = True

    def _checked(self, name: str, value: Any) -> NDArray[Any]:
        """A saved array, if it is like the present one of this name."""
        present = torch.from_numpy(getattr(self, name))
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (present.shape, present.dtype):
            n, length = self.tokens.shape
            got = _description(value) if isinstance(value, Tensor) else type(value).__name__
            wanted = f"{name} must be {_description(present)}, got {got}"
            raise FormulaError(f"the state is not of {n} formulae of length {length}: {wanted}")
        return value.cpu().numpy().copy()


_SAVED = ("tokens", "lengths", "finished", "q", "rewards", "counts", "seed_keys")


def _description(tensor: Tensor) -> str:
    return f"a tensor {tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def _seed_key(seed: int | None) -> int:
    """One draw from Gymnasium's generator."""
    return int(seeding.np_random(seed)[0].integers(2**63))
