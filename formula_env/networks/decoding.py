"""Decoding rules, which change a policy's probabilities before a symbol is drawn.

A policy under such rules is a policy itself. Its probabilities sum to 1 and are known, so sampling, shared
prefixes, rollouts, likelihoods and exact metrics hold for it as for any other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from formula_env.errors import FormulaError, check_at_least, check_types
from formula_env.networks.generators import Generator, token_log_probs
from formula_env.networks.policy import Policy, State
from formula_env.vocabulary import Tokens, Vocabulary

MIN_TEMPERATURE = 1e-3
"""Lowest temperature: logits divided by a much lower one are too large for single precision."""

Mask = Callable[[Tokens], NDArray[np.bool_]]
"""Prefixes `(n, t)` to the symbols `(n, V)` that may follow, at least one each; such as a task's
`legal_symbols`."""


@dataclass(frozen=True)
class Decoding:
    """Rules that change the distribution of the next symbol, applied in the order of the fields.

    Each acts on the distribution that the one before leaves, normalised anew. Of equally probable symbols that
    of the lower id counts as the more probable one. The most probable symbol always stays.

    Raises FormulaError for a value out of range.
    """

    temperature: float = 1.0
    """Temperature τ that logits are divided by; below 1 the probable symbols gain, above 1 the others."""
    top_k: int = 0
    """Number of most probable symbols that are kept; 0: all."""
    top_p: float = 1.0
    """Probability of the nucleus: the fewest most probable symbols that have it together are kept."""
    epsilon: float = 0.0
    """Probability below which symbols are cut."""

    def __post_init__(self) -> None:
        check_types(self)
        if self.temperature < MIN_TEMPERATURE:
            raise FormulaError(
                f"temperature must be at least {MIN_TEMPERATURE}, got {self.temperature}; top_k 1 leaves only the "
                "most probable symbol"
            )
        check_at_least(0, top_k=self.top_k)
        if not 0 < self.top_p <= 1:
            raise FormulaError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if not 0 <= self.epsilon < 1:
            raise FormulaError(f"epsilon must be at least 0 and below 1, got {self.epsilon}")

    def apply(self, logits: Tensor) -> Tensor:
        """Logits `(…, V)` under these rules; symbols that are cut get -inf."""
        logits = logits / self.temperature
        if self.top_k == 0 and self.top_p == 1 and self.epsilon == 0:
            return logits
        # Every rule keeps the first few in this order.
        ordered, place = logits.double().sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(ordered.shape[-1], device=ordered.device)
        if self.top_k:
            ordered = ordered.masked_fill(rank >= self.top_k, -torch.inf)
        if self.top_p < 1:
            probs = torch.softmax(ordered, dim=-1)
            ordered = ordered.masked_fill(probs.cumsum(dim=-1) - probs >= self.top_p, -torch.inf)
        if self.epsilon:
            probs = torch.softmax(ordered, dim=-1)
            ordered = ordered.masked_fill((probs < self.epsilon) & (rank > 0), -torch.inf)
        cut = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, place, ordered == -torch.inf)
        return logits.masked_fill(cut, -torch.inf)


class Decoded:
    """The policy that another one becomes under decoding rules."""

    def __init__(self, policy: Policy, decoding: Decoding) -> None:
        self.policy, self.decoding = policy, decoding

    def start(self, n: int) -> State:
        """The state of n empty prefixes of the inner policy."""
        return self.policy.start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Read the symbols `(n,)`: logits `(n, V)` under the decoding rules, and the new state."""
        logits, state = self.policy.step(symbols, state)
        return self.decoding.apply(logits), state


class DecodedGenerator(Decoded):
    """A generator under decoding rules, with the likelihood of whole formulae in one pass, and its gradient."""

    policy: Generator

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Log-likelihood `(n,)` in nats of formulae `(n, T)`."""
        logits = self.decoding.apply(self.policy(tokens))
        return token_log_probs(logits, tokens, self.policy.vocabulary.pad).sum(dim=1)


class Masked:
    """The policy that another one becomes when a mask forbids symbols; the probabilities of the rest are scaled.

    Where the policy gives all symbols that are left probability 0, they are equally probable.
    """

    def __init__(self, policy: Policy, mask: Mask, vocabulary: Vocabulary) -> None:
        self.policy, self.mask, self.vocabulary = policy, mask, vocabulary

    def start(self, n: int) -> State:
        """The state of n empty prefixes: their symbols, and the state of the inner policy."""
        return torch.empty((n, 0), dtype=torch.int64), *self.policy.start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Read the symbols `(n,)`: logits `(n, V)`, -inf for forbidden symbols, and the new state."""
        prefixes, *inner = state
        prefixes = prefixes.to(symbols.device)
        if (symbols != self.vocabulary.bos).all():
            prefixes = torch.cat([prefixes, symbols[:, None]], dim=1)
        logits, inner = self.policy.step(symbols, tuple(inner))
        allowed = torch.from_numpy(self.mask(prefixes.cpu().numpy())).to(logits.device)
        possible = (allowed & (logits > -torch.inf)).any(dim=1, keepdim=True)
        logits = torch.where(possible, logits, 0.0).masked_fill(~allowed, -torch.inf)
        return logits, (prefixes, *inner)


class MaskedGenerator(Generator):
    """The generator that another one becomes when a mask forbids symbols; see `Masked`."""

    def __init__(self, generator: Generator, mask: Mask) -> None:
        super().__init__()
        self.generator, self.mask, self.vocabulary = generator, mask, generator.vocabulary

    def start(self, n: int) -> State:
        return Masked(self.generator, self.mask, self.vocabulary).start(n)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        return Masked(self.generator, self.mask, self.vocabulary).step(symbols, state)

    def forward(self, tokens: Tensor) -> Tensor:
        ids = tokens.cpu().numpy()
        allowed = np.stack([self.mask(ids[:, :t]) for t in range(ids.shape[1])], axis=1)
        return self.generator(tokens).masked_fill(~torch.from_numpy(allowed).to(tokens.device), -torch.inf)
