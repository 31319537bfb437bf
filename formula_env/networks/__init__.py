"""Networks by name. A new one is a class beside these and a line in its table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn

from formula_env.errors import (
    MAX_WIDTH,
    FormulaError,
    check_at_least,
    check_choice,
    check_fraction,
    check_no_effect,
    check_range,
)
from formula_env.networks.decoding import Decoded, Decoding, MaskedGenerator
from formula_env.networks.discriminators import (
    AutoregressiveDiscriminator,
    CNNDiscriminator,
    DiscriminatorKind,
    MLPDiscriminator,
    RatioDiscriminator,
    RecurrentDiscriminator,
    raw_logits,
)
from formula_env.networks.generators import Generator, LSTMGenerator
from formula_env.networks.policy import Policy
from formula_env.networks.relational_memory import RelationalMemoryGenerator
from formula_env.networks.transformer import TransformerGenerator
from formula_env.optimizers import MuonWithAdam, Optimizer, adam
from formula_env.search_space import Choice, SearchSpace
from formula_env.tasks.base import SequenceTask

GeneratorName = Literal["lstm", "transformer", "relational-memory"]

OptimizerName = Literal["adam", "muon"]

DiscriminatorName = Literal["mlp", "cnn", "recurrent"]
"""Architectures whose output is the logit."""

EnergyName = Literal["mlp", "cnn", "recurrent", "autoregressive"]
"""Architectures that can be the f of a ratio discriminator."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Settings of a generator's network."""

    generator: GeneratorName = "lstm"
    """Architecture of the generator; a "transformer" generalises better where there are many different symbols."""
    embedding_dim: int = 32
    """Size of the symbol embedding of a recurrent network; that of a transformer is `hidden_dim`."""
    hidden_dim: int = 64
    """Size of the LSTM or of the relational memory, or width of the transformer."""
    layers: int = 2
    """Number of blocks of a transformer."""
    heads: int = 4
    """Number of attention heads in a block of a transformer, or of a relational memory."""
    dropout: float = 0.0
    """Probability with which activations are dropped in maximum likelihood."""
    optimizer: OptimizerName = "adam"
    """Optimizer of maximum likelihood; for a transformer, "muon" (with Adam for what is no matrix) needs far fewer
    updates."""
    weight_decay: float = 0.0
    """Decoupled weight decay in maximum likelihood, as in AdamW; the share per update is that times the rate."""
    cutoff: float = 0.0
    """Share of the uniform probability 1/V below which symbols of the trained generator are cut; its density stays
    exact."""

    def check_generator(self) -> None:
        """Raise FormulaError for values that are wrong or have no effect."""
        check_range(1, MAX_WIDTH, embedding_dim=self.embedding_dim, hidden_dim=self.hidden_dim)
        check_range(1, MAX_LAYERS, layers=self.layers, heads=self.heads)
        check_at_least(0, weight_decay=self.weight_decay)
        check_fraction(cutoff=self.cutoff)
        if not 0 <= self.dropout < 1:
            raise FormulaError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        check_no_effect(self, f"generator {self.generator}", *GENERATORS[self.generator].unused)
        if "heads" not in GENERATORS[self.generator].unused and self.hidden_dim % self.heads:
            raise FormulaError(
                f"hidden_dim must be a multiple of heads, got {self.hidden_dim} for {self.heads} heads"
            )

    def decoded(self, generator: Generator) -> Policy:
        """The trained generator as it writes: without improbable symbols."""
        epsilon = self.cutoff / generator.vocabulary.size
        return Decoded(generator, Decoding(epsilon=epsilon)) if epsilon else generator

    def make_generator(self, task: SequenceTask) -> Generator:
        """The generator of a task's formulae."""
        return GENERATORS[self.generator].make(self, task)

    def make_energy(self, name: EnergyName, task: SequenceTask) -> nn.Module:
        """A discriminator's network of this name; "autoregressive" is a model like the generator."""
        if name == "autoregressive":
            return AutoregressiveDiscriminator(task.vocabulary, task.max_length, self.make_generator(task))
        return make_discriminator(name, task)

    def likelihood_space(self) -> SearchSpace:
        """The search space of what keeps maximum likelihood from memorising."""
        return {"weight_decay": Choice(0.0, 0.03, 0.1, 0.3, 1.0, 3.0), "dropout": Choice(0.0, 0.1, 0.2)}

    def decoding_space(self) -> dict[str, Choice]:
        """The search space of how the trained generator writes, in which no training takes part."""
        return {"cutoff": Choice(0.0, 0.02, 0.05, 0.065, 0.1, 0.2)}

    def make_optimizer(self, generator: Generator, lr: float) -> Optimizer:
        """The optimiser of maximum likelihood."""
        if self.optimizer == "adam":
            return adam(generator.parameters(), lr, self.weight_decay)
        transformer = generator.generator if isinstance(generator, MaskedGenerator) else generator
        assert isinstance(transformer, TransformerGenerator)
        return MuonWithAdam(transformer.matrices(), generator.parameters(), lr, self.weight_decay)


