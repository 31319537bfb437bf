"""Sampling formulae that match a template: exactly from p(x | template) where all that match can be listed."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from formula_env.errors import FormulaError
from formula_env.evaluators import in_chunks
from formula_env.networks.decoding import Decoded, Decoding, Masked
from formula_env.networks.policy import Policy
from formula_env.sampling import Sampler
from formula_env.tasks.templates import TemplateMask
from formula_env.vocabulary import Tokens

MAX_BATCHES = 100
"""Batches after which a masked sampler that meets dead ends gives up."""


class ConditionalSampler:
    """Draws from p(x | template) = p(x) / Σ p, the sum over all formulae that match the template.

    Args:
        formulae: all that match, `(m, T)`.
        log_probs: their log-probabilities `(m,)` under the policy, nats; not all -inf.
        form: words for messages: what they match.
    """

    def __init__(self, formulae: Tokens, log_probs: NDArray[np.float64], form: str) -> None:
        log_mass = np.logaddexp.reduce(log_probs)
        self.formulae, self.log_probs = formulae, log_probs - log_mass
        self.description = (
            f"drawn from p(x | template) exactly; formulae that match {form}: {len(formulae):,}, with the "
            f"probability {math.exp(log_mass):.4g} together"
        )

    def sample(self, n: int, seed: int) -> Tokens:
        """n formulae `(n, T)`."""
        probs = np.exp(self.log_probs)
        return self.formulae[np.random.default_rng(seed).choice(len(probs), n, p=probs / probs.sum())]


class MaskedSampler:
    """Formulae written symbol by symbol under a template's mask.

    Each symbol is drawn from the policy's distribution over those that can still be completed. This is not
    p(x | template): how probable the completions are plays no part.

    Args:
        sampler: of the policy under the mask.
        mask: of the template.
        reason: words for messages: why formulae aren't drawn from p(x | template).
    """

    def __init__(self, sampler: Sampler, mask: TemplateMask, reason: str) -> None:
        self.sampler, self.mask = sampler, mask
        self.description = (
            f"{reason}; each symbol is drawn among those that can still be completed, which is not p(x | template)"
        )

    def sample(self, n: int, seed: int) -> Tokens:
        """n formulae `(n, T)`; raises FormulaError if too many prefixes are dead ends."""
        rng = torch.Generator().manual_seed(seed)
        kept = np.empty((0, self.mask.length), dtype=np.int64)
        for _ in range(MAX_BATCHES):
            drawn = self.sampler.draw(n, rng)
            kept = np.concatenate([kept, drawn[self.mask.matches(drawn)]])
            if len(kept) >= n:
                return kept[:n]
        form, draws = self.mask.template.text, MAX_BATCHES * n
        raise FormulaError(
            f"only {len(kept)} of {draws:,} formulae came to match {form}, not {n}; give more of it"
        )


def conditional_sampler(
    policy: Policy, decoding: Decoding, mask: TemplateMask, device: str | torch.device
) -> ConditionalSampler | MaskedSampler:
    """A sampler of formulae that match the mask's template, by a policy under decoding rules.

    It is exact where all formulae that match can be listed, and one of them has a probability above 0. Elsewhere
    the rules act on the symbols that the mask leaves. Raises FormulaError if nothing matches.
    """
    task, form = mask.task, mask.template.text
    formulae = mask.enumerate()
    if formulae is None:
        reason = f"too many formulae match {form} to list"
    elif not len(formulae):
        raise FormulaError(f"no well-formed formula matches {form}")
    else:
        log_probs = in_chunks(Sampler(Decoded(policy, decoding), task, device).log_prob, formulae)
        if log_probs.max() > -math.inf:
            return ConditionalSampler(formulae, log_probs, form)
        reason = f"unasked, the generator never writes what matches {form}"
    masked = Masked(policy, mask.legal_symbols, task.vocabulary)
    return MaskedSampler(Sampler(Decoded(masked, decoding), task, device), mask, reason)
