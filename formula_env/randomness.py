"""Global random generators of torch, numpy and Python, which libraries draw from without being asked."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def global_random_state() -> dict[str, Any]:
    """The state of the global generators of torch, numpy and Python."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_global_random_state(state: dict[str, Any]) -> None:
    """Set the global generators of torch, numpy and Python to a saved state."""
    torch.set_rng_state(state["torch"].cpu())
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def seed_global_random(seed: int) -> None:
    """Seed torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


class IsolatedRNG:
    """Global random numbers for the use of one library alone, independent of all other draws.

    `with rng.active():` the global generators are its own; `state` `{name: …}` is saved and put back.
    """

    def __init__(self, seed: int) -> None:
        outside = global_random_state()
        seed_global_random(seed)
        self.state = global_random_state()
        set_global_random_state(outside)

    @contextmanager
    def active(self) -> Iterator[None]:
        outside = global_random_state()
        set_global_random_state(self.state)
        try:
            yield
        finally:
            self.state = global_random_state()
            set_global_random_state(outside)
