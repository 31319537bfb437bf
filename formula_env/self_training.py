"""Rewards that train themselves inside an environment, and make any agent learn a distribution."""

import logging
import math
import multiprocessing
import os
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache
from inspect import signature
from typing import Any, get_args
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from formula_env.adversarial import mle_step
from formula_env.adversary import Adversary, AdversaryConfig
from formula_env.errors import (
    FormulaError,
    check_at_least,
    check_choice,
    check_keys,
    check_positive,
    check_range,
    check_seed,
    check_type,
    whole_number,
)
from formula_env.modes import default_modes
from formula_env.networks import EnergyName, LSTMGenerator, make_discriminator, raw_logits
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.optimizers import adam
from formula_env.rewards import RewardModel, default_beta, log_exact, log_odds_of_all
from formula_env.sampling import Sampler, draw_keys
from formula_env.tasks.base import SequenceTask, check_has_checker
from formula_env.vocabulary import Tokens

logger = logging.getLogger("formula_env")

UPDATE_EVERY, MEMORY = 64, 256
DENSITY_STEPS, DENSITY_LEARNING_RATE = 8, 1e-2
DENSITY_SIZE = {"embedding_dim": 16, "hidden_dim": 32}
MAX_GRAD_NORM = 1.0


class RecentDensity:
    """The density q of what an agent wrote last: an LSTM that is fitted to its most recent formulae.

    Args:
        task: gives the vocabulary.
        memory: number of formulae that it is fitted to.
        steps: steps of maximum likelihood for each new batch.
        learning_rate: learning rate of Adam.
        device: where the network is.
    """

    def __init__(
        self, task: SequenceTask, memory: int, steps: int, learning_rate: float, device: torch.device
    ) -> None:
        check_at_least(1, memory=memory, density_steps=steps)
        check_positive(density_learning_rate=learning_rate)
        self.memory, self.steps, self.device = memory, steps, device
        self.pad = task.vocabulary.pad
        self.network = LSTMGenerator(task.vocabulary, **DENSITY_SIZE).to(device)
        self.optimizer = adam(self.network.parameters(), learning_rate)
        self.recent = np.empty((0, task.max_length), dtype=np.int64)

    def learn(self, new: Tokens) -> None:
        """Fit the density to the formulae `(n, T)` that the agent has just written."""
        self.recent = np.concatenate([self.recent, new])[-self.memory :]
        recent = torch.from_numpy(self.recent).to(self.device)
        for _ in range(self.steps):
            mle_step(self.network, self.optimizer, recent, self.pad, MAX_GRAD_NORM)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """log q `(n,)` of formulae `(n, T)`, nats."""
        with torch.no_grad():
            return self.network.log_prob(tokens)

    def state_dict(self) -> dict[str, Any]:
        """A copy of the network, its optimiser and the recent formulae, as tensors."""
        networks = {name: deepcopy(getattr(self, name).state_dict()) for name in ("network", "optimizer")}
        return networks | {"recent": torch.from_numpy(self.recent.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned; raises FormulaError for that of another task."""
        check_keys("the state of a density", state, ("network", "optimizer", "recent"))
        _check_width(state["recent"], self.recent)
        for name in ("network", "optimizer"):
            getattr(self, name).load_state_dict(deepcopy(state[name]))  # which would be trained else
        self.recent = state["recent"].numpy().copy()


class SelfTraining(RewardModel):
    """Reward log g(x) - log q(x) - b, where q is the density of the agent's recent writing and g is a subclass'.

    An environment doesn't know its agent's density π, so it learns it:

        for every `update_every` finished formulae:
            q ← `density_steps` steps of maximum likelihood on the last `memory` formulae of the agent
            g ← what the subclass learns
            b ← mean of log g(x) - log q(x) over these last formulae

    Where q follows π, the reward's policy gradient is that of -KL(π ‖ g/Σg): it is 0 at π ∝ g, and no single
    formula is worth repeating. The memory is short, so that q follows closely; an agent that is driven away from
    its own distant past oscillates. The baseline b changes no policy gradient; it keeps rewards small.
    """

    task: SequenceTask
    device: torch.device
    density: RecentDensity

    def __init__(self, task: SequenceTask, update_every: int, device: str | torch.device) -> None:
        self.task, self.device = task, torch.device(device)
        self.update_every = whole_number(1, update_every=update_every)
        self.baseline = 0.0
        self.num_updates = 0
        self.has_observed = False
        self._waiting = np.empty((0, task.max_length), dtype=np.int64)

    def observe(self, tokens: Tokens) -> None:
        """Learn from formulae `(n, T)` that the agent has finished."""
        if multiprocessing.parent_process() is not None:
            _warn_copy(os.getpid())
        self.has_observed = True
        self.warm_up()
        self._waiting = np.concatenate([self._waiting, tokens])
        while len(self._waiting) >= self.update_every:
            new, self._waiting = self._waiting[: self.update_every], self._waiting[self.update_every :]
            with default_modes():
                self.density.learn(new)
            self.learn()
            self.baseline = float(self.log_ratio(torch.from_numpy(self.density.recent).to(self.device)).mean())
            self.num_updates += 1

    def warm_up(self) -> None:
        """Train whatever a subclass needs before its first score."""

    def learn(self) -> None:
        """Train what a subclass adds to the density, after each of its updates."""

    @abstractmethod
    def log_ratio(self, tokens: Tensor) -> Tensor:
        """log g - log q `(n,)` of formulae `(n, T)`, nats."""

    def state_dict(self) -> dict[str, Any]:
        """A copy of the state that training continues from, as tensors and plain values."""
        return {
            "density": self.density.state_dict(),
            "waiting": torch.from_numpy(self._waiting.copy()),
            "baseline": self.baseline,
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        _check_width(state["waiting"], self._waiting)
        self.density.load_state_dict(state["density"])
        self._waiting = state["waiting"].numpy().copy()
        self.baseline, self.num_updates = state["baseline"], state["num_updates"]
        self.has_observed = True


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise networks from this seed, and leave all random generators as they were."""
    check_seed(seed)
    with default_modes(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed a GPU's generators too
        yield


class SelfTrainingDiscriminator(SelfTraining):
    """Reward log p(x) - log q(x): how much likelier a formula is in the data than in the agent's recent writing.

    With the density q of `SelfTraining`, after each of its updates:

        f ← `energy_steps` steps of a discriminator f(x) - log q(x): real formulae against draws from q
        reward(x) = f(x) - log q(x) - b, within ±clip nats

    The optimum of f is log p_data, which stays where it is while the agent moves (`RatioDiscriminator`). Before
    its first verdict f is trained against the untrained, nearly uniform q, so no reward precedes knowledge.

    Args:
        task: gives the vocabulary, the length and, without `real`, the real formulae.
        discriminator: settings of f and of the reward, or the architecture alone.
        update_every: finished formulae between two updates.
        seed: random seed of networks and samples.
        device: where the networks are.
        real: real formulae `(n, T)`; by default fresh correct ones.
        memory: formulae that q is fitted to, the agent's most recent.
        density_steps: steps of q in an update.
        energy_steps: steps of f in an update.
        warmup_steps: steps of f before the first verdict.
        batch_size: real formulae, and as many fakes, in a step of f.
        density_learning_rate: learning rate of q's Adam.
    """

    def __init__(
        self,
        task: SequenceTask,
        discriminator: EnergyName | AdversaryConfig = "mlp",
        update_every: int = UPDATE_EVERY,
        seed: int = 0,
        device: str | torch.device = "cpu",
        real: Tokens | None = None,
        *,
        memory: int = MEMORY,
        density_steps: int = DENSITY_STEPS,
        energy_steps: int = 4,
        warmup_steps: int = 200,
        batch_size: int = 256,
        density_learning_rate: float = DENSITY_LEARNING_RATE,
    ) -> None:
        super().__init__(task, update_every, device)
        self.config = _find_config(discriminator)
        seed = whole_number(0, seed=seed)
        check_at_least(1, batch_size=batch_size, energy_steps=energy_steps, warmup_steps=warmup_steps)
        self.real, self.batch_size = real, batch_size
        self.energy_steps, self.warmup_steps = energy_steps, warmup_steps
        with seeded(seed):
            energy = make_discriminator(self.config.architecture, task).to(self.device)
            self.density = RecentDensity(task, memory, density_steps, density_learning_rate, self.device)
        network = self.density.network
        proposal = DecodedGenerator(network, Decoding(self.config.proposal_temperature))
        self.proposal = Sampler(proposal, task, self.device)
        self.adversary = Adversary(energy, self.config, network.log_prob, proposal.log_prob)
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)
        self._is_warm = False

    def score(self, tokens: Tensor) -> Tensor:
        """Rewards `(n,)` of finished formulae `(n, T)`, nats."""
        self.warm_up()
        clip = self.config.reward_clip
        return (self.log_ratio(tokens) - self.baseline).clamp(-clip, clip)

    def warm_up(self) -> None:
        if not self._is_warm:
            self._train_energy(self.warmup_steps)
            self.baseline = float(self.log_ratio(self._draw_fake(self.batch_size)).mean())
            self._is_warm = True

    def learn(self) -> None:
        self._train_energy(self.energy_steps)

    def log_ratio(self, tokens: Tensor) -> Tensor:
        with default_modes():
            return raw_logits(self.adversary.discriminator, tokens)

    def _train_energy(self, steps: int) -> None:
        """Noise-contrastive steps: real formulae against the proposal's, whose density is known."""
        count = steps * self.batch_size
        with default_modes():
            fake = self._draw_fake(count)
            real = torch.from_numpy(self._draw_real(count)).to(self.device)
            for batch in zip(real.split(self.batch_size), fake.split(self.batch_size), strict=True):
                self.adversary.train(*batch, progress=0.0)

    def _draw_fake(self, count: int) -> Tensor:
        return self.proposal.write(draw_keys(count, self.torch_rng))

    def _draw_real(self, count: int) -> Tokens:
        if self.real is None:
            return self.task.sample(count, self.rng)
        return self.real[self.rng.integers(len(self.real), size=count)]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "adversary": deepcopy(self.adversary.state_dict()),
            "rng": self.rng.bit_generator.state,
            "torch_rng": self.torch_rng.get_state(),
            "is_warm": self._is_warm,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with _readable(f'"{self.config.architecture}" discriminator'):
            check_keys("the state", state, (*_OF_DENSITY, "adversary", "rng", "torch_rng", "is_warm"))
            self.adversary.load_state_dict(deepcopy(state["adversary"]))  # which would be trained else
            super().load_state_dict(state)
        self.rng.bit_generator.state = state["rng"]
        self.torch_rng.set_state(state["torch_rng"])
        self._is_warm = state["is_warm"]


class ObservedSoftReward(SelfTraining):
    """Reward log R(x) - log q(x) - b with the checker's R(x) = exp(-β·[x is incorrect]).

    `SoftReward` for agents whose π is not at hand: instead of it, q is the density of what they wrote last (see
    `SelfTraining`). So any agent that maximises its rewards ends at π ∝ R as far as q follows it: all correct
    formulae, about equally often.

    At the full penalty an untrained agent would run for the first correct formulae that it finds, faster than q
    can follow, and never see the others again. So the penalty is only `LEAD` nats ahead of the one at which
    π ∝ R is correct as often as the agent is now, log(a/(1 - a)) - log(M/(N - M)), and rises with it up to β.

    Args:
        task: with a checker.
        beta: penalty of an incorrect formula at the end, nats. Default: `default_beta(task)`.
        update_every: finished formulae between two updates of q.
        seed: random seed of q's network.
        device: where it is.
        memory: formulae that q is fitted to, the agent's most recent.
        density_steps: steps of q in an update.
        density_learning_rate: learning rate of q's Adam.
    """

    def __init__(
        self,
        task: SequenceTask,
        beta: float | None = None,
        update_every: int = UPDATE_EVERY,
        seed: int = 0,
        device: str | torch.device = "cpu",
        *,
        memory: int = MEMORY,
        density_steps: int = DENSITY_STEPS,
        density_learning_rate: float = DENSITY_LEARNING_RATE,
    ) -> None:
        super().__init__(task, update_every, device)
        check_has_checker(task, "a soft reward")
        if beta is not None:
            check_type("beta", beta, float)
            check_positive(beta=beta)
            check_range(0, MAX_BETA, beta=beta)
        self.beta = default_beta(task) if beta is None else float(beta)
        seed = whole_number(0, seed=seed)
        with seeded(seed):
            self.density = RecentDensity(task, memory, density_steps, density_learning_rate, self.device)
        self.penalty = min(self.beta, LEAD)
        """Penalty of the moment, nats."""
        first = Sampler(self.density.network, task, self.device).sample(memory, seed)
        self.baseline = float(self.log_ratio(torch.from_numpy(first).to(self.device)).mean())

    def score(self, tokens: Tensor) -> Tensor:
        """Rewards `(n,)` of finished formulae `(n, T)`, nats."""
        return self.log_ratio(tokens) - self.baseline

    def log_ratio(self, tokens: Tensor) -> Tensor:
        with default_modes():
            return log_exact(self.task, tokens, self.penalty) - self.density.log_prob(tokens)

    def learn(self) -> None:
        """Let the penalty rise, or fall, with the share of the last formulae that is correct."""
        correct, number = int(self.task.is_correct(self.density.recent).sum()), len(self.density.recent)
        log_odds = math.log((correct + 1) / (number - correct + 1))  # finite where all are correct, or none
        self.penalty = min(self.beta, LEAD + max(0.0, log_odds - log_odds_of_all(self.task)))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"penalty": self.penalty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with _readable("soft reward"):
            check_keys("the state", state, (*_OF_DENSITY, "penalty"))
            super().load_state_dict(state)
        self.penalty = state["penalty"]


LEAD = 3.4
"""Nats that the penalty is ahead. With it PPO keeps all of binary-sum 6 (six seeds), with 3.9 on one of four."""


MAX_BETA = 10_000
"""A penalty beyond this is a typing error."""

_OF_DENSITY = ("density", "waiting", "baseline", "num_updates")


def _check_width(saved: Tensor, own: Tokens) -> None:
    """Raise FormulaError for saved formulae `(n, T)` of another length."""
    if tuple(saved.shape[1:]) != own.shape[1:]:
        raise FormulaError(f"formulae of shape {tuple(saved.shape)} are not of length {own.shape[1]}")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Raise FormulaError for a state of something else."""
    try:
        yield
    except (AttributeError, FormulaError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FormulaError(f"the state holds no {name} of this task: make the same environment") from error


SELF_TRAINING = AdversaryConfig(lr_end_factor=1.0, proposal_temperature=2.0)
"""Settings of the discriminator where the length of training is unknown."""


def _find_config(discriminator: EnergyName | AdversaryConfig) -> AdversaryConfig:
    if not isinstance(discriminator, AdversaryConfig):
        check_choice(get_args(EnergyName), architecture=discriminator)
        return replace(SELF_TRAINING, architecture=discriminator)
    if discriminator.kind != "ratio" or discriminator.reward_transform != "log-ratio":
        raise FormulaError("a discriminator that trains itself needs kind ratio and reward_transform log-ratio")
    if discriminator.lr_end_factor != 1:
        raise FormulaError("a discriminator that trains itself has no last round: lr_end_factor must be 1")
    return discriminator


@cache
def _warn_copy(pid: int) -> None:
    logger.warning(
        "the reward model in worker process %d is a copy: it learns only from the formulae finished there. "
        "gym.make_vec gives many environments that train one, in one process",
        pid,
    )


_shared: WeakValueDictionary[Hashable, SelfTraining] = WeakValueDictionary()


def shared_by(kind: Callable[..., SelfTraining], task: SequenceTask, **options: Any) -> SelfTraining:
    """One reward model of a kind for all environments of this process that ask for it alike before it learns.

    One that has learnt belongs to the agent that it has learnt from: whoever comes later gets a new one.
    """
    arguments = signature(kind).bind(task, **options)
    arguments.apply_defaults()
    key = (os.getpid(), kind, *map(_by_value, arguments.arguments.values()))
    model = _shared.get(key)
    if model is None or model.has_observed:
        model = _shared[key] = kind(task, **options)
    return model


def _by_value(argument: Any) -> Hashable:
    """Equal for equal arguments; a task that can't be compared is equal to itself alone."""
    if isinstance(argument, np.ndarray):
        return argument.tobytes()
    return argument if isinstance(argument, Hashable) else id(argument)
