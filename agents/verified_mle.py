"""Verified-buffer MLE: maximum likelihood on the training data and on correct formulae of the generator's own.

What the exact checker approves is as good as data, so it joins them. The generator generalises from them, finds
more, and so on: expert iteration with the checker as the expert.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from formula_env import distributed
from formula_env.agents.mle import MLE, TRANSFORMER_MANY, TRANSFORMER_MLE, MLEConfig
from formula_env.errors import MAX_BATCH, check_at_least, check_fraction, check_range
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.sampling import Sampler
from formula_env.search_space import Choice, SearchSpace
from formula_env.tasks.base import SequenceTask, check_has_checker
from formula_env.vocabulary import Tokens, distinct_rows


@dataclass(frozen=True)
class VerifiedMLEConfig(MLEConfig):
    """Settings of likelihood on formulae that the checker approves."""

    rounds: int = 2500
    batch_size: int = 256
    hidden_dim: int = 128
    warmup_rounds: int = 200
    """Updates on the training data alone, before the first search."""
    search_every: int = 10
    """Number of updates from one search to the next."""
    search_size: int = 1024
    """Number of formulae that the generator writes in a search."""
    exploration: float = 0.0
    """Share of a search that is drawn at temperature 4, for what the generator finds all but impossible."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(0, warmup_rounds=self.warmup_rounds)
        check_at_least(1, search_every=self.search_every)
        check_range(1, MAX_BATCH, search_size=self.search_size)
        check_fraction(exploration=self.exploration)

    def search_space(self) -> SearchSpace:
        return {**super().search_space(), "search_size": Choice(512, 1024, 2048)}


EXPLORATION_TEMPERATURE = 4.0

TRANSFORMER_VERIFIED = TRANSFORMER_MLE | {"batch_size": 128, "rounds": 1500, "dropout": 0.0}
"""That of `mle`, without the dropout: what is found keeps the generator from memorising."""


class VerifiedMLE(MLE):
    """Minimise -E[log π(x)] over x uniform among all distinct formulae that are known to be correct.

    Each counts once, however often it was drawn: the aim is the uniform distribution over correct formulae, and
    what the generator prefers to write gains nothing by it. (Were another distribution wanted, each formula would
    have to be weighted by a reference model of it.) The training data are known from the batches of `update`,
    which pass through all of them, and are taken to be correct.
    """

    Config = VerifiedMLEConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "transformer": TRANSFORMER_VERIFIED,
        "transformer-many": TRANSFORMER_MANY,
    }
    config: VerifiedMLEConfig

    def __init__(self, task: SequenceTask, config: VerifiedMLEConfig, seed: int, device: torch.device) -> None:
        check_has_checker(task, "verified-mle")
        super().__init__(task, config, seed, device)
        self.searcher = Sampler(self.weights.average, task, device)  # nothing that is possible is cut
        self.explorer = Sampler(Decoded(self.weights.average, Decoding(EXPLORATION_TEMPERATURE)), task, device)
        self.rng = torch.Generator().manual_seed(seed)
        self.num_updates = self.env_steps = 0
        self.known = DistinctFormulae(task.max_length)
        self.checker_calls = 0

    @property
    def collapse_advice(self) -> str:
        more = "raise --algo.search-size, or train on more with --data.size"
        if not self.config.warmup_rounds:
            return more
        return f"lower --algo.warmup-rounds, so that it searches before it has memorised the data, {more}"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of maximum likelihood; perhaps a search before it."""
        self.known.add(real)
        since_warmup = self.num_updates - self.config.warmup_rounds
        if since_warmup >= 0 and since_warmup % self.config.search_every == 0:
            self.search()
        metrics = super().update(real if since_warmup < 0 else self.draw_known(), progress)
        self.num_updates += 1
        return metrics | {
            "verified/known": float(len(self.known.tokens)),
            "verified/checker_calls": float(self.checker_calls),
        }

    def search(self) -> None:
        """Let the generator write; of what is new, keep what is correct."""
        num_explored = round(self.config.exploration * self.config.search_size)
        written = self.searcher.draw(self.config.search_size - num_explored, self.rng)
        if num_explored:
            written = np.concatenate([written, self.explorer.draw(num_explored, self.rng)])
        written = distributed.from_first(written)  # no rounding may let several processes' knowledge drift apart
        self.env_steps += int((written != self.task.vocabulary.pad).sum())
        candidates = self.known.new_among(written)
        self.checker_calls += len(candidates)
        self.known.add(candidates[self.task.is_correct(candidates)])

    def draw_known(self) -> Tokens:
        """A batch of known formulae, all equally likely."""
        drawn = torch.randint(len(self.known.tokens), (self.config.batch_size,), generator=self.rng)
        return self.known.tokens[drawn.numpy()]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "rng": self.rng.get_state(),
            "known": torch.from_numpy(self.known.tokens.astype(np.int32)),
            "checker_calls": self.checker_calls,
            "env_steps": self.env_steps,
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.rng.set_state(state["rng"])
        self.known = DistinctFormulae(self.task.max_length)
        self.known.add(state["known"].numpy().astype(np.int64))
        for name in ("checker_calls", "env_steps", "num_updates"):
            setattr(self, name, state[name])


class DistinctFormulae:
    """Formulae without repetitions, `tokens` `(n, T)`, in the order in which they came."""

    def __init__(self, max_length: int) -> None:
        self.tokens: Tokens = np.empty((0, max_length), dtype=np.int64)
        self._members: set[bytes] = set()

    def new_among(self, tokens: Tokens) -> Tokens:
        """The distinct rows of `tokens` that are not in the set yet."""
        once = tokens[np.sort(distinct_rows(tokens)[0])]
        return once[[row.tobytes() not in self._members for row in once]]

    def add(self, tokens: Tokens) -> None:
        """Add those of the formulae `(n, T)` that are not in the set yet."""
        new = self.new_among(tokens)
        if len(new):
            self.tokens = np.concatenate([self.tokens, new])
            self._members.update(row.tobytes() for row in new)
