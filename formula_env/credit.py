"""Credit assignment: the reward model's scores and the Q of prefixes, as rewards of single symbols."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from formula_env.episodes import Episodes
from formula_env.errors import check_methods
from formula_env.modes import default_modes
from formula_env.networks.policy import Policy, UniformPolicy, check_policy
from formula_env.rewards import RewardMode, RewardModel, checked_scores, step_rewards
from formula_env.rollouts import Estimator
from formula_env.sampling import draw_keys
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens

Floats = NDArray[np.float64]


class Credit:
    """Scores formulae, estimates Q of prefixes, and makes rewards of both.

    Args:
        task: whose formulae are written.
        reward_model: scores finished formulae.
        mode: how Q becomes rewards.
        estimator: of Q; not asked for terminal rewards.
        device: where all is computed.
    """

    def __init__(
        self,
        task: SequenceTask,
        reward_model: RewardModel,
        mode: RewardMode,
        estimator: Estimator,
        device: torch.device,
    ) -> None:
        self.mode: RewardMode = mode
        self.task, self.reward_model, self.estimator, self.device = task, reward_model, estimator, device
        self.rollout_policy: Policy = UniformPolicy(task)

    # --- what is injected -------------------------------------------------------------------------------------

    def set_reward_model(self, reward_model: RewardModel) -> None:
        """Score by this model from now on; raises FormulaError for what is no `RewardModel`."""
        check_methods(reward_model, RewardModel, "reward model")
        self.reward_model = reward_model

    def set_rollout_policy(self, policy: Policy) -> None:
        """Complete prefixes by this policy; raises FormulaError for what is no `Policy` of the task's symbols."""
        check_methods(policy, Policy, "rollout policy")
        with default_modes():
            check_policy(policy, self.task, self.device)
        self.rollout_policy = policy

    # --- running episodes -------------------------------------------------------------------------------------

    def begin(self, episodes: Episodes, mask: NDArray[np.bool_]) -> None:
        """Set Q of the episodes that have just begun in the environments marked, if rewards are differences."""
        if self.mode == "difference":
            envs = np.flatnonzero(mask)
            episodes.q[envs] = self._values(episodes, envs, np.zeros(len(envs), dtype=bool))

    def pay(self, episodes: Episodes, envs: NDArray[np.int64], finished: NDArray[np.bool_]) -> Floats:
        """Rewards `(m,)` of the symbols just written in these environments `(m,)`, finished formulae or not."""
        q = self._values(episodes, envs, finished)
        rewards = step_rewards(self.mode, q, episodes.q[envs], finished)
        episodes.pay(envs, rewards, q)
        return rewards

    def play(self, episodes: Episodes, writer: Policy) -> tuple[Tokens, Floats]:
        """Let a policy write all episodes, which have just begun: formulae `(n, T)`, Q `(n, T+1)`.

        Column 0 of Q is no estimate.
        """
        vocabulary, length = self.task.vocabulary, self.task.max_length
        keys = episodes.keys(np.arange(len(episodes))).to(self.device)
        with default_modes():
            arguments = (writer, self.rollout_policy, self._score, vocabulary, length, keys)
            tokens, q = (part.cpu().numpy() for part in self.estimator.play(*arguments))
        position, lengths = np.arange(1, length + 1), (tokens != vocabulary.pad).sum(axis=1)[:, None]
        previous = np.column_stack([episodes.q, q[:, 1:-1]])
        rewards = step_rewards(self.mode, q[:, 1:], previous, position == lengths)
        episodes.end(tokens, np.where(position <= lengths, rewards, 0.0), q[:, -1])
        return tokens, q

    def observe(self, tokens: Tokens) -> None:
        """Hand finished formulae `(m, T)` to the reward model."""
        with default_modes():
            self.reward_model.observe(tokens)

    def load(self, state: dict[str, Any]) -> None:
        """Continue with the reward model's state; raises FormulaError for that of another one."""
        with default_modes():
            self.reward_model.load_state_dict(state)

    def _values(self, episodes: Episodes, envs: NDArray[np.int64], finished: NDArray[np.bool_]) -> Floats:
        """Q `(m,)` of running prefixes: a finished formula's score, or an estimate if rewards need one, or 0."""
        q = np.zeros(len(envs))
        if self.mode == "terminal":
            ended = envs[finished]
            if len(ended):
                q[finished] = self._scores(episodes.tokens[ended])
            return q
        if not len(envs):
            return q
        with default_modes():
            tokens = self._prefixes(episodes, envs)
            if finished.any():
                q[finished] = _array(self._score(tokens[self._rows(finished)]))
            if not finished.all():
                lengths = torch.from_numpy(episodes.lengths[envs[~finished]]).to(self.device)
                keys = episodes.keys(envs[~finished]).to(self.device)
                of_prefixes = self._estimate(tokens[self._rows(~finished)], lengths, keys)
                q[~finished] = _array(of_prefixes.gather(1, lengths[:, None])[:, 0])
        return q

    def _prefixes(self, episodes: Episodes, envs: NDArray[np.int64]) -> Tensor:
        """The tokens `(m, T)` on the device; where nothing is written yet, nothing is carried there."""
        if episodes.lengths[envs].any():
            return torch.from_numpy(episodes.tokens[envs]).to(self.device)
        return torch.full((len(envs), self.task.max_length), self.task.vocabulary.pad, device=self.device)

    def _rows(self, mask: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(np.flatnonzero(mask)).to(self.device)

    # --- any prefixes -----------------------------------------------------------------------------------------

    def q_values(self, episodes: Episodes, tokens: Tokens) -> Floats:
        """Q `(n, T)` of all non-empty prefixes of formulae `(n, T)`, by the episodes' random numbers."""
        keys = episodes.keys(np.arange(len(episodes)))
        return self._prefix_q(tokens, np.ones(len(tokens), dtype=np.int64), keys)[:, 1:]

    def rewards_of(self, prefixes: Tokens, finished: NDArray[np.bool_], generator: torch.Generator) -> Floats:
        """What the last step to each of these prefixes `(m, T)` would earn now, `(m,)`; see the environment's."""
        lengths, row = (prefixes != self.task.vocabulary.pad).sum(axis=1), np.arange(len(prefixes))
        q, previous_q = np.zeros(len(prefixes)), np.zeros(len(prefixes))
        if self.mode == "terminal":
            q[finished] = self._scores(prefixes[finished])
        else:
            of_prefixes = self._prefix_q(prefixes, lengths - 1, draw_keys(len(prefixes), generator))
            q, previous_q = of_prefixes[row, lengths], of_prefixes[row, lengths - 1]
        return step_rewards(self.mode, q, previous_q, finished)

    def _prefix_q(self, tokens: Tokens, first: NDArray[np.int64], keys: Tensor) -> Floats:
        """Q `(m, T+1)` as in `monte_carlo_q`, with the random numbers of these keys `(m,)`."""
        with default_modes():
            formulae, first_ = (torch.from_numpy(array).to(self.device) for array in (tokens, first))
            return _array(self._estimate(formulae, first_, keys.to(self.device)))

    # --- on the device ----------------------------------------------------------------------------------------

    def _estimate(self, tokens: Tensor, first: Tensor, keys: Tensor) -> Tensor:
        return self.estimator.q(self.rollout_policy, self._score, self.task.vocabulary, tokens, first, keys)

    def _score(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return checked_scores(self.reward_model, tokens, self.task)

    def _scores(self, tokens: Tokens) -> Floats:
        """The reward model's scores `(m,)` of finished formulae `(m, T)`."""
        if not len(tokens):
            return np.zeros(0)
        with default_modes():
            return _array(self._score(torch.from_numpy(tokens).to(self.device)))


def _array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()
