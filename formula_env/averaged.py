"""A network in training with the moving average of its weights."""

from copy import deepcopy
from functools import cached_property
from typing import Any, Generic, TypeVar

from torch import nn

from formula_env import distributed
from formula_env.adversarial import move_weights

Network = TypeVar("Network", bound=nn.Module)


class Averaged(Generic[Network]):
    """Holds a network and the exponential moving average of its weights, which is steadier.

    Args:
        network: the network that is trained.
        decay: decay of the average per update; 0: the average is the network itself.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network, self.decay = network, decay
        self.average = deepcopy(network) if decay else network

    @cached_property
    def ddp(self) -> nn.Module:
        """The network for forward passes with gradients, averaged over all processes that train together."""
        return distributed.parallel(self.network)

    def update(self) -> None:
        """Move the average towards the network's weights."""
        if self.average is not self.network:
            move_weights(self.average, self.network, self.decay)

    def restart(self) -> None:
        """Set the average to the network's weights."""
        if self.average is not self.network:
            move_weights(self.average, self.network, decay=0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.network.load_state_dict(state["network"])
