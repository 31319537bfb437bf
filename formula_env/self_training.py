"""A discriminator that trains itself inside an environment, and makes any agent learn the distribution."""

import logging
import multiprocessing
import os
from collections.abc import Hashable
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
    check_seed,
    whole_number,
)
from formula_env.modes import default_modes
from formula_env.networks import EnergyName, LSTMGenerator, make_discriminator, raw_logits
from formula_env.networks.decoding import DecodedGenerator, Decoding
from formula_env.optimizers import adam
from formula_env.rewards import RewardModel
from formula_env.sampling import Sampler, draw_keys
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

logger = logging.getLogger("formula_env")

DENSITY_SIZE = {"embedding_dim": 16, "hidden_dim": 32}
MAX_GRAD_NORM = 1.0


class SelfTrainingDiscriminator(RewardModel):
    """Reward log p(x) - log q(x): how much likelier a formula is in the data than in the agent's recent writing.

    An environment doesn't know its agent's density π, so it learns it:

        for every `update_every` finished formulae:
            q ← `density_steps` steps of maximum likelihood on the last `memory` formulae of the agent
            f ← `energy_steps` steps of a discriminator f(x) - log q(x): real formulae against draws from q
            b ← mean of f(x) - log q(x) over these last formulae
        reward(x) = f(x) - log q(x) - b, within ±clip nats

    The optimum of f is log p_data, which stays where it is while the agent moves (`RatioDiscriminator`). Where q
    follows π, the reward's policy gradient is that of -KL(π ‖ p_data): it is 0 at π = p_data, and no single
    formula is worth repeating. Two things keep an agent from losing formulae for good. Before its first verdict
    f is trained against the untrained, nearly uniform q, so no reward precedes knowledge. And the memory is
    short, so q follows closely; an agent that is driven away from its own distant past oscillates. The baseline b
    changes no policy gradient; it keeps an agent that is still far from the data within the clip.

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
        update_every: int = 64,
        seed: int = 0,
        device: str | torch.device = "cpu",
        real: Tokens | None = None,
        *,
        memory: int = 256,
        density_steps: int = 8,
        energy_steps: int = 4,
        warmup_steps: int = 200,
        batch_size: int = 256,
        density_learning_rate: float = 1e-2,
    ) -> None:
        self.config = _find_config(discriminator)
        update_every = whole_number(1, update_every=update_every)
        seed = whole_number(0, seed=seed)
        check_seed(seed)
        check_at_least(1, memory=memory, batch_size=batch_size)
        check_at_least(1, density_steps=density_steps, energy_steps=energy_steps, warmup_steps=warmup_steps)
        check_positive(density_learning_rate=density_learning_rate)
        self.task, self.real, self.device = task, real, torch.device(device)
        self.update_every, self.memory, self.batch_size = update_every, memory, batch_size
        self.density_steps, self.energy_steps, self.warmup_steps = density_steps, energy_steps, warmup_steps
        with default_modes(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed a GPU's generators too
            energy = make_discriminator(self.config.architecture, task).to(self.device)
            self.density = LSTMGenerator(task.vocabulary, **DENSITY_SIZE).to(self.device)
        proposal = DecodedGenerator(self.density, Decoding(self.config.proposal_temperature))
        self.proposal = Sampler(proposal, task, self.device)
        self.adversary = Adversary(energy, self.config, self.density.log_prob, proposal.log_prob)
        self.density_optimizer = adam(self.density.parameters(), density_learning_rate)
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)
        self.baseline = 0.0
        self.num_updates = 0
        self.has_observed = False
        self._is_warm = False
        nothing = np.empty((0, task.max_length), dtype=np.int64)
        self._waiting, self._recent = nothing, nothing

    def score(self, tokens: Tensor) -> Tensor:
        """Rewards `(n,)` of finished formulae `(n, T)`, nats."""
        self._warm_up()
        clip = self.config.reward_clip
        return (self._log_ratio(tokens) - self.baseline).clamp(-clip, clip)

    def observe(self, tokens: Tokens) -> None:
        """Learn from formulae `(n, T)` that the agent has finished."""
        if multiprocessing.parent_process() is not None:
            _warn_copy(os.getpid())
        self.has_observed = True
        self._warm_up()
        self._waiting = np.concatenate([self._waiting, tokens])
        while len(self._waiting) >= self.update_every:
            new, self._waiting = self._waiting[: self.update_every], self._waiting[self.update_every :]
            self._recent = np.concatenate([self._recent, new])[-self.memory :]
            self._train_density()
            self._train_energy(self.energy_steps)
            self.baseline = float(self._log_ratio(torch.from_numpy(self._recent).to(self.device)).mean())
            self.num_updates += 1

    def _warm_up(self) -> None:
        if not self._is_warm:
            self._train_energy(self.warmup_steps)
            self.baseline = float(self._log_ratio(self._draw_fake(self.batch_size)).mean())
            self._is_warm = True

    def _log_ratio(self, tokens: Tensor) -> Tensor:
        with default_modes():
            return raw_logits(self.adversary.discriminator, tokens)

    def _train_density(self) -> None:
        """Steps of maximum likelihood on what the agent wrote last."""
        with default_modes():
            recent = torch.from_numpy(self._recent).to(self.device)
            for _ in range(self.density_steps):
                mle_step(self.density, self.density_optimizer, recent, self.task.vocabulary.pad, MAX_GRAD_NORM)

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
        """All that training goes on from: a copy, of tensors and plain values."""
        networks = {name: deepcopy(getattr(self, name).state_dict()) for name in _TRAINED}
        return networks | {
            "rng": self.rng.bit_generator.state,
            "torch_rng": self.torch_rng.get_state(),
            "waiting": torch.from_numpy(self._waiting.copy()),
            "recent": torch.from_numpy(self._recent.copy()),
            "baseline": self.baseline,
            "is_warm": self._is_warm,
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            check_keys("the state", state, (*_TRAINED, *_COUNTED))
            for name in _TRAINED:
                # A copy: optimisers would train the caller's tensors.
                getattr(self, name).load_state_dict(deepcopy(state[name]))
        except (AttributeError, FormulaError, KeyError, RuntimeError, TypeError, ValueError) as error:
            name = self.config.architecture
            raise FormulaError(
                f'the state holds no "{name}" discriminator of this task: make the same environment'
            ) from error
        self.rng.bit_generator.state = state["rng"]
        self.torch_rng.set_state(state["torch_rng"])
        self._waiting, self._recent = (state[name].numpy().copy() for name in ("waiting", "recent"))
        self.baseline, self._is_warm = state["baseline"], state["is_warm"]
        self.num_updates = state["num_updates"]
        self.has_observed = True


_TRAINED = ("adversary", "density", "density_optimizer")
_COUNTED = ("rng", "torch_rng", "waiting", "recent", "baseline", "is_warm", "num_updates")


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
        "the discriminator in worker process %d is a copy: it learns only from the formulae finished there. "
        "gym.make_vec gives many environments that train one, in one process",
        pid,
    )


_shared: WeakValueDictionary[Hashable, SelfTrainingDiscriminator] = WeakValueDictionary()


def shared_discriminator(task: SequenceTask, **options: Any) -> SelfTrainingDiscriminator:
    """One discriminator for all environments of this process that ask for it alike before it learns from any.

    One that has learnt belongs to the agent that it has learnt from: whoever comes later gets a new one.
    """
    arguments = signature(SelfTrainingDiscriminator).bind(task, **options)
    arguments.apply_defaults()
    key = (os.getpid(), *map(_by_value, arguments.arguments.values()))
    model = _shared.get(key)
    if model is None or model.has_observed:
        model = _shared[key] = SelfTrainingDiscriminator(task, **options)
    return model


def _by_value(argument: Any) -> Hashable:
    """Equal for equal arguments; a task that can't be compared is equal to itself alone."""
    if isinstance(argument, np.ndarray):
        return argument.tobytes()
    return argument if isinstance(argument, Hashable) else id(argument)
