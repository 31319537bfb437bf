"""Maximum likelihood: teacher forcing on the training set. The baseline that everything stands beside."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from formula_env import distributed
from formula_env.adversarial import floats, mle_step
from formula_env.algorithm import SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import MAX_BATCH, check_at_least, check_fraction, check_positive, check_range, check_types
from formula_env.networks import MANY, TRANSFORMER, GeneratorConfig
from formula_env.optimizers import set_lr
from formula_env.sampling import Sampler
from formula_env.schedules import cosine
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class MLEConfig(GeneratorConfig):
    """Settings of maximum likelihood."""

    rounds: int = 3000
    """Number of updates."""
    batch_size: int = 128
    """Number of formulae in an update."""
    learning_rate: float = 3e-3
    """Learning rate of Adam at the start; it falls to 0 along a cosine."""
    max_grad_norm: float = 5.0
    """Bound of the gradient's norm."""
    ema_decay: float = 0.0
    """Decay per update of the moving average of the weights, which is reported; 0: the newest are."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_positive(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        check_fraction(ema_decay=self.ema_decay)
        self.check_generator()

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "learning_rate": LogRange(3e-4, 1e-2),
            "batch_size": Choice(64, 128, 256, 512),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            **self.likelihood_space(),
        }


TRANSFORMER_MLE = TRANSFORMER | {"rounds": 1000, "learning_rate": 1e-3, "max_grad_norm": 1.0, "ema_decay": 0.99}
"""Preset for formulae with many different symbols, of which few are seen."""

TRANSFORMER_MANY = TRANSFORMER_MLE | MANY | {"rounds": 4000}
"""Preset for such formulae if over 10,000 are seen."""


class MLE(SequenceAlgorithm):
    """Minimise -E_real[log π(x)]."""

    Config = MLEConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "transformer": TRANSFORMER_MLE,
        "transformer-many": TRANSFORMER_MANY,
    }

    def __init__(self, task: SequenceTask, config: MLEConfig, seed: int, device: torch.device) -> None:
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = config.make_generator(task).to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        self.optimizer = config.make_optimizer(self.generator, config.learning_rate)
        self.rounds, self.real_batch_size = config.rounds, config.batch_size

    @property
    def collapse_advice(self) -> str:
        return "lower --algo.rounds or --algo.learning-rate, or train on more with --data.size"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        set_lr(self.optimizer, self.config.learning_rate * cosine(progress))
        batch = distributed.local_rows(torch.from_numpy(real).to(self.device))
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        metrics = floats(mle_step(self.weights.ddp, self.optimizer, batch, pad, max_grad_norm))
        self.weights.update()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.weights.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
