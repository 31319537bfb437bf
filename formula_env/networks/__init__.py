"""Networks by name. A new one is a class beside these and a line in its table."""

from typing import Literal

from torch import nn

from formula_env.errors import check_choice
from formula_env.networks.discriminators import (
    AutoregressiveDiscriminator,
    CNNDiscriminator,
    DiscriminatorKind,
    MLPDiscriminator,
    RatioDiscriminator,
    RecurrentDiscriminator,
    raw_logits,
)
from formula_env.networks.generators import LSTMGenerator, Tempered
from formula_env.tasks.base import SequenceTask

DiscriminatorName = Literal["mlp", "cnn", "recurrent"]
"""Architectures whose output is the logit."""

EnergyName = Literal["mlp", "cnn", "recurrent", "autoregressive"]
"""Architectures that can be the f of a ratio discriminator."""

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
    "AutoregressiveDiscriminator",
    "DiscriminatorKind",
    "DiscriminatorName",
    "EnergyName",
    "LSTMGenerator",
    "RatioDiscriminator",
    "Tempered",
    "make_discriminator",
    "raw_logits",
]
