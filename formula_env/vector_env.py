"""Formula generation as a batch of Gymnasium environments: spaces, step and infos."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from formula_env.credit import Credit
from formula_env.env_options import (
    QEstimator,
    RewardOptions,
    check_formulae,
    checked_actions,
    find_autoreset_mode,
    find_estimator,
    find_prefixes,
    find_reset_mask,
    find_reset_options,
    find_seeds,
    find_task,
    make_reward_model,
)
from formula_env.episodes import Episodes
from formula_env.errors import FormulaError, check_choice, check_keys, whole_number
from formula_env.modes import find_device
from formula_env.networks.policy import Policy
from formula_env.observations import VIEWS, Observation, ObservationName
from formula_env.render import draw_formula, print_formula
from formula_env.rewards import RewardMode, RewardModel, RewardModelName
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Tokens


class FormulaVectorEnv(gym.vector.VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """`num_envs` formulae written side by side: an action is the next symbol, an episode one formula.

    Args:
        task: a name from `formula_env.tasks`, or a `SequenceTask` of your own.
        num_envs: formulae at a time.
        observation: "one-hot", the prefix as a flat float32 `(T·V,)` one-hot; or "tokens", `(T,)` ids with PAD.
        reward_model: "exact" (checker), "soft" (checker and variety), "discriminator" (trains itself), "constant"
            (control), or a `RewardModel`.
        reward_options: by name. Of "discriminator" and "soft" (see `formula_env.self_training`):
            "update_every": finished formulae from one update to the next, by default 64.
            "seed": of its weights and of the formulae it is shown as real, by default 0.
            "shared": whether it is one and the same in all environments of this process that are made with equal
            options before the first of them has finished a formula. By default single environments share theirs,
            for a vectoriser makes many of them to train one agent.
            "architecture", of "discriminator": "mlp" (default), "cnn", "recurrent" or "autoregressive".
            "real", of "discriminator": those formulae, as text; by default fresh correct ones.
            "beta", of "soft": penalty of an incorrect formula, nats; by default from the number of correct ones.
            "bucket_size", with any reward model: the size of the buckets of a `formula_env.DiversityFilter` around
            it, whose other options are "threshold" and "score_when_full".
        reward_mode: "terminal", "difference" or "q", see `formula_env.rewards.RewardMode`; by default "terminal",
            or "difference" where `num_rollouts` or `q_estimator` is given.
        num_rollouts: Monte-Carlo completions behind each Q, at most 10,000; by default 16 where rewards need Q or
            `q_estimator` is given, else 0. Terminal rewards need no Q, but `play` and `q_values` give it then.
        q_estimator: "monte-carlo" (default), or "exact" for backward recursion where the prefix tree is small. Its
            size depends on the rollout policy, so a large one is refused only when Q is asked for, as by `reset`.
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
        task: str | SequenceTask = "binary-sum",
        num_envs: int = 1,
        *,
        observation: ObservationName = "one-hot",
        reward_model: RewardModelName | RewardModel = "exact",
        reward_options: RewardOptions | None = None,
        reward_mode: RewardMode | None = None,
        num_rollouts: int | None = None,
        q_estimator: QEstimator | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        device: str | torch.device = "cpu",
        **task_options: Any,
    ) -> None:
        check_choice(list(VIEWS), observation=observation)
        check_choice((None, *self.metadata["render_modes"]), render_mode=render_mode)
        self.task = find_task(task, task_options, _OWN_OPTIONS)
        self.num_envs = whole_number(1, num_envs=num_envs)
        mode, estimator = find_estimator(reward_mode, q_estimator, num_rollouts)
        self.autoreset_mode = find_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        on = find_device(device)
        self.credit = Credit(
            self.task, make_reward_model(reward_model, reward_options, self.task, on), mode, estimator, on
        )
        self.episodes = Episodes(self.task, self.num_envs)
        self.view = VIEWS[observation](self.task)
        self.single_observation_space: gym.Space[Any] = self.view.space
        self.single_action_space = gym.spaces.Discrete(self.task.vocabulary.size)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    # --- rewards ----------------------------------------------------------------------------------------------

    @property
    def reward_model(self) -> RewardModel:
        """The reward model that scores finished formulae."""
        return self.credit.reward_model

    @property
    def reward_mode(self) -> RewardMode:
        """How Q becomes rewards."""
        return self.credit.mode

    def set_reward_model(self, reward_model: RewardModel) -> None:
        """Score by this model from now on. Rewards of the running episodes stay consistent: Q is cached.

        Raises FormulaError for what is no `RewardModel`.
        """
        self.credit.set_reward_model(reward_model)

    def set_rollout_policy(self, policy: Policy) -> None:
        """Complete prefixes by this policy from now on: usually the agent itself (thesis' G_β).

        Raises FormulaError for what is no `Policy`, or none of this task's symbols.
        """
        self.credit.set_rollout_policy(policy)

    def q_values(self, tokens: Tokens) -> NDArray[np.float64]:
        """Q `(num_envs, T)` of every non-empty prefix of formulae `(num_envs, T)`, all positions at once.

        With the running episodes' tokens these are the very numbers that `reward_mode="q"` hands out step by
        step (same random numbers). Behind the end of a shorter formula its own score is repeated.

        Raises FormulaError for tokens of another shape or type.
        """
        self._check_seeded("q_values()")
        check_formulae(tokens, self.num_envs, self.task)
        return self.credit.q_values(self.episodes, tokens)

    def rewards_of(
        self, prefixes: Tokens, finished: NDArray[np.bool_], generator: torch.Generator
    ) -> NDArray[np.float64]:
        """What the last step to each of these prefixes `(m, T)` would earn now, `(m,)`: by the reward model and
        the rollout policy of this moment, with random numbers of their own. `finished` are complete formulae."""
        return self.credit.rewards_of(prefixes, finished, generator)

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

        Raises FormulaError for anything else, for unknown options, and for a prefix that no formula has.
        """
        options = find_reset_options(options)
        seeds = find_seeds(seed, self.num_envs)
        mask = find_reset_mask(options, self.num_envs)
        prefixes = find_prefixes(options, self.task, self.num_envs)
        super().reset(seed=seeds[0] if seeds and isinstance(seed, int | np.integer) else None)
        self.episodes.seed(seeds, mask)
        self._begin(mask, prefixes)
        self._show_to_people()
        return self.view.show(self.episodes.tokens), self._info(mask)

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Append a symbol to every formula. A finished formula is `terminated`; none is ever truncated."""
        self._check_seeded("step()")
        actions = checked_actions(actions, self.num_envs, self.task.vocabulary.size)
        episodes = self.episodes
        was_finished = episodes.finished.copy()
        active = np.flatnonzero(~was_finished)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and was_finished.any():
            self._begin(was_finished)
        rewards = np.zeros(self.num_envs)
        finished = episodes.append(active, actions[active])
        rewards[active] = self.credit.pay(episodes, active, finished)
        ended, terminated = episodes.finished & ~was_finished, episodes.finished.copy()
        info: dict[str, Any] = {}
        if ended.any():
            self.credit.observe(episodes.tokens[ended])
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                info = self._final_info(ended)
                self._begin(ended)
        self._show_to_people()
        everywhere, nowhere = np.ones(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        return (self.view.show(episodes.tokens), rewards, terminated, nowhere, info | self._info(everywhere))

    def play(self, policy: Policy) -> tuple[Tokens, NDArray[np.float64]]:
        """A whole new episode in every environment, acted by a policy: formulae and their Q, `(num_envs, T)` each.

        The same as to reset, to step with these actions, and to ask for `q_values`, but much faster: a policy
        that is the rollout policy, too, writes and completes in one pass. Only that a reward model which learns
        from finished formulae sees them all at the end. Without rollouts a formula is the only completion of its
        own prefixes: each has its score as Q.
        """
        self._check_seeded("play()")
        self._begin(np.ones(self.num_envs, dtype=bool))
        tokens, q = self.credit.play(self.episodes, policy)
        self.credit.observe(tokens)
        self._show_to_people()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._begin(np.ones(self.num_envs, dtype=bool))
        return tokens, q[:, 1:]

    def _begin(self, mask: NDArray[np.bool_], prefixes: Tokens | None = None) -> None:
        self.episodes.begin(mask, prefixes)
        self.credit.begin(self.episodes, mask)

    def _check_seeded(self, call: str) -> None:
        if not self.episodes.is_seeded:
            raise gym.error.ResetNeeded(f"call reset() before {call}")

    # --- formulae as text, and for people ---------------------------------------------------------------------

    @property
    def formulae(self) -> list[str]:
        """The formula of each environment as text: the one that is being written, or has just been finished."""
        return self.task.decode(self.episodes.tokens)

    def decode(self, observations: Observation) -> list[str]:
        """The text of the prefixes that observations `(n, …)` show, such as those in `final_obs`."""
        return self.task.decode(self.view.read(np.stack(list(observations))))

    def render(self) -> tuple[Any, ...] | None:
        """One frame for each formula: a string ("ansi"), or an image ("rgb_array"). "human" prints every step."""
        if self.render_mode == "rgb_array":
            return tuple(draw_formula(self.task, *formula) for formula in self.episodes)
        if self.render_mode == "ansi":
            return tuple(print_formula(self.task, *formula) for formula in self.episodes)
        return None  # people were shown every step already

    def _show_to_people(self) -> None:
        if self.render_mode == "human":
            for formula in self.episodes:
                print(print_formula(self.task, *formula))

    # --- infos, in the layout of gymnasium.vector.VectorEnv._add_info -----------------------------------------

    def action_masks(self) -> NDArray[np.bool_]:
        """`(num_envs, V)`: the symbols that keep each formula well-formed, in the form sb3-contrib asks for."""
        return self.task.legal_symbols(self.episodes.tokens[:, : self.episodes.lengths.max()])

    def _info(self, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """Infos of the environments marked; zeros for the others."""
        masks = self.action_masks().astype(np.int8)
        masks[~mask] = 0
        is_correct = np.where(mask, self.episodes.is_correct, np.int8(0))
        return {
            "action_mask": masks,
            "_action_mask": mask.copy(),
            "is_correct": is_correct,
            "_is_correct": mask.copy(),
        }

    def _final_info(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, dtype=object)
        observations = self.view.show(self.episodes.tokens)
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
        self._check_seeded("state_dict()")
        return {"episodes": self.episodes.state_dict(), "reward_model": self.reward_model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned, bit for bit; the options must be the same.

        Raises FormulaError for what `state_dict` of such an environment does not give. Running episodes stay then.
        """
        _check_state(state)
        episodes = Episodes(self.task, self.num_envs)
        episodes.load_state_dict(state["episodes"])
        self.credit.load(state["reward_model"])
        self.episodes = episodes


def _check_state(state: Any) -> None:
    try:
        check_keys("it", state, ("episodes", "reward_model"))
    except FormulaError as error:
        raise FormulaError(
            f"the state is not one of this environment: {error}; states of version 0.1 can't be loaded"
        ) from None


_OWN_OPTIONS = [name for name in signature(FormulaVectorEnv).parameters if name != "task_options"]
