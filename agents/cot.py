"""Cooperative training (Lu et al. 2019): a mediator learns the mixture of data and generator, and guides it.

The mediator M is a language model, trained by maximum likelihood on as many real formulae as draws of the
generator π. Its optimum is the mixture (p_data + π)/2. On prefixes s of its own draws the generator descends

    Σ_t KL(π(· | s_t) ‖ M(· | s_t)),

an expectation over all next symbols, exact at each prefix; there is no reinforcement and no discriminator.

With M the mixture, the gradient of the Jensen-Shannon divergence is half that of KL(π ‖ M), M held fixed. The loss
leaves out its part by way of the prefixes that π reaches, so it is another divergence: one per symbol, on the
generator's own prefixes. It is 0 where π = M on these, which with M the mixture means π = p_data.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from formula_env import distributed
from formula_env.adversarial import floats, gradient_step, mle_step
from formula_env.algorithm import SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    check_at_least,
    check_fraction,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import GeneratorConfig
from formula_env.optimizers import adam, set_lr
from formula_env.sampling import Sampler, draw_keys
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class CoTConfig(GeneratorConfig):
    """Settings of cooperative training."""

    rounds: int = 1500
    """Number of updates of the generator, each after `m_steps` of the mediator."""
    batch_size: int = 256
    """Number of draws in an update of the generator; real formulae, and as many draws, in one of the mediator."""
    m_steps: int = 1
    """Mediator updates in a round."""
    mediator_learning_rate: float = 3e-3
    """Learning rate of the mediator's Adam in the first round; it falls linearly to 0."""
    learning_rate: float = 2e-3
    """Learning rate of the generator's Adam in the first round; it falls linearly to 0."""
    ema_decay: float = 0.99
    """Decay per update of the moving average of the generator's weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, m_steps=self.m_steps)
        check_fraction(ema_decay=self.ema_decay)
        check_positive(
            mediator_learning_rate=self.mediator_learning_rate,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        self.check_generator()

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "learning_rate": LogRange(1e-4, 1e-2),
            "mediator_learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(64, 128, 256),
            "m_steps": Choice(1, 2),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            **self.likelihood_space(),
        }


PAPER = {
    "batch_size": 64, "hidden_dim": 32, "learning_rate": 1e-3, "mediator_learning_rate": 1e-3,
    "max_grad_norm": 5.0, "ema_decay": 0.0,
}  # fmt: skip
"""The authors' rates and sizes for their synthetic data.

Differs: they have 200,000 rounds, a mediator that is twice as wide and has dropout, and rates that do not fall.
"""


class CoT(SequenceAlgorithm):
    """Minimise Σ_t KL(π(· | s_t) ‖ M(· | s_t)) on the generator's own prefixes, while M learns the mixture."""

    Config = CoTConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}

    def __init__(self, task: SequenceTask, config: CoTConfig, seed: int, device: torch.device) -> None:
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = config.make_generator(task).to(device)
        self.mediator = config.make_generator(task).to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.mediator_weights = Averaged(self.mediator, 0.0)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate)
        self.mediator_optimizer = config.make_optimizer(self.mediator, config.mediator_learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.rounds, self.real_batch_size = config.rounds, config.m_steps * config.batch_size
        self.env_steps = 0

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.m-steps or lower --algo.learning-rate"

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """`m_steps` of the mediator, one of the generator."""
        falls = linear(progress)
        set_lr(self.mediator_optimizer, self.config.mediator_learning_rate * falls)
        set_lr(self.optimizer, self.config.learning_rate * falls)
        metrics = {}
        for batch in torch.from_numpy(real).to(self.device).split(self.config.batch_size):
            mixture = torch.cat([distributed.local_rows(batch), self.draw()])
            pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
            metrics = mle_step(self.mediator_weights.ddp, self.mediator_optimizer, mixture, pad, max_grad_norm)
        loss = self.loss(self.draw())
        gradient_step(self.generator, self.optimizer, loss, self.config.max_grad_norm)
        self.weights.update()
        return floats({"train/loss": loss.detach(), "train/nll": metrics["train/nll"]})

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean over draws `(n, T)` of Σ_t KL(π ‖ M) over the next symbol, nats."""
        log_pi = torch.log_softmax(self.weights.ddp(tokens), dim=-1)
        with torch.no_grad():
            log_m = torch.log_softmax(self.mediator(tokens), dim=-1)
        kl = (log_pi.exp() * (log_pi - log_m)).sum(dim=-1)
        return (kl * (tokens != self.task.vocabulary.pad)).sum(dim=1).mean()

    def draw(self) -> Tensor:
        """This process' rows of a batch of draws `(n, T)` of the newest generator."""
        keys = distributed.local_rows(draw_keys(self.config.batch_size, self.rng))
        tokens = Sampler(self.generator, self.task, self.device).write(keys)
        self.env_steps += int(distributed.all_sum((tokens != self.task.vocabulary.pad).sum()))
        return tokens

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return saved | {"rng": self.rng.get_state(), "env_steps": self.env_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.rng.set_state(state["rng"])
        self.env_steps = state["env_steps"]


_STATEFUL = ("weights", "mediator_weights", "optimizer", "mediator_optimizer")
