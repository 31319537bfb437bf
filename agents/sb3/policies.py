"""Stable-Baselines3 models where a `formula_env.networks.policy.Policy` is asked for.

So Monte-Carlo rollouts follow the agent that is being trained, and its formulae have exact probabilities. All
prefixes of one length go through the network in one call, each distinct one once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sb3_contrib.ars.policies import ARSPolicy
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.discriminators import one_hot
from formula_env.networks.policy import State
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


class SB3Policy:
    """The policy of a Stable-Baselines3 model, with the interface of `formula_env.networks.policy.Policy`.

    Each subclass is for a kind of model. For one of your own, define `logits`, set `has_density` to False if the
    model chooses greedily, and register it: `register_policy(MyPolicy, MyWrapper)`.

    Raises FormulaError if the model has another observation or action space than the task's environments.
    """

    has_density = True
    """Whether log π is a smooth function of the weights, as a ratio discriminator needs it."""

    def __init__(self, model: BaseAlgorithm, task: SequenceTask) -> None:
        self.model, self.task = model, task
        self.codec = PrefixCodec(model.observation_space, task)
        vocab_size = task.vocabulary.size
        if getattr(model.action_space, "n", None) != vocab_size:
            raise FormulaError(
                f"the policy chooses from {model.action_space}; the task has {vocab_size} symbols: "
                f"Discrete({vocab_size})"
            )

    @property
    def policy(self) -> Any:
        """The policy object of the Stable-Baselines3 model."""
        return self.model.policy

    def start(self, n: int) -> State:
        """The state of n empty prefixes: a tensor of padding `(n, T)`."""
        return (torch.full((n, self.task.max_length), self.task.vocabulary.pad, device=self.model.device),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Append the symbols `(n,)` (BOS first): logits `(n, V)` of the next ones, and the new state."""
        prefixes = self.append(symbols, state[0])
        with evaluating(self.policy):
            return self.logits(self.codec.observe(prefixes), prefixes), (prefixes,)

    def append(self, symbols: Tensor, prefixes: Tensor) -> Tensor:
        """The prefixes `(n, T)` with one symbol `(n,)` more each; BOS is not written."""
        if (symbols == self.task.vocabulary.bos).all():
            return prefixes
        lengths = (prefixes != self.task.vocabulary.pad).sum(dim=1, keepdim=True)
        return prefixes.scatter(1, lengths.clamp(max=self.task.max_length - 1), symbols[:, None])

    def logits(self, observations: Tensor, prefixes: Tensor) -> Tensor:
        """Logits of the next symbol `(n, V)`."""
        raise NotImplementedError


class StochasticPolicy(SB3Policy):
    """PPO, A2C, TRPO: the policy is a distribution."""

    def logits(self, observations: Tensor, prefixes: Tensor) -> Tensor:
        return self.policy.get_distribution(observations).distribution.logits


class MaskedPolicy(StochasticPolicy):
    """MaskablePPO: illegal symbols have probability 0."""

    def logits(self, observations: Tensor, prefixes: Tensor) -> Tensor:
        legal = torch.from_numpy(self.task.legal_symbols(prefixes.cpu().numpy())).to(prefixes.device)
        return super().logits(observations, prefixes).masked_fill(~legal, -torch.inf)


class RecurrentPolicy(SB3Policy):
    """RecurrentPPO: the state holds the LSTM's, too, `(n, layers·hidden)` each."""

    def start(self, n: int) -> State:
        size = self.policy.lstm_actor.num_layers * self.policy.lstm_actor.hidden_size
        zeros = torch.zeros((n, size), dtype=torch.float32, device=self.model.device)
        return (*super().start(n), zeros, zeros)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        prefixes, *memory = state
        prefixes = self.append(symbols, prefixes)
        layers = self.policy.lstm_actor.num_layers
        lstm_states = tuple(part.view(len(part), layers, -1).transpose(0, 1).contiguous() for part in memory)
        goes_on = torch.zeros(len(prefixes), dtype=torch.float32, device=prefixes.device)
        with evaluating(self.policy):
            chosen, memory = self.policy.get_distribution(self.codec.observe(prefixes), lstm_states, goes_on)
        kept = (part.transpose(0, 1).flatten(1) for part in memory)
        return chosen.distribution.logits, (prefixes, *kept)


class GreedyPolicy(SB3Policy):
    """DQN and QRDQN: the symbol of the highest value, or with the exploration rate ε any, each alike."""

    has_density = False

    def logits(self, observations: Tensor, prefixes: Tensor) -> Tensor:
        best = self.values(observations).argmax(dim=1)
        epsilon, vocab_size = self.model.exploration_rate, self.task.vocabulary.size  # type: ignore[attr-defined]
        probs = torch.full((len(best), vocab_size), epsilon / vocab_size, device=best.device)
        return probs.scatter_add(1, best[:, None], torch.full_like(probs[:, :1], 1 - epsilon)).log()

    def values(self, observations: Tensor) -> Tensor:
        """Values of each symbol `(n, V)`."""
        return self.policy.q_net(observations)


class QuantilePolicy(GreedyPolicy):
    def values(self, observations: Tensor) -> Tensor:
        return self.policy.quantile_net(observations).mean(dim=1)


class DeterministicPolicy(GreedyPolicy):
    """ARS: always the symbol of the highest value, so one formula."""

    def logits(self, observations: Tensor, prefixes: Tensor) -> Tensor:
        best = self.policy(observations)
        never = torch.full((len(best), self.task.vocabulary.size), -torch.inf, device=best.device)
        return never.scatter(1, best[:, None], 0.0)


