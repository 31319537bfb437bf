"""GFlowNet from the checker: a policy that writes all correct formulae equally often, and hardly any other.

Let R(x) = exp(-β · [x is incorrect]). The policy π = R/Z, Z = Σ_x R(x), is uniform over the M correct formulae and
puts (N - M)·e^-β / Z on the N - M other strings. It alone makes log π(x) - log R(x) a constant, -log Z, so for
every distribution q of strings that leaves none out, π = R/Z is the only minimum, 0, of the log-variance loss
(Richter et al. 2020)

    L(θ) = Var_{x ~ q}[log π_θ(x) - log R(x)].

No gradient passes through q, hence batches may be off-policy: drawn at a high temperature, or found long ago. With
q = π the gradient of L/2 is that of KL(π ‖ R/Z). Maximising R, without the entropy of π, ends in few formulae.

Where not all correct formulae are wanted equally often, `target` "prior" has R(x) = p₀(x)·exp(-β · [x is
incorrect]), with p₀ the generator after its start by maximum likelihood. Then π is p₀ given that x is correct: the
checker takes away what is wrong, and what is right keeps the proportions of the data.

Strings are written from left to right, so each has one way to come about and the backward policy is P_B = 1: this
is trajectory balance (Malkin et al. 2022) whose log Z is the batch's own estimate (VarGrad; Zhang et al. 2023).
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from formula_env import distributed
from formula_env.adversarial import floats, gradient_step, mle_step
from formula_env.agents.verified_mle import DistinctFormulae
from formula_env.algorithm import SequenceAlgorithm
from formula_env.averaged import Averaged
from formula_env.errors import (
    MAX_BATCH,
    FormulaError,
    check_at_least,
    check_fraction,
    check_no_effect,
    check_positive,
    check_range,
    check_types,
)
from formula_env.networks import TRANSFORMER, Generator, GeneratorConfig, MaskedGenerator
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.networks.generators import token_log_probs
from formula_env.optimizers import adam, set_lr
from formula_env.rewards import default_beta, needed_beta, target_accuracy
from formula_env.sampling import Sampler, draw_keys
from formula_env.schedules import linear
from formula_env.search_space import Choice, LogRange, SearchSpace
from formula_env.tasks.base import SequenceTask, check_has_checker
from formula_env.vocabulary import Tokens


@dataclass(frozen=True)
class GFlowNetConfig(GeneratorConfig):
    """Settings of the GFlowNet."""

    rounds: int = 2000
    """Number of updates from the checker."""
    mle_rounds: int = 0
    """Updates by maximum likelihood on the training data before; 0: the data are not used."""
    batch_size: int = 256
    """Number of formulae in an update."""
    beta: float = 0.0
    """Penalty β of an incorrect formula, nats; 0: from the number of strings and of correct formulae."""
    beta_start: float = 2.0
    """Penalty in the first round."""
    beta_rise: float = 0.7
    """Share of the rounds in which the penalty rises linearly to `beta`."""
    temperature: float = 1.15
    """Temperature of the policy's own draws in the first round; it falls linearly to 1."""
    exploration: float = 0.25
    """Share of a batch that is drawn at `exploration_temperature`; without it rare formulae may die out."""
    exploration_temperature: float = 4.0
    """Temperature of those draws."""
    target: Literal["uniform", "prior"] = "uniform"
    """Distribution of the correct formulae that is learnt: "uniform", or the "prior", that of the MLE start."""
    masked: bool = True
    """Restriction of the generator to symbols that keep a formula well-formed."""
    replay: float = 0.0
    """Share of a batch that is drawn from the correct formulae known so far, those of an MLE start included."""
    mle_learning_rate: float = 3e-3
    """Learning rate of Adam for maximum likelihood."""
    learning_rate: float = 3e-3
    """Learning rate of Adam in the first round; it falls linearly to 0."""
    ema_decay: float = 0.98
    """Decay per update of the moving average of the weights, which is reported; 0: the newest are."""
    max_grad_norm: float = 1.0
    """Bound of the gradient's norm."""

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(1, rounds=self.rounds)
        check_at_least(0, mle_rounds=self.mle_rounds, beta=self.beta)
        check_range(1, MAX_BATCH, batch_size=self.batch_size)
        check_fraction(beta_rise=self.beta_rise, exploration=self.exploration, replay=self.replay)
        check_fraction(ema_decay=self.ema_decay)
        check_positive(
            beta_start=self.beta_start,
            temperature=self.temperature,
            exploration_temperature=self.exploration_temperature,
            mle_learning_rate=self.mle_learning_rate,
            learning_rate=self.learning_rate,
            max_grad_norm=self.max_grad_norm,
        )
        self.check_generator()
        if self.exploration + self.replay > 1:
            raise FormulaError(
                f"exploration and replay must be 1 at most together, got {self.exploration + self.replay}"
            )
        if self.exploration == 0:
            check_no_effect(self, "exploration 0", "exploration_temperature")
        if self.target == "prior" and self.mle_rounds == 0:
            raise FormulaError("target prior is what maximum likelihood has learnt: it needs mle_rounds above 0")
        if self.mle_rounds == 0:
            check_no_effect(self, "mle_rounds 0", "mle_learning_rate", "optimizer", "weight_decay", "dropout")

    def make_generator(self, task: SequenceTask) -> Generator:
        generator = super().make_generator(task)
        # Not the bound method itself, with which the average of the weights would copy the task.
        return (
            MaskedGenerator(generator, lambda prefixes: task.legal_symbols(prefixes)) if self.masked else generator
        )

    def search_space(self) -> SearchSpace:
        """The values that `formula-env tune` tries."""
        return {
            "learning_rate": LogRange(1e-4, 1e-2),
            "batch_size": Choice(128, 256, 512),
            "beta_rise": Choice(0.0, 0.3, 0.5, 0.7, 0.9),
            "temperature": Choice(1.0, 1.15, 1.3),
            "exploration": Choice(0.0, 0.125, 0.25, 0.5),
            "replay": Choice(0.0, 0.25, 0.5),
            "ema_decay": Choice(0.0, 0.98, 0.99),
        }


