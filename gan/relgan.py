"""RelGAN (Nie et al. 2019): symbols are sampled hard, the discriminator reads them relaxed, and compares pairs.

After maximum likelihood, repeat, with o the generator's logits and g ~ Gumbel(0, 1):

    y_t = one-hot(argmax(o_t + g_t)) is fed back;  ŷ_t = softmax(β·(o_t + g_t)) goes to the discriminator
    the discriminator ← `d_steps` steps down  E[-log σ(D(real) - D(ŷ))]
    the generator     ← one step down         E[-log σ(D(ŷ) - D(real))]

The inverse temperature rises exponentially, β = β_min·(β_max/β_min)^(share of the rounds that are done). What the
generator reads of itself is always a symbol, so its likelihood is known: the softmax of o alone, which neither the
noise nor β changes.

The paper begins with β = 1. Relaxed formulae are so soft then that a discriminator which knows its one-hot ones
tells them by this alone, and a generator that is asked to look real becomes sharp, and poor; here β_min is 10.

The discriminator reads several one-dimensional embeddings of a formula, each by the same convolutions, and has a
logit for each: their losses are averaged. The paper keeps the largest value of a filter over the positions; the
place of a symbol is lost by that, and what is true of a formula with it, so here all positions are read unless
`pooling` is set.

Differs from the authors' code: no highway layer nor dropout behind the convolutions, but a ReLU before the logit.
There β rises by a fixed number of 5,000 rounds, so in its 3,000 to 100^0.6 = 16; here, as in the paper, to β_max.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from formula_env.adversarial import Metrics, gradient_step
from formula_env.distributed import check_alone
from formula_env.errors import MAX_WIDTH, FormulaError, check_positive, check_range
from formula_env.gan.gumbel_softmax import gumbel_noise
from formula_env.networks import GeneratorName
from formula_env.networks.discriminators import padded_one_hot
from formula_env.optimizers import adam, set_lr
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask
from formula_env.turns import TurnsAlgorithm, TurnsConfig

Pooling = Literal["none", "max"]


@dataclass(frozen=True)
class RelGANConfig(TurnsConfig):
    """Settings of RelGAN."""

    rounds: int = 1000
    mle_rounds: int = 200
    batch_size: int = 128
    d_steps: int = 5
    learning_rate: float = 1.25e-5
    ema_decay: float = 0.0
    dropout: float = 0.2
    generator: GeneratorName = "relational-memory"
    heads: int = 2
    beta_min: float = 10.0
    """Inverse temperature β of the relaxed symbols at the beginning; 1 in the paper."""
    beta_max: float = 100.0
    """Inverse temperature β at the end, to which it rises exponentially."""
    discriminator_learning_rate: float = 2.4e-3
    """Learning rate of the discriminator's Adam in the first round; it falls linearly to 0."""
    representations: int = 8
    """Number of one-dimensional embeddings that the discriminator reads; 64 in the paper."""
    channels: int = 32
    """Number of the discriminator's filters of each width; 300 in the paper."""
    pooling: Pooling = "none"
    """Reading of a filter: "none", its value at each position, or "max", the largest alone, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(beta_min=self.beta_min, discriminator_learning_rate=self.discriminator_learning_rate)
        if self.beta_max < self.beta_min:
            raise FormulaError(f"beta_max must be at least beta_min, got {self.beta_max} and {self.beta_min}")
        check_range(1, MAX_WIDTH, representations=self.representations, channels=self.channels)

    def search_space(self) -> SearchSpace:
        return {
            **super().search_space(),
            "learning_rate": LogRange(1e-5, 1e-3),
            "discriminator_learning_rate": LogRange(1e-5, 1e-2),
            "beta_min": Choice(1.0, 10.0, 100.0),
            "beta_max": Choice(100.0, 1000.0),
        }


PAPER = {
    "mle_rounds": 150, "rounds": 3000, "batch_size": 64, "mle_learning_rate": 1e-2, "learning_rate": 1e-4,
    "dropout": 0.0, "discriminator_learning_rate": 1e-4, "hidden_dim": 512, "representations": 64, "channels": 300,
    "pooling": "max", "beta_min": 1.0, "max_grad_norm": 5.0, "ema_decay": 0.0,
}  # fmt: skip
"""The authors' rates and sizes for their synthetic data.