class Architecture(NamedTuple):
    """How the generator of a task is made from its settings, and the settings that have no effect on it."""

    make: Callable[[GeneratorConfig, SequenceTask], Generator]
    unused: tuple[str, ...]


def _lstm(config: GeneratorConfig, task: SequenceTask) -> Generator:
    return LSTMGenerator(task.vocabulary, config.embedding_dim, config.hidden_dim, config.dropout)


def _relational_memory(config: GeneratorConfig, task: SequenceTask) -> Generator:
    return RelationalMemoryGenerator(
        task.vocabulary, config.embedding_dim, config.hidden_dim, config.heads, config.dropout
    )


def _transformer(config: GeneratorConfig, task: SequenceTask) -> Generator:
    return TransformerGenerator(
        task.vocabulary, task.max_length, config.hidden_dim, config.layers, config.heads, config.dropout
    )


GENERATORS: dict[GeneratorName, Architecture] = {
    "lstm": Architecture(_lstm, unused=("layers", "heads", "optimizer")),
    "relational-memory": Architecture(_relational_memory, unused=("layers", "optimizer")),
    "transformer": Architecture(_transformer, unused=("embedding_dim",)),
}
"""The architectures of generators, by name."""

TRANSFORMER: dict[str, Any] = {
    "generator": "transformer", "hidden_dim": 128, "layers": 3, "dropout": 0.1, "optimizer": "muon",
    "weight_decay": 1.0, "cutoff": 0.065,
}  # fmt: skip
"""Settings of a generator for formulae with many different symbols, of which few are seen.

The cut is the largest, of those tried, that loses none of the equations kept from the training for this purpose.
"""

MANY: dict[str, Any] = {"dropout": 0.0, "weight_decay": 0.1}
"""Settings that differ where over 10,000 are seen.

Weight decay stands against the data, so it falls with their number (Wang and Aitchison 2024: the timescale of the
decay is constant in epochs).
"""

MAX_LAYERS = 64

DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "mlp": MLPDiscriminator,
    "cnn": CNNDiscriminator,
    "recurrent": RecurrentDiscriminator,
    "autoregressive": AutoregressiveDiscriminator,
}


def make_discriminator(name: str, task: SequenceTask) -> nn.Module:
    """The discriminator of this name for a task's formulae; raises FormulaError for an unknown one."""
    check_choice(tuple(DISCRIMINATORS), discriminator=name)
    return DISCRIMINATORS[name](task.vocabulary, task.max_length)


__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "MANY",
    "TRANSFORMER",
    "AutoregressiveDiscriminator",
    "DiscriminatorKind",
    "DiscriminatorName",
    "EnergyName",
    "Generator",
    "GeneratorConfig",
    "GeneratorName",
    "LSTMGenerator",
    "MaskedGenerator",
    "OptimizerName",
    "RatioDiscriminator",
    "RelationalMemoryGenerator",
    "TransformerGenerator",
    "make_discriminator",
    "raw_logits",
]
