"""Random numbers that depend on a key alone: not on what else is drawn, nor in which order or how many at once."""

import torch
from torch import Tensor


def derive_keys(keys: Tensor, number: Tensor | int) -> Tensor:
    """A new key for each (key, number), int64; both may be `(m,)` or broadcast."""
    numbers = torch.as_tensor(number, dtype=torch.int64, device=keys.device)
    return mix(keys + (numbers + 1) * _GOLDEN)


def rollout_keys(keys: Tensor, num_rollouts: int) -> Tensor:
    """The keys `(m, N)` of the rollouts of formulae with these keys `(m,)`, counted from 0."""
    return derive_keys(keys[:, None], torch.arange(num_rollouts, device=keys.device))


def writer_keys(keys: Tensor) -> Tensor:
    """The keys `(m,)` by which a policy writes formulae of these keys `(m,)` itself."""
    return derive_keys(keys, WRITER_STREAM)


WRITER_STREAM = -1
"""The stream beside those of the rollouts. Recorded results depend on it."""


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 (Steele et al. 2014): a bijection that scatters neighbouring inputs."""
    x = (x ^ _shift_right(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shift_right(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shift_right(x, 31)


def stream_uniforms(keys: Tensor, length: int) -> Tensor:
    """`length` numbers for each key `(m,)`: `(length, m)` float64 in [2^-52, 1 - 2^-52].

    Each key seeds a multiplicative congruential generator modulo 2^64 (its multiplier is from Steele and Vigna
    2022, "Computationally easy, spectrally good multipliers"), of which the highest bits are used.
    """
    state = mix(keys) | 1
    numbers = torch.empty((length, len(keys)), dtype=torch.int64, device=keys.device)
    for row in numbers:
        state = torch.mul(state, _MULTIPLIER, out=row)
    return numbers.double().mul_(_SCALE).add_(0.5)


_GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as int64
_MULTIPLIER = -0x0ECA8515D19D563B  # 0xF1357AEA2E62A9C5
_SCALE = 2.0**-64 * (1 - 2.0**-51)  # a little less than 2^-64, so that no number is rounded up to 1


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # torch shifts int64 with the sign; the mask takes the copies of the sign bit away.
    return (x >> bits) & ((1 << (64 - bits)) - 1)
