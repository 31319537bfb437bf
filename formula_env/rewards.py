"""What judges a finished formula, and how its verdict is spread over the steps that wrote it."""

import logging
import multiprocessing
import os
from collections.abc import Hashable
from copy import deepcopy
from functools import cache
from inspect import signature
from typing import Any, Literal, Protocol, get_args
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env.adversarial import adam, discriminator_step
from formula_env.errors import FormulaError, check_choice, check_seed, whole_number
from formula_env.networks import DiscriminatorName, make_discriminator, raw_logits
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens

logger = logging.getLogger("formula_env")

RewardModelName = Literal["exact", "discriminator", "constant"]

RewardMode = Literal["difference", "terminal", "q"]
"""How Q becomes rewards.

difference: r_t = Q_t - Q_{t-1}. They sum to D(Y) - Q_0, so an agent that adds up rewards (any RL library)
    climbs D(Y), with credit at every step and at any γ (potential-based shaping, Ng et al. 1999).
terminal: 0 until the formula is finished, then D(Y).
q: r_t = Q_t, the weights of the thesis' eq. 7.2. Not rewards to be added up: only for γ = 0, or as weights.
"""


class RewardModel(Protocol):
    """Judges formulae; may learn from those that the environment finishes."""

    def score(self, tokens: Tensor) -> Tensor:
        """Rewards `(n,)` of finished formulae `(n, T)`."""
        ...

    def observe(self, tokens: Tokens) -> None:
        """Called with every batch of formulae `(n, T)` that the environment has finished."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def checked_scores(reward_model: RewardModel, tokens: Tensor, task: Task) -> Tensor:
    """The reward model's verdict `(n,)` on formulae `(n, T)`.

    Raises FormulaError, naming the model, if it is no such vector of finite numbers.
    """
    name, n = type(reward_model).__name__, len(tokens)
    scores: Any = reward_model.score(tokens)
    if not isinstance(scores, Tensor | np.ndarray):
        raise FormulaError(f"{name}.score must return a tensor or array ({n},), got {type(scores).__name__}")
    scores = torch.as_tensor(scores, device=tokens.device).detach()
    if tuple(scores.shape) != (n,) or scores.is_complex():
        shape = tuple(scores.shape)
        raise FormulaError(f"{name}.score must return ({n},) real numbers for {n} formulae, got {shape}")
    finite = scores.isfinite()
    if not finite.all():
        row = int((~finite).nonzero()[0])
        formula = task.decode(tokens[row : row + 1].cpu().numpy())[0]
        raise FormulaError(f"{name}.score returned {float(scores[row])} for {formula!r}; rewards must be finite")
    return scores


class FixedReward:
    """A reward model with nothing to learn and nothing to save."""

    def observe(self, tokens: Tokens) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            raise FormulaError('the state is of a reward model that learns: ask for reward_model="discriminator"')


class ExactReward(FixedReward):
    """The checker itself: 1 for a correct formula, else 0. Its optimum is any one correct formula, repeated."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def score(self, tokens: Tensor) -> Tensor:
        return torch.from_numpy(self.task.is_correct(tokens.cpu().numpy())).float().to(tokens.device)


class ConstantReward(FixedReward):
    """The control: ½ for everything. An agent that improves on it learns from something else."""

    def score(self, tokens: Tensor) -> Tensor:
        return torch.full((len(tokens),), 0.5, device=tokens.device)


RewardKind = Literal["probability", "log-ratio"]


class DiscriminatorReward(FixedReward):
    """The verdict of a discriminator that is trained elsewhere, in one of two kinds.

    probability: D(x) = sigmoid(logit), the chance that x is real (thesis §7.2). The best policy says the x of the
        highest D, over and over; only the discriminator's learning keeps the policy moving.
    log-ratio: the logit itself, within ±clip nats. The best logit is r(x) = log p(x) - log π(x). Held fixed,
        as a reward is, its policy gradient is E_π[∇log π · (log p - log π)] = -∇KL(π ‖ p), for the term that is
        missing, E_π[∇log π], is 0. So climbing this reward (its sign is +) descends KL(π ‖ p); at π = p it is
        0 for every x, and so is the expected update. No entropy bonus is needed: it is in -log π.
    """

    def __init__(self, discriminator: nn.Module, kind: RewardKind = "probability", clip: float = 5.0) -> None:
        check_choice(get_args(RewardKind), reward=kind)
        self.discriminator, self.kind, self.clip = discriminator, kind, clip

    def score(self, tokens: Tensor) -> Tensor:
        # A reward must not depend on dropout, whatever mode training left behind.
        logits = raw_logits(self.discriminator, tokens)
        return torch.sigmoid(logits) if self.kind == "probability" else logits.clamp(-self.clip, self.clip)


