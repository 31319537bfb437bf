"""`Algorithm`, the base class of what the training loop trains, evaluates, tracks, saves and resumes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from formula_env.networks.policy import Policy
from formula_env.sampling import Sampler
from formula_env.tasks.base import BaseTask, SequenceTask
from formula_env.vocabulary import Tokens

Batch = NDArray[Any]
"""Formulae as tokens `(n, T)` int64, or vectors `(n, d)` float64: what the algorithm's kind of task is made of."""

LogProb = Callable[[Batch], NDArray[np.float64]]
"""Formulae `(n, T)` to their log-likelihoods `(n,)`, nats."""

DensityRatio = Callable[[Batch], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Formulae `(n, T)` to the discriminator's logits `(n,)`, and the log-likelihoods `(n,)`, nats, of the generator
that it is trained against. A perfect discriminator's logit is the log of real to fake density."""


class Algorithm(ABC):
    """An algorithm owns networks and optimisers; never a loop, a logger or a file.

    A class `X` is built as `X(task, config, seed, device)`, where `config` is an instance of `X.Config`, a frozen
    dataclass of hyper-parameters. Everything it draws at random while training comes from generators that it
    saves in `state_dict`; `sample` depends on its seed only, so evaluating never changes the training.

    A subclass has to set `Config`, `task_type`, `rounds`, `real_batch_size` and `collapse_advice`, and to define
    `update`, `sample`, `state_dict` and `load_state_dict`. The rest has defaults.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Hyper-parameters other than the defaults, by name."""
    task_type: type[BaseTask]
    """The kind of task that the algorithm is for."""
    pretrain_rounds: int = 0
    """How often the loop calls `pretrain` before the first `update`."""
    rounds: int
    """How often the loop calls `update`."""
    real_batch_size: int
    """How many real formulae `pretrain` and `update` are given."""
    start_label: str = "untrained"
    """Description of the generator before the first `update`: "MLE start", "untrained"."""
    env_steps: int = 0
    """Symbols written in the environment so far."""

    @property
    @abstractmethod
    def collapse_advice(self) -> str:
        """Advice for a run whose formulae have become few: what to change, with options of the command line that
        have an effect in this run."""

    @property
    def notes(self) -> list[str]:
        """Warnings about what the settings lead to in this task, which a run prints at its start."""
        return []

    def pretrain(self, real: Batch, progress: float) -> dict[str, float]:
        """One round of pre-training; arguments and result as in `update`."""
        raise NotImplementedError("pretrain_rounds is 0")

    @abstractmethod
    def update(self, real: Batch, progress: float) -> dict[str, float]:
        """One round of training.

        Args:
            real: real formulae `(real_batch_size, T)`.
            progress: share of the rounds that are done, in [0, 1).

        Returns the metrics of the round.
        """

    @abstractmethod
    def sample(self, n: int, seed: int) -> Batch:
        """n formulae `(n, T)` from the generator that the algorithm stands for."""

    @property
    def policy(self) -> Policy | None:
        """The generator step by step, which decoding rules and templates act on; None where it has no known
        distribution of the next symbol."""
        return None

    @property
    def log_prob(self) -> LogProb | None:
        """The log-likelihood of formulae under the generator; None where it isn't known."""
        return None

    @property
    def density_ratio(self) -> DensityRatio | None:
        """Discriminator logits and generator log-likelihoods, for calibration metrics; None where unknown.

        The generator in it is the trained one, not a moving average.
        """
        return None

    def extra_files(self) -> dict[str, bytes]:
        """Files for other programs that a finished run leaves in its folder, by name."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The state that training continues from, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned, bit for bit."""


class SequenceAlgorithm(Algorithm):
    """An algorithm whose generator is a policy with an exact likelihood. A subclass also sets `sampler`."""

    task_type = SequenceTask
    sampler: Sampler
    """What draws from the generator that the algorithm stands for."""

    def sample(self, n: int, seed: int) -> Tokens:
        return self.sampler.sample(n, seed)

    @property
    def policy(self) -> Policy:
        return self.sampler.policy

    @property
    def log_prob(self) -> LogProb:
        return self.sampler.log_prob
