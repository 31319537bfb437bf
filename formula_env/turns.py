"""Base of generators that take turns with a judge: a start by maximum likelihood, then updates of both.

    generator by maximum likelihood; judge against it
    repeat: generator ← one step down its loss; judge ← `d_steps` steps on real formulae and fakes

An algorithm is what its loss and its judge are, in a file of its own.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from formula_env import distributed
from formula_env.adversarial import Metrics, floats, gradient_step, mle_step
from formula_env.algorithm import SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import (
    MAX_BATCH,
    MAX_REPEATS,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import TRANSFORMER, GeneratorConfig
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.networks.generators import Generator, token_log_probs
from formula_env.optimizers import adam, set_lr
from formula_env.rollouts import Estimator, Score
from formula_env.sampling import Sampler, draw_keys
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class TurnsConfig(GeneratorConfig):
    """Settings of all algorithms whose generator takes turns with a judge."""

    rounds: int = 2500
    """Number of updates of the generator, each followed by `d_steps` of the discriminator."""
    mle_rounds: int = 0
    """Rounds of maximum likelihood before, `d_steps` updates each."""
    discriminator_rounds: int = 0
    """Rounds of the discriminator alone, `d_steps` updates each, before the generator's first update."""
    batch_size: int = 256
    """Number of formulae in an update of the generator; real, and as many fake, in one of the discriminator."""
    d_steps: int = 1
    """Discriminator updates in a round."""
    mle_learning_rate: float = 3e-3
    """Learning rate of Adam for maximum likelihood."""
    mle_lr_end_factor: float = 1.0
    """Share of that learning rate that is left after `mle_rounds`; it falls linearly."""
    learning_rate: float = 2e-3
    """Learning rate of Adam for the generator in its first update; it falls linearly to 0."""
    ema_decay: float = 0.99
    """Decay per update of the moving average of the weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_at_least(0, mle_rounds=self.mle_rounds, discriminator_rounds=self.discriminator_rounds)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_range(1, MAX_REPEATS, d_steps=self.d_steps)
        check_fraction(ema_decay=self.ema_decay, mle_lr_end_factor=self.mle_lr_end_factor)
        check_positive(
            mle_learning_rate=self.mle_learning_rate,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        self.check_generator()
        if not self.uses_likelihood:
            check_no_effect(self, "mle_rounds 0", "mle_learning_rate", "optimizer", "weight_decay", "dropout")
        if self.mle_rounds == 0:
            check_no_effect(self, "mle_rounds 0", "mle_lr_end_factor")

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        space: SearchSpace = {
            "learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(64, 128, 256),
            "ema_decay": Choice(0.0, 0.98, 0.99, 0.995),
            "d_steps": Choice(1, 2, 5),
        }
        return {**space, **self.likelihood_space()} if self.uses_likelihood else space

    @property
    def uses_likelihood(self) -> bool:
        """Whether the generator is ever trained by maximum likelihood."""
        return self.mle_rounds > 0


TRANSFORMER_START = TRANSFORMER | {
    "batch_size": 128, "d_steps": 1, "mle_rounds": 1000, "mle_learning_rate": 1e-3, "mle_lr_end_factor": 0.0,
    "discriminator_rounds": 50, "rounds": 100,
}  # fmt: skip
"""Settings of a start by the likelihood that is the preset "transformer" of `mle`, and of few rounds after it."""


class Judge(Protocol):
    """What is trained to tell real from fake: an `Adversary`, or a network of the agent's own."""

    def train(self, real: Tensor, fake: Tensor, progress: float) -> Metrics:
        """One update on real and fake formulae `(B, T)`; `progress` in [0, 1] is how far the run is."""
        ...

    def begin_as(self, generator: nn.Module) -> None:
        """Begin as the generator after maximum likelihood, where it can be one."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state of the judge, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""
        ...


class TurnsAlgorithm(SequenceAlgorithm):
    """A generator and its judge that learn by turns; a subclass defines `make_judge` and `generator_loss`."""

    proposal_temperature: float = 1.0
    """Temperature at which the judge's fakes are drawn."""

    def __init__(self, task: SequenceTask, config: Any, seed: int, device: torch.device) -> None:
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.generator = self.make_generator().to(device)
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        self.adversary = self.make_judge()
        self.mle_optimizer = config.make_optimizer(self.generator, config.mle_learning_rate)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate)
        self.rng = torch.Generator().manual_seed(seed)
        self.start_label = "MLE start" if config.mle_rounds else "untrained"
        self.pretrain_rounds = config.mle_rounds + config.discriminator_rounds
        self.rounds, self.real_batch_size = config.rounds, config.d_steps * config.batch_size
        self.num_pretrained = self.env_steps = 0

    def make_generator(self) -> Generator:
        """The generator's network."""
        return self.config.make_generator(self.task)

    @abstractmethod
    def make_judge(self) -> Any:
        """The `Judge` of the generator."""

    @abstractmethod
    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """The loss on a new batch, and the rewards `(n,)` of its formulae; `real` are examples `(n, T)`."""

    def pretrain(self, real: Tokens, progress: float) -> dict[str, float]:
        """A round of maximum likelihood or, after those, one of the discriminator: `d_steps` updates."""
        done, self.num_pretrained = self.num_pretrained, self.num_pretrained + 1
        if done >= self.config.mle_rounds:
            return self.train_discriminator(real, progress=0.0)
        factor = linear(done / self.config.mle_rounds, self.config.mle_lr_end_factor)
        set_lr(self.mle_optimizer, self.config.mle_learning_rate * factor)
        metrics = self.train_by_likelihood(real)
        self.weights.restart()
        self.adversary.begin_as(self.generator)
        return metrics

    def train_by_likelihood(self, real: Tokens) -> dict[str, float]:
        """`d_steps` steps of the generator towards the likelihood of real formulae."""
        metrics: Metrics = {}
        for batch in self.batches(real):
            pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
            metrics = mle_step(self.weights.ddp, self.mle_optimizer, batch, pad, max_grad_norm)
        return floats(metrics)

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of the generator, `d_steps` of the discriminator."""
        set_lr(self.optimizer, self.config.learning_rate * linear(progress))
        loss, reward = self.generator_loss(self.batches(real)[0], progress)
        gradient_step(self.generator, self.optimizer, loss, self.config.max_grad_norm)
        self.weights.update()
        metrics = floats({"train/loss": loss.detach(), "train/reward": reward.mean()})
        return metrics | self.train_discriminator(real, progress)

    def train_discriminator(self, real: Tokens, progress: float) -> dict[str, float]:
        """`d_steps` steps on real formulae and as many fakes."""
        metrics: dict[str, float] = {}
        for batch in self.batches(real):
            metrics = floats(self.adversary.train(batch, self.fakes(progress), progress))
        return metrics

    def fakes(self, progress: float) -> Tensor:
        """This process' rows of a batch of fakes as the judge reads them: formulae `(n, T)` of the proposal."""
        keys = distributed.local_rows(draw_keys(self.config.batch_size, self.rng))
        return self.write(keys, self.proposal_temperature)

    def draw(self, n: int) -> Tensor:
        """This process' rows of a batch of n formulae `(n, T)` of the newest generator's own."""
        return self.write(distributed.local_rows(draw_keys(n, self.rng)), temperature=1.0)

    def write(self, keys: Tensor, temperature: float) -> Tensor:
        """Formulae `(n, T)` of these keys `(n,)`, written by the newest generator at a temperature."""
        tokens = Sampler(Decoded(self.generator, Decoding(temperature)), self.task, self.device).write(keys)
        self.env_steps += int(distributed.all_sum((tokens != self.task.vocabulary.pad).sum()))
        return tokens

    def play(self, score: Score, estimator: Estimator) -> tuple[Tensor, Tensor]:
        """This process' rows of a batch of the newest generator's draws `(n, T)`; Q `(n, T)` of each symbol."""
        keys = distributed.local_rows(draw_keys(self.config.batch_size, self.rng)).to(self.device)
        length, vocabulary = self.task.max_length, self.task.vocabulary
        tokens, q = estimator.play(self.generator, self.generator, score, vocabulary, length, keys)
        self.env_steps += int(distributed.all_sum((tokens != vocabulary.pad).sum()))
        return tokens, q[:, 1:].float()

    def token_log_probs(self, tokens: Tensor) -> Tensor:
        """log π `(n, T)` of each symbol of formulae after those before it, with its gradient, nats."""
        return token_log_probs(self.weights.ddp(tokens), tokens, self.task.vocabulary.pad)

    def batches(self, real: Tokens) -> list[Tensor]:
        """This process' rows of each batch of real formulae."""
        rows = torch.from_numpy(real).to(self.device)
        return [distributed.local_rows(batch) for batch in rows.split(self.config.batch_size)]

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        counters = {name: getattr(self, name) for name in _COUNTERS}
        return saved | counters | {"rng": self.rng.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        self.rng.set_state(state["rng"])


_STATEFUL = ("weights", "adversary", "mle_optimizer", "optimizer")
_COUNTERS = ("num_pretrained", "env_steps")
