"""Formula generation as a batch of Gymnasium environments; the only place where a formula grows by a symbol."""

from collections.abc import Sequence
from inspect import signature
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from formula_env.env_options import (
    ObservationName,
    QEstimator,
    credit,
    encode_prefix,
    find_autoreset_mode,
    find_task,
    make_reward_model,
)
from formula_env.errors import FormulaError, check_choice, check_methods, whole_number
from formula_env.modes import default_modes, find_device
from formula_env.networks import EnergyName
from formula_env.networks.policy import Policy, UniformPolicy, check_policy
from formula_env.render import draw_formula, print_formula
from formula_env.rewards import RewardMode, RewardModel, RewardModelName, checked_scores, step_rewards
from formula_env.rollouts import derive_keys, exact_q, monte_carlo_q, play, write
from formula_env.sampling import draw_keys
from formula_env.tasks.base import Task
from formula_env.vocabulary import Tokens, Vocabulary

Observation = NDArray[np.float32] | NDArray[np.int64]


def transition(
    vocabulary: Vocabulary,
    tokens: Tokens,
    lengths: NDArray[np.int64],
    rows: NDArray[np.int64],
    actions: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Append the symbols `(m,)` to the prefixes in these rows `(m,)`; returns which of them are finished, `(m,)`.

    Tokens `(n, T)` and their lengths `(n,)` change in place.
    """
    length = lengths[rows]
    tokens[rows, length] = actions
    length += 1
    lengths[rows] = length
    finished = length == tokens.shape[1]
    if vocabulary.eos is not None:
        finished |= actions == vocabulary.eos
    return finished


class FormulaVectorEnv(gym.vector.VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """`num_envs` formulae written side by side: an action is the next symbol, an episode one formula.

    Args:
        task: a name from `formula_env.tasks`, or a `Task` of your own.
        num_envs: formulae at a time.
        observation: "one-hot", the prefix as a flat float32 `(T·V,)` one-hot; or "tokens", `(T,)` ids with PAD.
        reward_model: "exact" (checker), "discriminator" (trains itself, see below) or "constant" (control).
            Any other one is injected with `set_reward_model`.
        reward_mode: "terminal", "difference" or "q", see `formula_env.rewards.RewardMode`; by default "terminal",
            or "difference" where `num_rollouts` or `q_estimator` is given.
        num_rollouts: Monte-Carlo completions behind each Q, by default 16; 0, with terminal rewards only: none.
            Terminal rewards need no Q, but `play` and `q_values` give it.
        q_estimator: "monte-carlo" (default), or "exact" for backward recursion where the prefix tree is small.
        discriminator: "mlp" (default), "cnn", "recurrent" or "autoregressive": what "discriminator" trains, see
            `formula_env.self_training`.
        discriminator_update_every: finished formulae from one update of it to the next, by default 64.
        discriminator_seed: of its weights and of the formulae it is shown as real, by default 0.
        discriminator_real: those formulae, as text; by default fresh correct ones.
        discriminator_shared: whether it is one and the same in all environments of this process that are made
            with equal options before the first of them has finished a formula. By default single environments
            share theirs, for a vectoriser makes many of them to train one agent.
        autoreset_mode: any of Gymnasium's three by name or value: "NEXT_STEP", "SAME_STEP" or "DISABLED" (an
            action on a finished formula is then ignored).
        render_mode: "ansi", "human" or "rgb_array".
        device: where rewards are computed.
        **task_options: of the task, when that is a name: `length=16`.

    Infos are the same keys at every step, and all numbers: `action_mask` int8 `(V,)`, the symbols that keep the
    formula well-formed, and `is_correct` int8, 1 where a correct formula has just been finished. `formulae` and
    `decode` give text. Illegal symbols may be chosen: the formula is then incorrect.

    Raises FormulaError for options that are wrong or have no effect with the others, and UnexpectedArgument (a
    TypeError, too) for options that do not exist.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 4}

    def __init__(
        self,
        task: str | Task = "binary-sum",
        num_envs: int = 1,
        *,
        observation: ObservationName = "one-hot",
        reward_model: RewardModelName = "exact",
        reward_mode: RewardMode | None = None,
        num_rollouts: int | None = None,
        q_estimator: QEstimator | None = None,
        discriminator: EnergyName | None = None,
        discriminator_update_every: int | None = None,
        discriminator_seed: int | None = None,
        discriminator_real: Sequence[str] | None = None,
        discriminator_shared: bool | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | torch.device = "cpu",
        **task_options: Any,
    ) -> None:
        check_choice(get_args(ObservationName), observation=observation)
        check_choice((None, *self.metadata["render_modes"]), render_mode=render_mode)
        self.task = find_task(task, task_options, _OWN_OPTIONS)
        self.num_envs = num_envs = whole_number(1, num_envs=num_envs)
        self.reward_mode: RewardMode
        self.reward_mode, self.q_estimator, self.num_rollouts = credit(reward_mode, q_estimator, num_rollouts)
        self.autoreset_mode = find_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.device = find_device(device)
        self.reward_model = make_reward_model(
            reward_model,
            self.task,
            self.device,
            discriminator_shared,
            discriminator=discriminator,
            update_every=discriminator_update_every,
            seed=discriminator_seed,
            real=discriminator_real,
        )
        self.rollout_policy: Policy = UniformPolicy(self.task)

        length, vocab_size = self.task.max_length, self.task.vocabulary.size
        self._observe_tokens = observation == "tokens"
        self.single_observation_space: gym.Space[Any] = (
            gym.spaces.MultiDiscrete(np.full(length, vocab_size + 1))
            if self._observe_tokens
            else gym.spaces.Box(0.0, 1.0, (length * vocab_size,), np.float32)
        )
        self.single_action_space = gym.spaces.Discrete(vocab_size)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._one_hot_rows = np.eye(vocab_size + 1, vocab_size, dtype=np.float32)  # PAD's row is zero
        self._tokens = np.full((num_envs, length), self.task.vocabulary.pad)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._finished = np.ones(num_envs, dtype=bool)
        self._is_correct = np.zeros(num_envs, dtype=np.int8)
        self._q = np.zeros(num_envs)
        self._rewards = np.zeros((num_envs, length))  # of the running episode, for render()
        self._seed_keys = np.zeros(num_envs, dtype=np.int64)
        self._is_seeded = False  # by the first reset()
        self._episodes = np.zeros(num_envs, dtype=np.int64)

    # --- what is injected -------------------------------------------------------------------------------------

    def set_reward_model(self, reward_model: RewardModel) -> None:
        """Judge by this model from now on. Rewards of the running episodes stay consistent: Q is cached.

        Raises FormulaError for what is no `RewardModel`.
        """
        check_methods(reward_model, RewardModel, "reward model")
        self.reward_model = reward_model

    def set_rollout_policy(self, policy: Policy) -> None:
        """Complete prefixes by this policy from now on: usually the agent itself (thesis' G_β).

        Raises FormulaError for what is no `Policy`, or none of this task's symbols.
        """
        check_methods(policy, Policy, "rollout policy")
        with default_modes():
            check_policy(policy, self.task, self.device)
        self.rollout_policy = policy

    # --- Gymnasium --------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin new formulae.

        Args:
            seed: environment i is seeded with seed + i, or with seed[i].
            options: "reset_mask", bool `(num_envs,)`: which environments begin anew, by default all.
                "prefix", text or one text for each environment: what their formulae begin with, this time.
                Rewards are for the symbols after it.

        Raises FormulaError for unknown options, and for a prefix that no formula has.
        """
        mask, prefixes = self._reset_options(options)
        super().reset(seed=seed if isinstance(seed, int) else None)
        self._seed(seed, mask)
        self._begin(mask, prefixes)
        self._show_to_people()
        return self._observation(), self._info(mask)

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Append a symbol to every formula. A finished formula is `terminated`; none is ever truncated."""
        actions = self._check_actions(actions)
        was_finished = self._finished.copy()
        active = np.flatnonzero(~was_finished)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and was_finished.any():
            self._begin(was_finished)
        rewards = self._append(active, actions[active])
        ended = self._finished & ~was_finished
        terminated = self._finished.copy()
        info: dict[str, Any] = {}
        if ended.any():
            self._observe(self._tokens[ended])
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                info = self._final_info(ended)
                self._begin(ended)
        self._show_to_people()
        everywhere = np.ones(self.num_envs, dtype=bool)
        return (
            self._observation(),
            rewards,
            terminated,
            np.zeros(self.num_envs, dtype=bool),
            info | self._info(everywhere),
        )

    # --- formulae as text -------------------------------------------------------------------------------------

    @property
    def formulae(self) -> list[str]:
        """What stands in each environment: the formula that is being written, or has just been finished."""
        return self.task.decode(self._tokens)

    def decode(self, observations: Observation) -> list[str]:
        """The text of the prefixes that observations `(n, …)` show, such as those in `final_obs`."""
        observations = np.stack(list(observations))
        if not self._observe_tokens:
            rows = observations.reshape(len(observations), self.task.max_length, -1)
            observations = np.where(rows.any(axis=2), rows.argmax(axis=2), self.task.vocabulary.pad)
        return self.task.decode(observations.astype(np.int64))

    # --- rendering --------------------------------------------------------------------------------------------

    def render(self) -> tuple[Any, ...] | None:
        """One frame for each formula: a string ("ansi"), or an image ("rgb_array"). "human" prints every step."""
        formulae = zip(self._tokens, self._lengths, self._rewards, self._finished, strict=True)
        if self.render_mode == "rgb_array":
            return tuple(draw_formula(self.task, *formula) for formula in formulae)
        if self.render_mode == "ansi":
            return tuple(print_formula(self.task, *formula) for formula in formulae)
        return None  # people were shown every step already

    def _show_to_people(self) -> None:
        if self.render_mode == "human":
            for formula in zip(self._tokens, self._lengths, self._rewards, self._finished, strict=True):
                print(print_formula(self.task, *formula))

    def action_masks(self) -> NDArray[np.bool_]:
        """`(num_envs, V)`: the symbols that keep each formula well-formed, in the form sb3-contrib asks for."""
        return self.task.legal_symbols(self._tokens[:, : self._lengths.max()])

    # --- Q ----------------------------------------------------------------------------------------------------

    def q_values(self, tokens: Tokens) -> NDArray[np.float64]:
        """Q `(num_envs, T)` of every non-empty prefix of formulae `(num_envs, T)`, all positions at once.

        With the running episodes' tokens these are the very numbers that `reward_mode="q"` hands out step by
        step (same random numbers). Behind the end of a shorter formula its own score is repeated.
        """
        if self.num_rollouts == 0 and self.q_estimator == "monte-carlo":
            raise FormulaError("Q of prefixes needs num_rollouts of at least 1")
        keys = self._keys(np.arange(self.num_envs))
        return self._prefix_q(tokens, np.ones(self.num_envs, dtype=np.int64), keys)[:, 1:]

    def rewards_of(
        self, prefixes: Tokens, finished: NDArray[np.bool_], generator: torch.Generator
    ) -> NDArray[np.float64]:
        """What the last step to each of these prefixes `(m, T)` would earn now, `(m,)`: by the reward model and
        the rollout policy of this moment, with random numbers of their own. `finished` are complete formulae."""
        lengths, row = (prefixes != self.task.vocabulary.pad).sum(axis=1), np.arange(len(prefixes))
        q, previous_q = np.zeros(len(prefixes)), np.zeros(len(prefixes))
        if self.reward_mode == "terminal":
            q[finished] = self._score(prefixes[finished])
        else:
            keys = draw_keys(len(prefixes), generator).to(self.device)
            of_prefixes = self._prefix_q(prefixes, lengths - 1, keys)
            q, previous_q = of_prefixes[row, lengths], of_prefixes[row, lengths - 1]
        return step_rewards(self.reward_mode, q, previous_q, finished)

    def play(self, policy: Policy) -> tuple[Tokens, NDArray[np.float64]]:
        """A whole new episode in every environment, acted by a policy: formulae and their Q, `(num_envs, T)` each.

        The same as to reset, to step with these actions, and to ask for `q_values`, but much faster: a policy
        that is the rollout policy, too, writes and completes in one pass. Only that a reward model which learns
        from finished formulae sees them all at the end. Without rollouts a formula is the only completion of its
        own prefixes: each has its score as Q.
        """
        if not self._is_seeded:
            raise gym.error.ResetNeeded("call reset() before play()")
        self._begin(np.ones(self.num_envs, dtype=bool))
        envs, first = np.arange(self.num_envs), np.ones(self.num_envs, dtype=np.int64)
        keys = self._keys(envs)
        vocabulary, length = self.task.vocabulary, self.task.max_length
        with default_modes():
            if self.num_rollouts == 0 and self.q_estimator == "monte-carlo":
                tokens = write(policy, vocabulary, length, keys).cpu().numpy()
                q = np.repeat(self._score(tokens)[:, None], length + 1, axis=1)
            elif policy is self.rollout_policy and self.q_estimator == "monte-carlo":
                first_ = torch.from_numpy(first).to(self.device)
                played = play(policy, self._checked_score, vocabulary, length, first_, keys, self.num_rollouts)
                tokens, q = (part.cpu().numpy() for part in played)
            else:
                tokens = write(policy, vocabulary, length, keys).cpu().numpy()
                q = self._prefix_q(tokens, first, keys)
        self._end(tokens, q)
        return tokens, q[:, 1:]

    def _score(self, tokens: Tokens) -> NDArray[np.float64]:
        """The reward model's verdict `(m,)` on finished formulae `(m, T)`."""
        if not len(tokens):
            return np.zeros(0)
        with default_modes():
            return self._checked_score(torch.from_numpy(tokens).to(self.device)).double().cpu().numpy()

    def _checked_score(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return checked_scores(self.reward_model, tokens, self.task)

    def _observe(self, tokens: Tokens) -> None:
        """Show the reward model formulae `(m, T)` that have been finished."""
        with default_modes():
            self.reward_model.observe(tokens)

    def _estimate_q(
        self, tokens: Tokens, lengths: NDArray[np.int64], envs: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Q `(m,)` of prefixes `(m, T)` of these lengths."""
        return self._prefix_q(tokens, lengths, self._keys(envs))[np.arange(len(tokens)), lengths]

    def _prefix_q(self, tokens: Tokens, first: NDArray[np.int64], keys: Tensor) -> NDArray[np.float64]:
        """Q `(m, T+1)` as in `monte_carlo_q`, with the random numbers of these keys `(m,)`."""
        if not len(tokens):
            return np.zeros((0, tokens.shape[1] + 1))
        formulae, first_ = (torch.from_numpy(array).to(self.device) for array in (tokens, first))
        arguments = (self.rollout_policy, self._checked_score, self.task.vocabulary, formulae, first_)
        with default_modes():
            if self.q_estimator == "exact":
                return exact_q(*arguments).cpu().numpy()
            return monte_carlo_q(*arguments, keys, self.num_rollouts).cpu().numpy()

    def _keys(self, envs: NDArray[np.int64]) -> Tensor:
        """Seeds `(m,)` of the random numbers of these environments' running episodes."""
        keys = derive_keys(torch.from_numpy(self._seed_keys[envs]), torch.from_numpy(self._episodes[envs]))
        return keys.to(self.device)

    # --- one step ---------------------------------------------------------------------------------------------

    def _append(self, envs: NDArray[np.int64], actions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Write the symbols, and the rewards `(num_envs,)` for it: 0 where nothing was written."""
        finished = transition(self.task.vocabulary, self._tokens, self._lengths, envs, actions)
        self._finished[envs] = finished
        q = np.zeros(len(envs))
        if finished.any():
            formulae = self._tokens[envs[finished]]
            q[finished] = self._score(formulae)
            self._is_correct[envs[finished]] = self.task.is_correct(formulae)
        if self.reward_mode != "terminal":
            going_on = envs[~finished]
            q[~finished] = self._estimate_q(self._tokens[going_on], self._lengths[going_on], going_on)
        earned = step_rewards(self.reward_mode, q, self._q[envs], finished)
        self._q[envs] = q
        self._rewards[envs, self._lengths[envs] - 1] = earned
        rewards = np.zeros(self.num_envs)
        rewards[envs] = earned
        return rewards

    def _begin(self, mask: NDArray[np.bool_], prefixes: Tokens | None = None) -> None:
        """New formulae in the environments marked: empty, or beginning with these prefixes `(num_envs, T)`."""
        if prefixes is None:
            self._tokens[mask] = self.task.vocabulary.pad
            self._lengths[mask] = 0
        else:
            self._tokens[mask] = prefixes[mask]
            self._lengths[mask] = (prefixes[mask] != self.task.vocabulary.pad).sum(axis=1)
        self._finished[mask] = False
        self._is_correct[mask] = 0
        self._rewards[mask] = 0.0
        self._episodes[mask] += 1
        if self.reward_mode == "difference":
            envs = np.flatnonzero(mask)
            self._q[envs] = self._estimate_q(self._tokens[envs], self._lengths[envs], envs)

    def _end(self, tokens: Tokens, q: NDArray[np.float64]) -> None:
        """Every environment has written its formula `(num_envs, T)`; q `(num_envs, T+1)` of the prefixes."""
        self._tokens, self._lengths = tokens.copy(), (tokens != self.task.vocabulary.pad).sum(axis=1)
        self._finished[:] = True
        position = np.arange(1, tokens.shape[1] + 1)
        previous = np.column_stack([self._q, q[:, 1:-1]])
        rewards = step_rewards(self.reward_mode, q[:, 1:], previous, position == self._lengths[:, None])
        self._rewards = np.where(position <= self._lengths[:, None], rewards, 0.0)
        self._q = q[:, -1].copy()
        self._is_correct[:] = self.task.is_correct(tokens)
        self._observe(tokens)
        self._show_to_people()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._begin(self._finished.copy())

    def _seed(self, seed: int | Sequence[int | None] | None, mask: NDArray[np.bool_]) -> None:
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if not self._is_seeded:
            self._seed_keys = np.array([_seed_key(None) for _ in range(self.num_envs)])
            self._is_seeded = True
        if seeds is None:
            return
        if len(seeds) != self.num_envs:
            raise FormulaError(f"{len(seeds)} seeds for {self.num_envs} environments; give one for each")
        for i, single in enumerate(seeds):
            if single is not None and mask[i]:
                self._seed_keys[i], self._episodes[i] = _seed_key(single), 0

    def _observation(self) -> Observation:
        if self._observe_tokens:
            return self._tokens.copy()
        return self._one_hot_rows.take(self._tokens, axis=0).reshape(self.num_envs, -1)  # 40 times faster than [ ]

    # --- infos, in the layout of gymnasium.vector.VectorEnv._add_info -----------------------------------------

    def _info(self, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """What is known of the environments marked; zeros for the others."""
        masks = self.action_masks().astype(np.int8)
        masks[~mask] = 0
        is_correct = np.where(mask, self._is_correct, np.int8(0))
        return {
            "action_mask": masks,
            "_action_mask": mask.copy(),
            "is_correct": is_correct,
            "_is_correct": mask.copy(),
        }

    def _final_info(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, dtype=object)
        observations = self._observation()
        for i in np.flatnonzero(ended):
            final_obs[i] = observations[i]
        return {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": self._info(ended),
            "_final_info": ended.copy(),
        }

    # --- saved with an algorithm that trains in here ----------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The running episodes, with their random numbers, by environment `(num_envs, …)`; the reward model's."""
        if not self._is_seeded:
            raise gym.error.ResetNeeded("call reset() before state_dict()")
        episodes = {name: torch.from_numpy(getattr(self, name).copy()) for name in _STATE_ARRAYS}
        return {"episodes": episodes, "reward_model": self.reward_model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where that state was taken, bit for bit; the options must be the same."""
        arrays = {name: state["episodes"][name].numpy().copy() for name in _STATE_ARRAYS}
        n, length = arrays["_tokens"].shape
        if (n, length) != self._tokens.shape:
            ours = f"{self.num_envs} of length {self.task.max_length}"
            raise FormulaError(f"the state is of {n} formulae of length {length}, not of {ours}")
        with default_modes():
            self.reward_model.load_state_dict(state["reward_model"])
        vars(self).update(arrays)
        self._is_correct[:] = self._finished & self.task.is_correct(self._tokens)
        self._is_seeded = True

    # --- checks -----------------------------------------------------------------------------------------------

    def _reset_options(self, options: dict[str, Any] | None) -> tuple[NDArray[np.bool_], Tokens | None]:
        """Which environments begin anew, and what with."""
        options = options or {}
        for name in options:
            check_choice(("reset_mask", "prefix"), **{"option of reset": name})
        return self._reset_mask(options), self._prefixes(options)

    def _prefixes(self, options: dict[str, Any]) -> Tokens | None:
        texts = options.get("prefix")
        if texts is None:
            return None
        if not isinstance(texts, str) and not (
            isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts)
        ):
            raise FormulaError(f"prefix must be text, or one text for each environment, got {texts!r}")
        if isinstance(texts, str):
            return np.tile(encode_prefix(self.task, texts), (self.num_envs, 1))
        if len(texts) != self.num_envs:
            raise FormulaError(
                f"{len(texts)} prefixes for {self.num_envs} environments; give one, or one for each"
            )
        return np.stack([encode_prefix(self.task, text) for text in texts])

    def _reset_mask(self, options: dict[str, Any]) -> NDArray[np.bool_]:
        if "reset_mask" not in options:
            return np.ones(self.num_envs, dtype=bool)
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise FormulaError(f'options["reset_mask"] must be a bool array of shape ({self.num_envs},)')
        if not mask.any():
            raise FormulaError('options["reset_mask"] must mark at least one environment')
        return mask.copy()

    def _check_actions(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        if not self._is_seeded:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise FormulaError(
                f"actions must be {self.num_envs} integers, got shape {actions.shape} of {actions.dtype}"
            )
        vocab_size = self.task.vocabulary.size
        if actions.min() < 0 or actions.max() >= vocab_size:
            wrong = actions[(actions < 0) | (actions >= vocab_size)][0]
            raise FormulaError(f"actions must be from 0 to {vocab_size - 1}, got {wrong}")
        return actions


_OWN_OPTIONS = [name for name in signature(FormulaVectorEnv).parameters if name != "task_options"]
_STATE_ARRAYS = ("_tokens", "_lengths", "_finished", "_q", "_rewards", "_episodes", "_seed_keys")


def _seed_key(seed: int | None) -> int:
    """Where an environment's rollouts get their random numbers from: one draw from Gymnasium's generator."""
    return int(seeding.np_random(seed)[0].integers(2**63))
