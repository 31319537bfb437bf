"""Optimisers, as every algorithm here makes them."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import nn


class Optimizer(Protocol):
    """The part of `torch.optim.Optimizer` that training uses."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Adam:
    """Adam in one fused kernel, which matters for networks this small; weight decay is decoupled (AdamW)."""
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


class MuonWithAdam:
    """Muon for the given matrices, Adam for all other weights (Jordan et al. 2024; Liu et al. 2025, sec. 2.2).

    Muon replaces a matrix's momentum by the nearest orthogonal matrix, so all directions are learnt at the same
    pace. Its updates are scaled to the size of Adam's, but such matrices stand a rate `MUON_FACTOR` times higher.

    Args:
        matrices: weights of the linear maps within the network; no embeddings, and not the last layer.
        parameters: all weights, these among them.
        lr: learning rate of Adam.
        weight_decay: decoupled weight decay, as in AdamW.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        group = {"params": matrices, "lr": MUON_FACTOR * lr, "lr_factor": MUON_FACTOR}
        self.muon = torch.optim.Muon([group], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        places = set(map(id, matrices))
        self.adam = adam((weights for weights in parameters if id(weights) not in places), lr, weight_decay)
        self.param_groups = list(chain(self.muon.param_groups, self.adam.param_groups))

    def zero_grad(self) -> None:
        self.muon.zero_grad()
        self.adam.zero_grad()

    def step(self) -> None:
        self.muon.step()
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adam.load_state_dict(state_dict["adam"])
        self.param_groups = list(chain(self.muon.param_groups, self.adam.param_groups))


MUON_FACTOR = 10.0
"""Learning rate of the matrices, as a multiple of Adam's."""


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of Adam, and of what stands in a fixed ratio to it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)
