"""Decoding rules as options of commands that draw from a trained generator."""

from typing import Annotated, Any

from formula_env.algorithm import Algorithm
from formula_env.arguments import option
from formula_env.errors import FormulaError
from formula_env.experiment.config import RunConfig
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.networks.policy import Policy
from formula_env.sampling import Sampler

Rules = Annotated[Decoding, option(name="")]
"""Decoding rules as options of a command: `--temperature`, `--top-k`, `--top-p`, `--epsilon`."""


def policy_of(config: RunConfig[Any, Any], algorithm: Algorithm) -> Policy:
    """The policy that decoding rules and templates act on; raises FormulaError where there is none."""
    if algorithm.policy is None:
        raise FormulaError(
            f"{config.algorithm} has no step-by-step policy here, which decoding rules, --prefix and --template "
            "need; leave them out, or train another algorithm, such as mle or seqgan"
        )
    return algorithm.policy


def decoded(decoding: Decoding, config: RunConfig[Any, Any], algorithm: Algorithm) -> Algorithm | Sampler:
    """The generator under decoding rules, which draws formulae and has their log-likelihood."""
    if decoding == Decoding():
        return algorithm
    return Sampler(Decoded(policy_of(config, algorithm), decoding), config.task, config.device)