class SelfTrainingDiscriminator(DiscriminatorReward):
    """A discriminator that trains itself against the formulae an agent finishes.

    After every `update_every` of them it takes one step on these as fake and as many real formulae: drawn from
    `real` `(n, T)`, or fresh correct ones. So a client that knows nothing of GANs trains adversarially.

    In worker processes each environment trains a discriminator of its own; each process says so once, as a warning
    of the logger "formula_env".
    """

    def __init__(
        self,
        task: Task,
        architecture: DiscriminatorName = "mlp",
        update_every: int = 64,
        learning_rate: float = 1e-3,
        seed: int = 0,
        device: str | torch.device = "cpu",
        real: Tokens | None = None,
    ) -> None:
        check_choice(get_args(DiscriminatorName), discriminator=architecture)
        self.update_every = whole_number(1, discriminator_update_every=update_every)
        seed = whole_number(0, discriminator_seed=seed)
        check_seed(seed)
        self.has_observed = False
        # Own generators: making an environment must not move the user's random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            discriminator = make_discriminator(architecture, task).to(device)
        super().__init__(discriminator)
        self.task = task
        self.real = real
        self.num_updates = 0
        self.optimizer = adam(discriminator.parameters(), learning_rate)
        self._rng = np.random.default_rng(seed)
        self._device = torch.device(device)
        self._waiting = np.empty((0, task.max_length), dtype=np.int64)

    def observe(self, tokens: Tokens) -> None:
        if multiprocessing.parent_process() is not None:
            _tell_it_is_a_copy(os.getpid())
        self.has_observed = True
        self._waiting = np.concatenate([self._waiting, tokens])
        while len(self._waiting) >= self.update_every:
            fake, self._waiting = self._waiting[: self.update_every], self._waiting[self.update_every :]
            real, fake = (torch.from_numpy(batch).to(self._device) for batch in (self._draw_real(), fake))
            discriminator_step(self.discriminator, self.optimizer, real, fake)
            self.num_updates += 1

    def _draw_real(self) -> Tokens:
        if self.real is None:
            return self.task.sample(self.update_every, self._rng)
        return self.real[self._rng.integers(len(self.real), size=self.update_every)]

    def state_dict(self) -> dict[str, Any]:
        """A copy: training goes on without it."""
        return {
            "discriminator": deepcopy(self.discriminator.state_dict()),
            "optimizer": deepcopy(self.optimizer.state_dict()),
            "rng": self._rng.bit_generator.state,
            "waiting": torch.from_numpy(self._waiting.copy()),
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            self.discriminator.load_state_dict(state["discriminator"])
        except (KeyError, RuntimeError) as error:
            name = type(self.discriminator).__name__
            raise FormulaError(f"the state holds no {name} for this task: make the same environment") from error
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))  # it would train the caller's tensors
        self._rng.bit_generator.state = state["rng"]
        self._waiting = state["waiting"].numpy().copy()
        self.num_updates = state["num_updates"]
        self.has_observed = True


@cache
def _tell_it_is_a_copy(pid: int) -> None:
    logger.warning(
        "the discriminator in worker process %d is a copy: it learns only from the formulae finished there. "
        "gym.make_vec gives many environments that train one, in one process",
        pid,
    )


_shared: WeakValueDictionary[Hashable, SelfTrainingDiscriminator] = WeakValueDictionary()


def shared_discriminator(task: Task, **options: Any) -> SelfTrainingDiscriminator:
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


def step_rewards(
    mode: RewardMode,
    q: NDArray[np.float64],
    previous_q: NDArray[np.float64],
    finished: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Rewards `(n,)` of the steps that led from prefixes of value previous_q to prefixes of value q."""
    if mode == "difference":
        return q - previous_q
    if mode == "terminal":
        return np.where(finished, q, 0.0)
    return q
