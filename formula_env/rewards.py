"""Reward models, which score finished formulae, and how their scores become rewards of single steps."""

import math
from collections import Counter
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from formula_env.errors import (
    FormulaError,
    check_at_least,
    check_choice,
    check_keys,
    check_methods,
    check_positive,
)
from formula_env.networks import raw_logits
from formula_env.networks.policy import Policy
from formula_env.sampling import log_prob
from formula_env.tasks.automaton import GrammarTask
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

RewardModelName = Literal["exact", "soft", "discriminator", "constant"]

RewardMode = Literal["difference", "terminal", "q"]
"""How Q becomes rewards.

difference: r_t = Q_t - Q_{t-1}. They sum to D(Y) - Q_0, so an agent that adds up rewards (any RL library)
    climbs D(Y), with credit at every step and at any γ (potential-based shaping, Ng et al. 1999).
terminal: 0 until the formula is finished, then D(Y).
q: r_t = Q_t, the weights of the thesis' eq. 7.2. Not rewards to be added up: only for γ = 0, or as weights.
"""


class RewardModel(Protocol):
    """Scores finished formulae, and may learn from those that the environment finishes.

    A subclass that learns nothing needs `score` only.
    """

    def score(self, tokens: Tensor) -> Tensor:
        """Rewards `(n,)` of finished formulae `(n, T)`."""
        ...

    def observe(self, tokens: Tokens) -> None:
        """Called with every batch of formulae `(n, T)` that the environment has finished."""

    def state_dict(self) -> dict[str, Any]:
        """The state of what the model has learned, as tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned; raises FormulaError for that of another reward model."""
        if state:
            raise FormulaError("the state is of a reward model that learns: make the same environment")


def checked_scores(reward_model: RewardModel, tokens: Tensor, task: SequenceTask) -> Tensor:
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


class ExactReward(RewardModel):
    """The checker itself: 1 for a correct formula, else 0. Its optimum is any one correct formula, repeated."""

    def __init__(self, task: SequenceTask) -> None:
        self.task = task

    def score(self, tokens: Tensor) -> Tensor:
        return torch.from_numpy(self.task.is_correct(tokens.cpu().numpy())).float().to(tokens.device)


class SoftReward(RewardModel):
    """The checker's verdict and the policy's entropy: log R(x) - log π(x), with R(x) = exp(-β·[x is incorrect]).

    Its expectation under π is log Z - KL(π ‖ R/Z). So the optimum is not one correct formula, repeated, but all of
    them, equally often, and hardly any other (Levine 2018). Although π is held fixed in it, as a reward is, its
    policy gradient is that of -KL(π ‖ R/Z), since E_π[∇log π] = 0.

    Args:
        task: with a checker.
        policy: π, of the agent that is trained; it may change from score to score.
        beta: penalty of an incorrect formula, nats; may be changed. Default: `default_beta(task)`.
    """

    def __init__(self, task: SequenceTask, policy: Policy, beta: float | None = None) -> None:
        if beta is not None:
            check_positive(beta=beta)
        self.task, self.policy = task, policy
        self.beta = default_beta(task) if beta is None else beta

    def score(self, tokens: Tensor) -> Tensor:
        density = log_prob(self.policy, self.task.vocabulary, tokens).float()
        return log_exact(self.task, tokens, self.beta) - density


def log_exact(task: SequenceTask, tokens: Tensor, beta: float) -> Tensor:
    """The checker's log R(x) = -β·[x is incorrect] `(n,)` of formulae `(n, T)`, nats."""
    return -beta * torch.from_numpy(~task.is_correct(tokens.cpu().numpy())).float().to(tokens.device)


class ConstantReward(RewardModel):
    """The control: ½ for everything. An agent that improves on it learns from something else."""

    def score(self, tokens: Tensor) -> Tensor:
        return torch.full((len(tokens),), 0.5, device=tokens.device)


RewardTransform = Literal["probability", "log-ratio"]


class DiscriminatorReward(RewardModel):
    """A discriminator's logit as a reward, by one of two transforms. The discriminator is trained elsewhere.

    probability: D(x) = sigmoid(logit), the chance that x is real (thesis §7.2). The best policy generates only the
        x of the highest D; only the discriminator's learning keeps the policy moving.
    log-ratio: the logit itself, within ±clip nats. The best logit is r(x) = log p(x) - log π(x). Held fixed,
        as a reward is, its policy gradient is E_π[∇log π · (log p - log π)] = -∇KL(π ‖ p), for the term that is
        missing, E_π[∇log π], is 0. So climbing this reward (its sign is +) descends KL(π ‖ p); at π = p it is
        0 for every x, and so is the expected update. No entropy bonus is needed: it is in -log π.
    """

    def __init__(
        self, discriminator: nn.Module, transform: RewardTransform = "probability", clip: float = 5.0
    ) -> None:
        check_choice(get_args(RewardTransform), reward_transform=transform)
        self.discriminator, self.transform, self.clip = discriminator, transform, clip

    def score(self, tokens: Tensor) -> Tensor:
        # A reward must not depend on dropout, whatever mode training left behind.
        logits = raw_logits(self.discriminator, tokens)
        return torch.sigmoid(logits) if self.transform == "probability" else logits.clamp(-self.clip, self.clip)


