"""The base of agents against an `Adversary` that differ in their generator's loss alone."""

from dataclasses import dataclass

from torch import nn

from formula_env.adversary import Adversary, AdversaryConfig
from formula_env.algorithm import DensityRatio
from formula_env.errors import check_no_effect
from formula_env.networks import MANY
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.sampling import Sampler
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.turns import TRANSFORMER_START, TurnsAlgorithm, TurnsConfig


@dataclass(frozen=True)
class AgentConfig(TurnsConfig):
    """Settings of an agent against an `Adversary`."""

    discriminator: AdversaryConfig = AdversaryConfig()
    """Settings of the discriminator; an "autoregressive" one begins as a copy of the MLE start."""

    def search_space(self) -> SearchSpace:
        return {
            **super().search_space(),
            "discriminator.learning_rate": LogRange(1e-4, 1e-2),
            "discriminator.weight_decay": Choice(0.0, 0.1, 0.3, 1.0),
        }


LANGUAGE_MODEL = {
    "architecture": "autoregressive", "proposal_temperature": 1.5, "learning_rate": 3e-4, "weight_decay": 0.3,
    "ema_decay": 0.99, "max_grad_norm": 1.0,
}  # fmt: skip
"""Settings of a discriminator that begins as the generator after its start, and changes slowly."""

TRANSFORMER = TRANSFORMER_START | {"learning_rate": 2e-4, "ema_decay": 0.99, "discriminator": LANGUAGE_MODEL}
TRANSFORMERS = {"transformer": TRANSFORMER, "transformer-many": TRANSFORMER | MANY | {"mle_rounds": 4000}}
"""Presets for formulae with many different symbols, as those of `seqgan`: if few, or over 10,000, are seen."""


def check_reads_logits(discriminator: AdversaryConfig, algorithm: str) -> None:
    """Raise FormulaError for settings of the reward, where an algorithm reads the logits instead."""
    check_no_effect(discriminator, f"{algorithm}, which reads the logits", "reward_transform", "reward_clip")


def ratio_advice(config: AgentConfig) -> str:
    """The beginning of an advice for collapsed runs against a plain discriminator; "" against another."""
    return "set --algo.discriminator.kind ratio, " if config.discriminator.kind == "plain" else ""


class AdversarialAgent(TurnsAlgorithm):
    """A generator against a discriminator, an `Adversary`; a subclass defines `generator_loss`."""

    adversary: Adversary

    def make_judge(self) -> Adversary:
        settings = self.config.discriminator
        self.proposal_temperature = settings.proposal_temperature
        proposal = DecodedGenerator(self.generator, Decoding(settings.proposal_temperature))
        return Adversary(self.make_energy().to(self.device), settings, self.generator.log_prob, proposal.log_prob)

    def make_energy(self) -> nn.Module:
        """The discriminator's network."""
        return self.config.make_energy(self.config.discriminator.architecture, self.task)

    @property
    def density_ratio(self) -> DensityRatio:
        return self.adversary.ratio_to(Sampler(self.generator, self.task, self.device))