class NoisyPolicy:
    """A mixture of copies of a policy, each with another amount of noise, as one policy with a known density.

    A copy replaces each symbol, with probability `noises[k]`, by any that the policy may choose.
    """

    def __init__(self, policy: SB3Policy, noises: Sequence[float]) -> None:
        self.policy = policy
        self.noises = torch.tensor(noises, dtype=torch.float32, device=policy.model.device)[:, None]

    def start(self, n: int) -> State:
        """The policy's state; of each copy `(n, K)`, log of its probability of the prefix; its next symbol's."""
        copies, vocab_size = len(self.noises), self.policy.task.vocabulary.size
        likelihoods = torch.zeros((n, copies), dtype=torch.float32, device=self.noises.device)
        return (*self.policy.start(n), likelihoods, likelihoods[:, :, None].expand(-1, -1, vocab_size))

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        *inner, likelihoods, next_log_probs = state
        if (symbols != self.policy.task.vocabulary.bos).all():
            emitted = symbols.clamp(max=next_log_probs.shape[2] - 1)  # behind the end of a formula comes PAD
            likelihoods = likelihoods + next_log_probs[torch.arange(len(symbols)), :, emitted]
            impossible = (likelihoods == -torch.inf).all(dim=1, keepdim=True)
            likelihoods = likelihoods.masked_fill(impossible, 0.0)  # what follows is without meaning, but no NaN
        logits, inner = self.policy.step(symbols, tuple(inner))
        # A greedy policy may choose all symbols, whatever it does choose.
        possible = (logits > -torch.inf).float() if self.policy.has_density else torch.ones_like(logits).float()
        uniform = possible / possible.sum(dim=1, keepdim=True)
        probs = logits.float().softmax(dim=1)[:, None].lerp(uniform[:, None], self.noises)
        next_log_probs = probs.log()
        mixture = (likelihoods[:, :, None] + next_log_probs).logsumexp(dim=1)
        return mixture, (*inner, likelihoods, next_log_probs)


POLICIES: dict[type[BasePolicy], type[SB3Policy]] = {
    ActorCriticPolicy: StochasticPolicy,
    RecurrentActorCriticPolicy: RecurrentPolicy,
    MaskableActorCriticPolicy: MaskedPolicy,
    DQNPolicy: GreedyPolicy,
    QRDQNPolicy: QuantilePolicy,
    ARSPolicy: DeterministicPolicy,
}
"""The wrapper of each class of policies; `register_policy` adds to it."""


def register_policy(policy_class: type[BasePolicy], wrapper: type[SB3Policy]) -> None:
    """Make `policy_of` wrap policies of this class, and of classes derived from it, in this wrapper."""
    POLICIES[policy_class] = wrapper


def policy_of(model: BaseAlgorithm, task: SequenceTask) -> SB3Policy:
    """The model's policy as the distribution of the next symbol.

    The wrapper is that of the most derived class registered. A policy of an unregistered class needs a method
    `get_distribution(observations)` that returns Stable-Baselines3's categorical distribution.

    Raises FormulaError for a policy that is neither, or whose spaces are not the task's.
    """
    wrapper = _wrapper_of(type(model.policy))
    if wrapper is None:
        known = ", ".join(each.__name__ for each in POLICIES)
        raise FormulaError(
            f"{type(model).__name__} has a {type(model.policy).__name__}, which is not known to choose among "
            f"symbols; known are policies with get_distribution, and those of {known}; register_policy adds others"
        )
    policy = wrapper(model, task)
    _check_logits(policy)
    return policy


def _wrapper_of(policy_class: type) -> type[SB3Policy] | None:
    registered = (POLICIES[base] for base in policy_class.__mro__ if base in POLICIES)
    return next(registered, StochasticPolicy if hasattr(policy_class, "get_distribution") else None)


def _check_logits(policy: SB3Policy) -> None:
    """Raise FormulaError unless a policy gives one logit for each symbol."""
    vocabulary = policy.task.vocabulary
    bos = torch.full((2,), vocabulary.bos, device=policy.model.device)
    logits, _ = policy.step(bos, policy.start(2))
    if logits.shape != (2, vocabulary.size):
        raise FormulaError(
            f"{type(policy).__name__} must give logits (n, {vocabulary.size}), got {tuple(logits.shape)} for n = 2"
        )


class PrefixCodec:
    """Prefixes `(n, T)` as the environment's observations, and back.

    Raises FormulaError for an observation space that is not the task's.
    """

    def __init__(self, space: Any, task: SequenceTask) -> None:
        length, self.vocab_size = task.max_length, task.vocabulary.size
        self.length = length
        self.reads_tokens = space.dtype is not None and np.issubdtype(space.dtype, np.integer)
        if space.shape != ((length,) if self.reads_tokens else (length * self.vocab_size,)):
            raise FormulaError(
                f"the policy reads observations of {space}; the task's are of shape "
                f"({length * self.vocab_size},) one-hot, or ({length},) ids"
            )

    def observe(self, prefixes: Tensor) -> Tensor:
        """`(n, T)` ids, or `(n, T·V)` one-hot."""
        return prefixes if self.reads_tokens else one_hot(prefixes, self.vocab_size).flatten(1)

    def read(self, observations: Any) -> Tokens:
        """The prefixes `(n, T)` in observations `(n, …)`."""
        if self.reads_tokens:
            return observations.astype(np.int64)
        spelt = observations.reshape(len(observations), self.length, self.vocab_size)
        return np.where(spelt.any(axis=2), spelt.argmax(axis=2), self.vocab_size)


@contextmanager
def evaluating(policy: BasePolicy) -> Iterator[None]:
    """Without dropout, and without gradients; the policy's mode stays as it was."""
    was_training = policy.training
    policy.set_training_mode(False)
    try:
        with torch.no_grad():
            yield
    finally:
        policy.set_training_mode(was_training)