class DiversityFilter(RewardModel):
    """A reward model that pays for a skeleton until it has been written often enough (Blaschke et al. 2020).

    Each skeleton, a formula's form without its numbers, has a bucket. A finished formula that scores `threshold`
    or more goes into the bucket of its skeleton, repetitions too, and once the bucket is full, such formulae score
    `score_when_full`. So an agent that maximises its reward must move on, where otherwise it ends in one formula.
    Buckets are filled by `observe` alone: however often `score` is asked in between, it gives the same answers.

    Args:
        reward_model: what scores formulae.
        task: gives their skeletons.
        bucket_size: finished formulae that fill a bucket.
        threshold: score of formulae that are worth collecting; those below it pass as they are.
        score_when_full: score of a formula whose bucket is full.
        device: where the reward model wants formulae to be.
    """

    def __init__(
        self,
        reward_model: RewardModel,
        task: SequenceTask,
        bucket_size: int = 25,
        threshold: float = 0.5,
        score_when_full: float = 0.0,
        device: str | torch.device = "cpu",
    ) -> None:
        check_methods(reward_model, RewardModel, "reward model")
        check_at_least(1, bucket_size=bucket_size)
        self.reward_model, self.task, self.device = reward_model, task, torch.device(device)
        self.bucket_size, self.threshold, self.score_when_full = bucket_size, threshold, score_when_full
        self.buckets: Counter[str] = Counter()
        """How many formulae of each skeleton were collected."""

    def score(self, tokens: Tensor) -> Tensor:
        scores = checked_scores(self.reward_model, tokens, self.task).clone()
        rows = (scores >= self.threshold).nonzero()[:, 0]
        is_full = [self.buckets[skeleton] >= self.bucket_size for skeleton in self._skeletons(tokens[rows])]
        scores[rows[torch.tensor(is_full, dtype=torch.bool, device=rows.device)]] = self.score_when_full
        return scores

    def observe(self, tokens: Tokens) -> None:
        formulae = torch.from_numpy(tokens).to(self.device)
        collected = checked_scores(self.reward_model, formulae, self.task) >= self.threshold
        self.buckets.update(self._skeletons(formulae[collected]))
        self.reward_model.observe(tokens)

    def _skeletons(self, tokens: Tensor) -> list[str]:
        return self.task.skeleton(self.task.decode(tokens.cpu().numpy()))

    def state_dict(self) -> dict[str, Any]:
        return {"reward_model": self.reward_model.state_dict(), "buckets": dict(self.buckets)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_keys("the state of a diversity filter", state, ("reward_model", "buckets"))
        self.reward_model.load_state_dict(state["reward_model"])
        self.buckets = Counter(state["buckets"])


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


SAFE_ODDS = 5.0
"""Logarithm of the odds that a formula of the target distribution is correct, at least: e^-5 is 0.7 %."""

MIN_BETA, BETA_OF_UNKNOWN_COUNT = 12.0, 20.0
"""Default β at least, and where it is not known how many formulae are correct."""


def default_beta(task: SequenceTask, masked: bool = False) -> float:
    """The penalty β for a task, nats; for a policy that is `masked`, which writes well-formed formulae only."""
    needed = needed_beta(task, masked)
    return BETA_OF_UNKNOWN_COUNT if needed is None else max(MIN_BETA, needed)


def needed_beta(task: SequenceTask, masked: bool = False) -> float | None:
    """log(N/M) + 5 for N strings, of which M are correct; None where M is not known.

    The incorrect strings then have e^-5 times the probability of the correct ones, or less.
    """
    return SAFE_ODDS - log_share(task, masked) if task.count() else None


def log_share(task: SequenceTask, masked: bool = False) -> float:
    """log(M/N), the log of the share of all strings that is correct; -15 where M is not known."""
    correct = task.count()
    if not correct:
        return SAFE_ODDS - BETA_OF_UNKNOWN_COUNT
    return math.log(correct) - math.log(num_strings(task, masked))


def log_odds_of_all(task: SequenceTask) -> float:
    """log(M/(N - M)), the log-odds of all strings that one is correct; -15 where M is not known."""
    share = log_share(task)
    return share - math.log(max(-math.expm1(share), 1e-12))


def target_accuracy(task: SequenceTask, beta: float, masked: bool = False) -> float:
    """The share M / (M + (N - M)·e^-β) of correct formulae in the distribution R/Z, where M is known."""
    correct = task.count()
    assert correct
    return 1 / (1 + math.expm1(math.log(num_strings(task, masked)) - math.log(correct)) * math.exp(-beta))


def num_strings(task: SequenceTask, masked: bool = False) -> int:
    """N: how many strings a policy can write, well-formed or not: V^T where all have the same length.

    With EOS, they are the strings of up to T - 1 symbols that it ends, and those of T symbols without it. A policy
    that is `masked` writes the well-formed ones, where the task can count them.
    """
    if masked and isinstance(task, GrammarTask):
        return task.well_formed.count
    size, length = task.vocabulary.size, task.max_length
    if task.vocabulary.eos is None:
        return size**length
    return sum((size - 1) ** t for t in range(length + 1))
