"""Stable-Baselines3 policies where one of ours is asked for: as the rollout policy of the environment."""

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.discriminators import one_hot
from formula_env.networks.policy import State
from formula_env.tasks.base import Task


class SB3Policy:
    """The policy of PPO, A2C, TRPO or MaskablePPO as a `formula_env.networks.policy.Policy`.

    Such a policy reads the whole prefix at every step, so its state is the prefix. All prefixes of one length go
    through it in one call, each distinct one once. With `masked` illegal symbols get probability 0, as
    MaskablePPO acts.

    Raises FormulaError if the policy has another observation or action space than the task's environments.
    """

    def __init__(self, policy: ActorCriticPolicy, task: Task, masked: bool = False) -> None:
        length, vocab_size = task.max_length, task.vocabulary.size
        if getattr(policy.action_space, "n", None) != vocab_size:
            raise FormulaError(
                f"the policy chooses from {policy.action_space}; the task has {vocab_size} symbols: "
                f"Discrete({vocab_size})"
            )
        shape = policy.observation_space.shape
        self.reads_tokens = np.issubdtype(policy.observation_space.dtype, np.integer)
        if shape != ((length,) if self.reads_tokens else (length * vocab_size,)):
            raise FormulaError(
                f"the policy reads observations of shape {shape}; the task's are "
                f"({length * vocab_size},) one-hot, or ({length},) ids"
            )
        self.policy, self.task, self.masked = policy, task, masked

    def start(self, n: int) -> State:
        return (torch.full((n, self.task.max_length), self.task.vocabulary.pad, device=self.policy.device),)

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        (prefixes,) = state
        if (symbols != self.task.vocabulary.bos).all():
            lengths = (prefixes != self.task.vocabulary.pad).sum(dim=1, keepdim=True)
            prefixes = prefixes.scatter(1, lengths.clamp(max=self.task.max_length - 1), symbols[:, None])
        observations = prefixes if self.reads_tokens else one_hot(prefixes, self.task.vocabulary.size).flatten(1)
        was_training = self.policy.training
        self.policy.set_training_mode(False)
        logits = self.policy.get_distribution(observations).distribution.logits  # type: ignore[union-attr]
        self.policy.set_training_mode(was_training)
        if self.masked:
            legal = torch.from_numpy(self.task.legal_symbols(prefixes.cpu().numpy())).to(logits.device)
            logits = logits.masked_fill(~legal, -torch.inf)
        return logits, (prefixes,)
