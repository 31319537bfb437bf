"""What an algorithm must offer to be trained, evaluated, tracked, saved and resumed by the one training loop."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from formula_env.vocabulary import Tokens


class Algorithm(Protocol):
    """An algorithm owns networks and optimisers; never a loop, a logger or a file.

    A class `X` is built as `X(task, config, seed, device)`, where `config` is an instance of `X.Config`, a frozen
    dataclass of hyper-parameters. Everything it draws at random while training comes from generators that it
    saves in `state_dict`; `sample` depends on its seed only, so evaluating never changes the training.
    """

    pretrain_rounds: int
    """How often the loop calls `pretrain` before the first `update`."""
    rounds: int
    """How often it calls `update`."""
    real_per_round: int
    """How many real formulae a call of either is handed."""
    start_name: str
    """What the generator is before the first `update`: "MLE start", "untrained"."""
    env_steps: int
    """Symbols written in the environment so far."""

    def pretrain(self, real: Tokens) -> dict[str, float]:
        """One round before the algorithm proper, on real formulae `(real_per_round, T)`; metrics of the round."""
        ...

    def update(self, real: Tokens) -> dict[str, float]:
        """One round of the algorithm proper, likewise."""
        ...

    def sample(self, n: int, seed: int) -> Tokens:
        """n formulae `(n, T)` from the generator that the algorithm stands for."""
        ...

    def log_prob(self, tokens: Tokens) -> NDArray[np.float64]:
        """Log-likelihood `(n,)` of formulae under that generator, nats."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
