"""Ways to estimate Q, as objects: by Monte-Carlo completions, exactly, or not at all."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.policy import Policy
from formula_env.rollouts.exact import exact_q
from formula_env.rollouts.monte_carlo import Score, monte_carlo_q, play, write
from formula_env.vocabulary import Vocabulary


class Estimator(Protocol):
    """Q of prefixes under a policy that completes them."""

    def q(
        self, policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor, keys: Tensor
    ) -> Tensor:
        """Q `(B, T+1)` of every prefix of formulae `(B, T)`; arguments and result as in `monte_carlo_q`."""
        ...

    def play(
        self, writer: Policy, policy: Policy, score: Score, vocabulary: Vocabulary, length: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Formulae `(B, T)` that the writer writes, and the Q `(B, T+1)` of their non-empty prefixes."""
        ...


@dataclass(frozen=True)
class MonteCarlo(Estimator):
    """The mean score of some completions of each prefix."""

    num_rollouts: int

    def q(
        self, policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor, keys: Tensor
    ) -> Tensor:
        return monte_carlo_q(policy, score, vocabulary, tokens, first, keys, self.num_rollouts)

    def play(
        self, writer: Policy, policy: Policy, score: Score, vocabulary: Vocabulary, length: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        first = torch.ones_like(keys)
        if writer is policy:
            return play(policy, score, vocabulary, length, first, keys, self.num_rollouts)
        tokens = write(writer, vocabulary, length, keys)
        return tokens, self.q(policy, score, vocabulary, tokens, first, keys)


@dataclass(frozen=True)
class Exact(Estimator):
    """The expected score over all completions, where the prefix tree is small."""

    def q(
        self, policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor, keys: Tensor
    ) -> Tensor:
        return exact_q(policy, score, vocabulary, tokens, first)

    def play(
        self, writer: Policy, policy: Policy, score: Score, vocabulary: Vocabulary, length: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = write(writer, vocabulary, length, keys)
        return tokens, self.q(policy, score, vocabulary, tokens, torch.ones_like(keys), keys)


@dataclass(frozen=True)
class NoRollouts(Estimator):
    """No estimate: a formula that is played counts as the only completion of its own prefixes."""

    def q(
        self, policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor, keys: Tensor
    ) -> Tensor:
        """Always raises FormulaError."""
        raise FormulaError("Q of prefixes needs num_rollouts of at least 1")

    def play(
        self, writer: Policy, policy: Policy, score: Score, vocabulary: Vocabulary, length: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = write(writer, vocabulary, length, keys)
        return tokens, score(tokens).double()[:, None].repeat(1, length + 1)