TRANSFORMER_GFLOWNET = TRANSFORMER | {
    "batch_size": 128, "mle_rounds": 1000, "mle_learning_rate": 1e-3, "beta_rise": 0.0, "rounds": 800,
    "learning_rate": 3e-4, "temperature": 1.3, "exploration": 0.0, "replay": 0.5,
}  # fmt: skip
"""Preset for formulae with many different symbols: a start by maximum likelihood, then the whole penalty at once.

What the start has learnt to avoid is far less probable than R makes it, and would be learnt again where it is
explored: after 200 updates with `exploration` 0.25 a start of 98% correct was at 94%.
"""


class GFlowNet(SequenceAlgorithm):
    """Minimise Var[log π(x) - log R(x)] over strings x of the policy's own and of others."""

    Config = GFlowNetConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"transformer": TRANSFORMER_GFLOWNET}

    def __init__(self, task: SequenceTask, config: GFlowNetConfig, seed: int, device: torch.device) -> None:
        check_has_checker(task, "gflownet")
        distributed.local_batch_size(config.batch_size)  # is refused before processes wait for each other
        torch.manual_seed(seed)
        self.task, self.config, self.device = task, config, device
        self.beta = config.beta or default_beta(task, config.masked)
        if self.beta < config.beta_start:
            raise FormulaError(f"beta must be at least beta_start, {config.beta_start:g}, got {self.beta:g}")
        self.generator = config.make_generator(task).to(device)
        self.prior = deepcopy(self.generator) if config.target == "prior" else None
        self.weights = Averaged(self.generator, config.ema_decay)
        self.sampler = Sampler(config.decoded(self.weights.average), task, device)
        self.mle_optimizer = config.make_optimizer(self.generator, config.mle_learning_rate)
        self.optimizer = adam(self.generator.parameters(), config.learning_rate, betas=(0.9, 0.99))
        self.rng = torch.Generator().manual_seed(seed)
        self.known = DistinctFormulae(task.max_length)
        self.checker_calls = self.env_steps = 0
        self.start_label = "MLE start" if config.mle_rounds else "untrained"
        self.pretrain_rounds, self.rounds = config.mle_rounds, config.rounds
        self.real_batch_size = config.batch_size

    @property
    def notes(self) -> list[str]:
        needed = needed_beta(self.task, self.config.masked)
        if needed is None or self.beta >= needed or self.prior is not None:  # the prior's own accuracy decides
            return []
        accuracy = target_accuracy(self.task, self.beta, self.config.masked)
        return [
            f"with beta {self.beta:g} even a perfect policy is {1 - accuracy:.1%} incorrect in this task; "
            f"raise --algo.beta to {math.ceil(10 * needed) / 10:g}"
        ]

    @property
    def collapse_advice(self) -> str:
        return "raise --algo.rounds, --algo.batch-size or --algo.replay"

    def pretrain(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step of maximum likelihood."""
        if self.config.replay:
            self.known.add(real)
        batch = distributed.local_rows(torch.from_numpy(real).to(self.device))
        pad, max_grad_norm = self.task.vocabulary.pad, self.config.max_grad_norm
        metrics = mle_step(self.weights.ddp, self.mle_optimizer, batch, pad, max_grad_norm)
        self.weights.restart()
        if self.prior is not None:
            self.prior.load_state_dict(self.generator.state_dict())
        return floats(metrics)

    def update(self, real: Tokens, progress: float) -> dict[str, float]:
        """One step down the log-variance loss; `real` is not used."""
        set_lr(self.optimizer, self.config.learning_rate * linear(progress))
        tokens, correct = self.draw_batch(progress)
        log_reward = self.log_reward(tokens, correct, progress)
        log_probs = token_log_probs(self.weights.ddp(tokens), tokens, self.task.vocabulary.pad).sum(dim=1)
        loss = log_variance(log_probs, log_reward)
        gradient_step(self.generator, self.optimizer, loss, self.config.max_grad_norm)
        self.weights.update()
        metrics = {"train/loss": loss.detach(), "train/reward": log_reward.mean()}
        return floats(metrics) | {"verified/checker_calls": float(self.checker_calls)}

    @torch.no_grad()
    def log_reward(self, tokens: Tensor, correct: Tensor, progress: float) -> Tensor:
        """log R `(n,)` of formulae `(n, T)` and their verdicts `(n,)`, nats."""
        log_reward = self.penalty(progress) * (correct.float() - 1)
        return log_reward if self.prior is None else log_reward + self.prior.log_prob(tokens)

    def penalty(self, progress: float) -> float:
        """β in the round at this progress."""
        risen = min(progress / self.config.beta_rise, 1.0) if self.config.beta_rise else 1.0
        return self.config.beta_start + risen * (self.beta - self.config.beta_start)

    def draw_batch(self, progress: float) -> tuple[Tensor, Tensor]:
        """This process' rows of a batch: formulae `(n, T)`, and whether each is correct `(n,)`.

        In the joint batch come first what is drawn to explore, then the policy's own draws, then what is replayed.
        """
        size = self.config.batch_size
        num_replayed = round(self.config.replay * size) if len(self.known.tokens) else 0
        num_written = size - num_replayed
        num_explored = min(round(self.config.exploration * size), num_written)
        row = distributed.local_rows(torch.arange(size))
        keys = draw_keys(size, self.rng)[row]
        temperature = 1 + (self.config.temperature - 1) * linear(progress)
        explored = self.write(keys[row < num_explored], self.config.exploration_temperature)
        own = self.write(keys[(num_explored <= row) & (row < num_written)], temperature)
        replayed = self.draw_known(num_replayed)[row[row >= num_written] - num_written]
        tokens = torch.cat([explored, own, replayed])
        correct = self.verdicts(torch.cat([explored, own]))
        correct = torch.cat([correct, torch.ones_like(replayed[:, 0], dtype=torch.bool)])
        self.checker_calls += num_written
        if self.config.replay:
            is_correct = distributed.all_gather(correct.float()) > 0
            self.known.add(distributed.all_gather(tokens)[is_correct].cpu().numpy())
        return tokens, correct

    def verdicts(self, written: Tensor) -> Tensor:
        """The checker's verdicts `(n,)` on formulae `(n, T)` that were just written."""
        symbols = (written != self.task.vocabulary.pad).sum()
        self.env_steps += int(distributed.all_sum(symbols))
        return torch.from_numpy(self.task.is_correct(written.cpu().numpy())).to(self.device)

    def draw_known(self, n: int) -> Tensor:
        """n of the known formulae, all equally likely, `(n, T)`; the same in every process."""
        chosen = torch.randint(max(len(self.known.tokens), 1), (n,), generator=self.rng)
        return torch.from_numpy(self.known.tokens[chosen.numpy()]).to(self.device)

    def write(self, keys: Tensor, temperature: float) -> Tensor:
        """Formulae `(n, T)` of these keys `(n,)`, written by the newest policy at a temperature."""
        return Sampler(Decoded(self.generator, Decoding(temperature)), self.task, self.device).write(keys)

    def state_dict(self) -> dict[str, Any]:
        saved = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        counters = {name: getattr(self, name) for name in _COUNTERS}
        known = torch.from_numpy(self.known.tokens.astype(np.int32))
        prior = {} if self.prior is None else self.prior.state_dict()
        return saved | counters | {"rng": self.rng.get_state(), "known": known, "prior": prior}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in _COUNTERS:
            setattr(self, name, state[name])
        if self.prior is not None:
            self.prior.load_state_dict(state["prior"])
        self.rng.set_state(state["rng"])
        self.known = DistinctFormulae(self.task.max_length)
        self.known.add(state["known"].numpy().astype(np.int64))


_STATEFUL = ("weights", "mle_optimizer", "optimizer")
_COUNTERS = ("checker_calls", "env_steps")


def log_variance(log_probs: Tensor, log_reward: Tensor) -> Tensor:
    """Variance over the joint batch of log π(x) - log R(x), from `(n,)` each, nats².

    The mean, an estimate of -log Z, may be held fixed: the deviations from it sum to 0, so its gradient does not
    count. Each of several processes can then take the mean of its own rows.
    """
    difference = log_probs - log_reward
    minus_log_z = distributed.all_mean(difference.detach().mean())
    return (difference - minus_log_z).square().mean()
