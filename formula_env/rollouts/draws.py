"""Symbols from random numbers: inversion of a categorical distribution, for many distributions at once."""

import torch
from torch import Tensor


def cumulative_probs(logits: Tensor) -> Tensor:
    """softmax(logits) `(n, V)` summed up along V, ending in 1, in float64: for `inverse_cdf`."""
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    return cumulative / cumulative[:, -1:]


def inverse_cdf(cumulative: Tensor, row: Tensor, uniforms: Tensor) -> Tensor:
    """The symbols `(m,)` in whose slices of a distribution the numbers u `(m,)` from [0, 1) lie.

    `row` `(m,)` says which of the distributions `(n, V)`, from `cumulative_probs`, each is drawn from. A symbol of
    probability 0 is never chosen, whatever the rounding of the sum. By bisection, all at once: no tensor is
    larger than `row`, however many symbols there are.
    """
    vocab_size = cumulative.shape[1]
    rounds = (vocab_size - 1).bit_length()
    width = 2**rounds
    if width > vocab_size:
        cumulative = torch.nn.functional.pad(cumulative, (0, width - vocab_size), value=1.0)
    symbol = torch.zeros_like(row)
    for half in (2**power for power in reversed(range(rounds))):
        # u lies at or above the slices of this many symbols more
        reached = uniforms >= cumulative.view(-1).index_select(0, row * width + symbol + (half - 1))
        symbol = symbol + half * reached
    return symbol
