"""How a learning rate, or another weight, falls over a run: factors of its first value."""

import math


def linear(progress: float, end_factor: float = 0.0) -> float:
    """The factor that falls linearly from 1 to `end_factor` while progress goes from 0 to 1."""
    return 1 - (1 - end_factor) * progress


def cosine(progress: float) -> float:
    """The factor that falls from 1 to 0 along half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    return (1 + math.cos(math.pi * progress)) / 2
