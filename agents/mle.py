"""Maximum likelihood: teacher forcing on the training set. The baseline that everything stands beside."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from formula_env import distributed
from formula_env.adversarial import adam, floats, mle_step, set_lr
from formula_env.errors import MAX_BATCH, MAX_WIDTH, check_above_zero, check_at_least, check_range, check_types
from formula_env.networks import LSTMGenerator
from formula_env.rollouts import write
from formula_env.sampling import draw_keys, log_prob
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class MLEConfig:
    rounds: int = 3000
    """Updates."""
    batch_size: int = 128
    """Formulae in an update."""
    learning_rate: float = 3e-3
    """Of Adam at the start; it falls to 0 along a cosine."""
    max_grad_norm: float = 5.0
    """The gradient's norm is clipped to this."""
    embedding_dim: int = 32
    """Of the generator's symbols."""
    hidden_dim: int = 64
    """Of the generator's LSTM."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_WIDTH, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_above_zero(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)


class MLE:
    """Minimise -E_real[log π(x)]."""

    Config = MLEConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    trains_on = Task
    density_ratio = None  # there is no discriminator

    def __init__(self, task: Task, config: MLEConfig, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = LSTMGenerator(task.vocabulary, config.embedding_dim, config.hidden_dim).to(device)
        self.trained_generator = distributed.parallel(self.generator)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate)
        distributed.share_of(config.batch_size)
        self.round = self.env_steps = 0  # it never acts
        self.start_name = "untrained"
        self.pretrain_rounds, self.rounds, self.real_per_round = 0, config.rounds, config.batch_size

    @property
    def collapse_advice(self) -> str:
        return "lower --algo.rounds or --algo.learning-rate, or train on more with --data.size"

    def pretrain(self, real: Tokens) -> dict[str, float]:
        raise NotImplementedError("maximum likelihood has nothing to start from")

    def update(self, real: Tokens) -> dict[str, float]:
        set_lr(
            self.optimizer,
            self.config.learning_rate * (1 + math.cos(math.pi * self.round / self.rounds)) / 2,
        )
        batch = distributed.own_rows(torch.from_numpy(real).to(self.device))
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        metrics = mle_step(self.trained_generator, self.optimizer, batch, pad, max_grad_norm)
        self.round += 1
        return floats(metrics)

    def sample(self, n: int, seed: int) -> Tokens:
        keys = draw_keys(n, torch.Generator().manual_seed(seed)).to(self.device)
        return write(self.generator, self.task.vocabulary, self.task.max_length, keys).cpu().numpy()

    def log_prob(self, tokens: Tokens) -> NDArray[np.float64]:
        batch = torch.from_numpy(tokens).to(self.device)
        return log_prob(self.generator, self.task.vocabulary, batch).cpu().numpy()

    def exports(self) -> dict[str, bytes]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "round": self.round,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.round = state["round"]