A round of the start has five updates here, and there is an epoch of 10,000 sequences; learning rates fall here.
"""


class MultiRepresentationCNN(nn.Module):
    """Relaxed formulae `(n, T, V)` to S logits each, `(n, S)`: one for each one-dimensional embedding."""

    def __init__(
        self, vocab_size: int, length: int, representations: int, channels: int, pooling: Pooling
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.embedding = nn.Linear(vocab_size, representations, bias=False)
        widths = [width for width in FILTER_WIDTHS if width <= length]
        self.filters = nn.ModuleList(nn.Conv1d(1, channels, width) for width in widths)
        places = [1 if pooling == "max" else length - width + 1 for width in widths]
        self.logit = nn.Sequential(nn.Linear(channels * sum(places), 100), nn.ReLU(), nn.Linear(100, 1))

    def forward(self, formulae: Tensor) -> Tensor:
        embedded = self.embedding(formulae).transpose(1, 2)
        found = [filters(embedded.reshape(-1, 1, formulae.shape[1])).relu() for filters in self.filters]
        if self.pooling == "max":
            found = [values.amax(dim=2, keepdim=True) for values in found]
        features = torch.cat([values.flatten(1) for values in found], dim=1)
        return self.logit(features).view(embedded.shape[:2])


FILTER_WIDTHS = (1, 2, 3, 4, 5)
"""Numbers of neighbouring symbols that a filter reads: those of the paper, and 1, for formulae of one symbol."""


class RelativisticDiscriminator:
    """The discriminator with its optimiser, which learns from pairs of a real and a fake formula."""

    def __init__(self, task: SequenceTask, config: RelGANConfig, device: torch.device) -> None:
        self.learning_rate = config.discriminator_learning_rate
        self.max_grad_norm = config.max_grad_norm
        vocab_size, length = task.vocabulary.size, task.max_length
        network = MultiRepresentationCNN(
            vocab_size, length, config.representations, config.channels, config.pooling
        )
        self.network = network.to(device)
        self.optimizer = adam(network.parameters(), self.learning_rate)

    def train(self, real: Tensor, fake: Tensor, progress: float) -> Metrics:
        """One update on real formulae `(B, T)` and relaxed fakes `(B, T, V)`."""
        set_lr(self.optimizer, self.learning_rate * linear(progress))
        loss = relativistic_loss(*self.judge(real, fake))
        gradient_step(self.network, self.optimizer, loss, self.max_grad_norm)
        return {"discriminator/loss": loss.detach()}

    def judge(self, real: Tensor, fake: Tensor) -> list[Tensor]:
        """Logits `(B, S)` of real formulae `(B, T)` and of relaxed fakes `(B, T, V)`."""
        return list(self.network(torch.cat([padded_one_hot(real, fake.shape[2]), fake])).chunk(2))

    def begin_as(self, generator: nn.Module) -> None:
        """Nothing: it is no language model."""

    def state_dict(self) -> dict[str, Any]:
        """States of the network and of its optimiser, as copies."""
        return {name: deepcopy(getattr(self, name).state_dict()) for name in ("network", "optimizer")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the states that `state_dict` gave."""
        for name in ("network", "optimizer"):
            getattr(self, name).load_state_dict(deepcopy(state[name]))


def relativistic_loss(higher: Tensor, lower: Tensor) -> Tensor:
    """-E[log σ(higher - lower)] over pairs of logits and over what each has several of, in nats."""
    return nn.functional.softplus(lower - higher).mean()


class RelGAN(TurnsAlgorithm):
    """Descend -E[log σ(D(fake) - D(real))] through relaxed symbols; the discriminator, its mirror image."""

    Config = RelGANConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    adversary: RelativisticDiscriminator

    def __init__(self, task: SequenceTask, config: RelGANConfig, seed: int, device: torch.device) -> None:
        check_alone("a GAN that is trained through the discriminator's gradient")
        super().__init__(task, config, seed, device)

    def make_judge(self) -> RelativisticDiscriminator:
        return RelativisticDiscriminator(self.task, self.config, self.device)

    @property
    def collapse_advice(self) -> str:
        harder = "raise --algo.beta-min, or " if self.config.beta_min < self.config.beta_max else ""
        return f"{harder}lower --algo.learning-rate"

    def generator_loss(self, real: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        of_real, of_fake = self.adversary.judge(real, self.relaxed(len(real), self.beta(progress)))
        return relativistic_loss(of_fake, of_real), of_fake.detach() - of_real.detach()

    @torch.no_grad()
    def fakes(self, progress: float) -> Tensor:
        return self.relaxed(self.config.batch_size, self.beta(progress))

    def beta(self, progress: float) -> float:
        """The inverse temperature at this progress, in [0, 1]."""
        return self.config.beta_min * (self.config.beta_max / self.config.beta_min) ** progress

    def relaxed(self, n: int, beta: float) -> Tensor:
        """n relaxed formulae of the newest generator `(n, T, V)`, with their gradient; EOS fills the rest."""
        vocabulary = self.task.vocabulary
        noise = gumbel_noise((self.task.max_length, n, vocabulary.size), self.rng).to(self.device)
        end = nn.functional.one_hot(torch.tensor(vocabulary.size - 1, device=self.device), vocabulary.size).float()
        symbols = torch.full((n,), vocabulary.bos, device=self.device)
        state, goes_on, written = self.generator.start(n), torch.ones_like(symbols, dtype=torch.bool), []
        for g in noise:
            logits, state = self.generator.step(symbols, state)
            symbols = (logits + g).argmax(dim=1)
            written.append(torch.where(goes_on[:, None], torch.softmax(beta * (logits + g), dim=1), end))
            self.env_steps += int(goes_on.sum())
            goes_on = goes_on & (symbols < len(vocabulary.symbols))
        return torch.stack(written, dim=1)
