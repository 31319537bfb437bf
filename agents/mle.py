"""Maximum likelihood: teacher forcing on the training set. The baseline that everything stands beside."""

from dataclasses import dataclass
from typing import Any

import torch

from formula_env import distributed
from formula_env.adversarial import adam, floats, mle_step, set_lr
from formula_env.algorithm import Algorithm, LogProb
from formula_env.errors import MAX_BATCH, MAX_WIDTH, check_at_least, check_positive, check_range, check_types
from formula_env.networks import LSTMGenerator
from formula_env.sampling import Sampler
from formula_env.schedules import cosine
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class MLEConfig:
    rounds: int = 3000
    """Number of updates."""
    batch_size: int = 128
    """Number of formulae in an update."""
    learning_rate: float = 3e-3
    """Learning rate of Adam at the start; it falls to 0 along a cosine."""
    max_grad_norm: float = 5.0
    """Bound of the gradient's norm."""
    embedding_dim: int = 32
    """Size of the generator's symbol embedding."""
    hidden_dim: int = 64
    """Size of the generator's LSTM."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_WIDTH, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_positive(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)


class MLE(Algorithm):
    """Minimise -E_real[log π(x)]."""

    Config = MLEConfig
    task_type = SequenceTask

    def __init__(self, task: SequenceTask, config: MLEConfig, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = LSTMGenerator(task.vocabulary, config.embedding_dim, config.hidden_dim).to(device)
        self.ddp_generator = distributed.parallel(self.generator)
        self.sampler = Sampler(self.generator, task, device)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate)
        distributed.local_batch_size(config.batch_size)
        self.rounds, self.real_batch_size = config.rounds, config.batch_size

    @property
    def collapse_advice(self) -> str:
        return "lower --algo.rounds or --algo.learning-rate, or train on more with --data.size"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        set_lr(self.optimizer, self.config.learning_rate * cosine(progress))
        batch = distributed.local_rows(torch.from_numpy(real).to(self.device))
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        return floats(mle_step(self.ddp_generator, self.optimizer, batch, pad, max_grad_norm))

    def sample(self, n: int, seed: int) -> Tokens:
        return self.sampler.sample(n, seed)

    @property
    def log_prob(self) -> LogProb:
        return self.sampler.log_prob

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
