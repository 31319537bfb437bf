import re
import warnings
from copy import deepcopy
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import formula_env
from formula_env import FormulaEnv, FormulaVectorEnv
from formula_env.adversarial import discriminator_step
from formula_env.episodes import transition
from formula_env.errors import FormulaError, UnexpectedArgument
from formula_env.optimizers import adam
from formula_env.rewards import ConstantReward, DiscriminatorReward
from formula_env.self_training import SelfTrainingDiscriminator
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from formula_env.vocabulary import Vocabulary
from tests.even_ones import EvenOnes
from tests.helpers import (
    BINARY_SUM,
    ENV_IDS,
    REWARD_MODELS,
    SIGNED_EQUATION,
    assert_equal_states,
    assert_same,
    name_of,
    opinionated_pair,
    saved_and_loaded,
    small_tasks,
)
from tests.oracles import all_sequences

MODES: list[Any] = ["difference", "terminal", "q"]
NO_Q = {"reward_mode": "terminal", "num_rollouts": 0}
LEARNING = {"reward_model": "discriminator"}
ALL_BYTES = all_sequences(make_task("binary-sum", length=8)).numpy()


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("reward_model", REWARD_MODELS)
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
def test_check_env_passes_without_a_warning(env_id: str, reward_model: str, observation: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(env_id, reward_model=reward_model, observation=observation)
        check_env(env.unwrapped)
    assert env.spec is not None
    assert EnvSpec.from_json(env.spec.to_json()).id == env.spec.id


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_make_vec_gives_the_native_vector_env(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=3)
    assert isinstance(env.unwrapped, FormulaVectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    gym.wrappers.vector.RecordEpisodeStatistics(env).reset(seed=0)


def test_the_transition_by_hand() -> None:
    vocabulary = Vocabulary(("0", "1"), variable_length=True)
    tokens = np.array([[3, 3, 3], [0, 3, 3], [1, 3, 3], [1, 0, 3]])
    lengths = np.array([0, 1, 1, 2])
    finished = transition(vocabulary, tokens, lengths, np.array([0, 2, 3]), np.array([1, 2, 0]))
    assert tokens.tolist() == [[1, 3, 3], [0, 3, 3], [1, 2, 3], [1, 0, 0]], "the second is left alone"
    assert lengths.tolist() == [1, 1, 2, 3]
    assert finished.tolist() == [False, True, True]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("reward_mode", MODES)
@pytest.mark.parametrize("reward_model", ["exact", "injected", "constant"])
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_the_vector_env_is_its_single_envs(
    task: SequenceTask, reward_model: str, reward_mode: str, mode: AutoresetMode
) -> None:
    """Every field of every step, Monte-Carlo rewards included."""
    generator, reward = opinionated_pair(task)
    options: dict[str, Any] = {"reward_mode": reward_mode}
    if reward_mode != "terminal":
        options["num_rollouts"] = 3
    if reward_model != "injected":
        options["reward_model"] = reward_model
    native = FormulaVectorEnv(task, num_envs=3, autoreset_mode=mode, **options)
    singles = SyncVectorEnv([lambda: FormulaEnv(task, **options) for _ in range(3)], autoreset_mode=mode)
    for env in (native, *singles.envs):
        assert isinstance(env, FormulaEnv | FormulaVectorEnv)
        if reward_model == "injected":
            env.set_reward_model(reward)
            env.set_rollout_policy(generator)
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    rng = np.random.default_rng(0)
    assert_same(native.reset(seed=5), singles.reset(seed=5))
    for _ in range(4 * task.max_length):
        actions = rng.integers(task.vocabulary.size, size=3)
        ours, theirs = native.step(actions), singles.step(actions)
        assert_same(ours, theirs)
        done = ours[2]
        if mode == AutoresetMode.DISABLED and done.any():
            assert_same(native.reset(options={"reset_mask": done}), singles.reset(options={"reset_mask": done}))


def finish(env: VectorEnv, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Episodes of random symbols until all are finished: tokens and rewards `(B, T)`."""
    assert isinstance(env, FormulaVectorEnv)
    rewards = []
    finished = np.zeros(env.num_envs, dtype=bool)
    tokens = np.empty(0)
    while not finished.all():
        actions = rng.integers(env.task.vocabulary.size, size=env.num_envs)
        tokens, reward, finished, _, _ = env.step(actions)
        rewards.append(reward)
    return tokens, np.stack(rewards, axis=1)


@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
@pytest.mark.parametrize("q_estimator", ["monte-carlo", "exact"])
def test_difference_rewards_add_up_although_the_discriminator_moves(task: SequenceTask, q_estimator: Any) -> None:
    """Σ_t r_t = D(Y) - Q_0 with D as it was when each of the two was asked, updated between any two steps."""
    generator, reward = opinionated_pair(task)
    optimizer = adam(reward.discriminator.parameters(), 1e-2)
    env = FormulaVectorEnv(
        task, num_envs=6, reward_mode="difference", q_estimator=q_estimator,
        autoreset_mode="Disabled", observation="tokens",
    )  # fmt: skip
    env.set_reward_model(reward)
    env.set_rollout_policy(generator)
    env.reset(seed=0)
    q_0 = env.episodes.q.copy()
    rng = np.random.default_rng(1)
    total, finished, final = np.zeros(6), np.zeros(6, dtype=bool), np.zeros(6)
    while not finished.all():
        before = finished
        tokens, rewards, finished, _, _ = env.step(rng.integers(task.vocabulary.size, size=6))
        total += rewards
        now = finished & ~before
        assert isinstance(tokens, np.ndarray)
        formulae = torch.from_numpy(tokens)
        final[now] = reward.score(formulae[torch.from_numpy(now)]).numpy()
        assert (rewards[before] == 0).all(), "a finished formula earns nothing more"
        real = torch.from_numpy(task.sample(16, rng))
        discriminator_step(reward.discriminator, optimizer, real, formulae)
    np.testing.assert_allclose(total, final - q_0, atol=1e-8)


@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
@pytest.mark.parametrize("q_estimator", ["monte-carlo", "exact"])
def test_q_values_are_what_reward_mode_q_hands_out(task: SequenceTask, q_estimator: Any) -> None:
    generator, reward = opinionated_pair(task)
    env = FormulaVectorEnv(
        task, num_envs=7, reward_mode="q", q_estimator=q_estimator, autoreset_mode="Disabled",
        observation="tokens",
    )  # fmt: skip
    env.set_reward_model(reward)
    env.set_rollout_policy(generator)
    for seed in range(3):
        env.reset(seed=seed)
        tokens, rewards = finish(env, np.random.default_rng(seed))
        q = env.q_values(tokens)
        written = (tokens != task.vocabulary.pad)[:, : rewards.shape[1]]
        np.testing.assert_allclose(q[:, : rewards.shape[1]][written], rewards[written], atol=2e-6)
        np.testing.assert_allclose(q[:, -1], reward.score(torch.from_numpy(tokens)), atol=2e-6)


@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
@pytest.mark.parametrize("q_estimator", ["monte-carlo", "exact"])
@pytest.mark.parametrize("reward_mode", MODES)
@pytest.mark.parametrize("acts", ["the rollout policy", "another policy"])
def test_to_play_is_to_step(task: SequenceTask, q_estimator: Any, reward_mode: Any, acts: str) -> None:
    """An environment that plays two episodes, against one that takes the same actions step by step."""
    generator, reward = opinionated_pair(task)
    options: Any = {"reward_mode": reward_mode, "q_estimator": q_estimator, "observation": "tokens"}
    plays, steps = (FormulaVectorEnv(task, num_envs=5, autoreset_mode="Disabled", **options) for _ in range(2))
    policy = generator if acts == "the rollout policy" else deepcopy(generator)
    for env in (plays, steps):
        env.set_reward_model(reward)
        env.set_rollout_policy(generator)
        env.reset(seed=3)
    for _ in range(2):
        tokens, q = plays.play(policy)
        steps.reset()
        rewards = np.zeros(tokens.shape)
        for t, actions in enumerate(tokens.T):
            rewards[:, t] = steps.step(np.minimum(actions, task.vocabulary.size - 1))[1]
            if steps.episodes.finished.all():
                break
        np.testing.assert_allclose(q, steps.q_values(tokens), atol=1e-6)
        np.testing.assert_allclose(plays.episodes.rewards, rewards, atol=1e-6)
        for name in ("tokens", "lengths", "finished", "counts"):
            np.testing.assert_array_equal(getattr(plays.episodes, name), getattr(steps.episodes, name))
        np.testing.assert_allclose(plays.episodes.q, steps.episodes.q, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_played_formulae_follow_the_policy_and_are_observed(task: SequenceTask) -> None:
    generator, _ = opinionated_pair(task)
    n = 20_000
    env = FormulaVectorEnv(task, num_envs=n, num_rollouts=1, reward_mode="terminal")
    env.set_rollout_policy(generator)
    seen: list[np.ndarray] = []
    env.reward_model.observe = seen.append  # type: ignore[method-assign]
    with pytest.raises(gym.error.ResetNeeded):
        env.play(generator)
    env.reset(seed=0)
    tokens, _ = env.play(generator)
    assert np.array_equal(seen[0], tokens)
    sequences = all_sequences(task)
    with torch.no_grad():
        expected = n * generator.log_prob(sequences).double().exp().numpy()
    place = {tuple(row): i for i, row in enumerate(sequences.tolist())}
    counts = np.bincount([place[tuple(row)] for row in tokens.tolist()], minlength=len(sequences))
    frequent = expected > 5
    chi_square = ((counts - expected) ** 2 / expected)[frequent].sum()
    assert abs(chi_square - frequent.sum()) < 5 * np.sqrt(2 * frequent.sum())


@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_without_rollouts_a_prefix_has_its_formulas_score(task: SequenceTask) -> None:
    """And the formulae are the ones that are played with rollouts."""
    generator, reward = opinionated_pair(task)
    rows = {}
    for num_rollouts in (0, 4):
        env = FormulaVectorEnv(task, num_envs=9, reward_mode="terminal", num_rollouts=num_rollouts)
        env.set_reward_model(reward)
        env.set_rollout_policy(generator)
        env.reset(seed=5)
        rows[num_rollouts] = [env.play(generator) for _ in range(2)]
        if num_rollouts == 0:
            with pytest.raises(FormulaError, match="Q of prefixes needs num_rollouts of at least 1"):
                env.q_values(rows[0][0][0])
    for (tokens, q), (same, estimated) in zip(rows[0], rows[4], strict=True):
        np.testing.assert_array_equal(tokens, same)
        scores = reward.score(torch.from_numpy(tokens)).double().numpy()
        np.testing.assert_allclose(q, np.repeat(scores[:, None], task.max_length, axis=1), atol=1e-6)
        np.testing.assert_allclose(estimated[:, -1], scores, atol=1e-6)
        assert not np.allclose(estimated, q)


def test_without_rollouts_steps_earn_the_verdict_at_the_end() -> None:
    task = make_task("binary-sum", length=4)
    env = FormulaVectorEnv(task, num_envs=6, reward_mode="terminal", num_rollouts=0, autoreset_mode="Disabled")
    env.reset(seed=0)
    formulae = task.enumerate()
    rewards = np.stack([env.step(actions)[1] for actions in formulae.T], axis=1)
    assert rewards.tolist() == [[0, 0, 0, 1]] * 6


def test_the_three_reward_modes_tell_the_same_story() -> None:
    task = make_task("binary-sum", length=6)
    generator, reward = opinionated_pair(task)
    rewards = {}
    for mode in MODES:
        env = FormulaVectorEnv(task, num_envs=5, reward_mode=mode, autoreset_mode="Disabled")
        env.set_reward_model(reward)
        env.set_rollout_policy(generator)
        env.reset(seed=2)
        q_0 = env.episodes.q.copy()
        rewards[mode] = finish(env, np.random.default_rng(0))[1]
        if mode == "difference":
            rewards["q_0"] = q_0[:, None]
    q, difference, terminal = rewards["q"], rewards["difference"], rewards["terminal"]
    np.testing.assert_allclose(np.diff(np.hstack([rewards["q_0"], q])), difference)
    np.testing.assert_allclose(terminal[:, -1], q[:, -1])
    assert (terminal[:, :-1] == 0).all()


def test_seeds_decide_everything_and_episodes_differ() -> None:
    def rewards(seed: int) -> list[np.ndarray]:
        env = FormulaVectorEnv("binary-sum", num_envs=4, autoreset_mode="Disabled", num_rollouts=2)
        env.reset(seed=seed)
        episodes = []
        for _ in range(3):
            episodes.append(finish(env, np.random.default_rng(0))[1])
            env.reset()
        return episodes

    for one, two in zip(rewards(0), rewards(0), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(rewards(0)[0], rewards(1)[0])
    assert all(not np.array_equal(a, b) for a, b in pairwise(rewards(0)))


def test_observations_hold_the_prefix_and_are_not_shared() -> None:
    env = FormulaVectorEnv("signed-equation", num_envs=2, length=5)
    tokens = FormulaVectorEnv("signed-equation", num_envs=2, length=5, observation="tokens")
    first, _ = env.reset(seed=0)
    tokens.reset(seed=0)
    assert not first.any()
    second, *_ = env.step(np.array([1, 0]))
    ids, *_ = tokens.step(np.array([1, 0]))
    assert np.flatnonzero(second[0]).tolist() == [1]
    assert np.flatnonzero(second[1]).tolist() == [0]
    assert ids.tolist() == [[1, 5, 5, 5, 5], [0, 5, 5, 5, 5]]
    second[:] = 9
    assert env.step(np.array([2, 2]))[0].max() == 1
    assert not first.any()


def spoil(returned: object) -> None:
    """Overwrite every array in what an environment has returned."""
    if isinstance(returned, dict):
        returned = tuple(returned.values())
    if isinstance(returned, tuple):
        for value in returned:
            spoil(value)
    elif isinstance(returned, np.ndarray):
        for value in returned if returned.dtype == object else ():
            spoil(value)
        returned.fill(1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_returned_arrays_are_the_callers_to_overwrite(
    task: SequenceTask, observation: Any, mode: AutoresetMode
) -> None:
    spoilt, untouched = (
        FormulaVectorEnv(task, num_envs=4, observation=observation, autoreset_mode=mode) for _ in range(2)
    )
    assert_same(first := spoilt.reset(seed=0), untouched.reset(seed=0))
    spoil(first)
    rng = np.random.default_rng(0)
    for _ in range(2 * task.max_length + 2):
        actions = rng.integers(task.vocabulary.size, size=4)
        assert_same(returned := spoilt.step(actions), untouched.step(actions))
        spoil(returned)


def test_masks_follow_the_grammar_and_info_tells_the_verdict() -> None:
    env = gym.make(SIGNED_EQUATION, length=5)
    inner = env.unwrapped
    assert isinstance(inner, FormulaEnv)
    _, info = env.reset(seed=0)
    terminated = truncated = None
    for symbol in "1+0=1":
        action = inner.task.vocabulary.symbols.index(symbol)
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"][action] == 1
        assert np.array_equal(inner.action_masks(), info["action_mask"].astype(bool))
        _, _, terminated, truncated, info = env.step(np.int64(action))
    assert terminated is True
    assert truncated is False
    assert inner.formula == "1+0=1"
    assert info["is_correct"] == 1
    env.reset()
    for action in (0, 0, 0, 0, 0):  # illegal symbols may be chosen; the formula is then incorrect
        *_, info = env.step(np.int64(action))
    assert inner.formula == "00000"
    assert info["is_correct"] == 0


def test_an_early_end_is_terminated_too() -> None:
    env = FormulaEnv(EvenOnes(5), reward_mode="terminal")
    env.reset(seed=0)
    for action, end in ((1, False), (1, False), (2, True)):
        _, reward, terminated, _, _ = env.step(action)
        assert terminated is end
    assert reward == 1
    assert env.formula == "11"
    with pytest.raises(gym.error.ResetNeeded):
        FormulaEnv(EvenOnes(5)).step(0)


def test_the_self_training_discriminator_learns_from_finished_formulae() -> None:
    env = FormulaVectorEnv(
        "binary-sum", num_envs=8, reward_model="discriminator", reward_options={"update_every": 16}
    )
    model = env.reward_model
    assert isinstance(model, SelfTrainingDiscriminator)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(9 * 4 - 1):
        env.step(rng.integers(2, size=8))
    assert model.num_updates == 4 * 8 // 16
    correct = env.task.is_correct(ALL_BYTES)
    scores = model.score(torch.from_numpy(ALL_BYTES)).numpy()
    assert scores[correct].min() > scores[~correct].mean() + 1


def walk(env: FormulaEnv | FormulaVectorEnv, actions: np.ndarray) -> list[Any]:
    """What steps return, and new episodes where they are asked for."""
    returned: list[Any] = []
    for action in actions:
        if isinstance(env, FormulaVectorEnv):
            returned.append(env.step(action))
        else:
            returned.append(env.step(action[0]))
            if returned[-1][2]:
                returned.append(env.reset())
    return returned


@pytest.mark.slow
@pytest.mark.parametrize("through", [lambda state: state, saved_and_loaded], ids=["memory", "a file"])
@pytest.mark.parametrize("reward_model", REWARD_MODELS)
@pytest.mark.parametrize("kind", [FormulaEnv, FormulaVectorEnv])
def test_a_saved_environment_goes_on_alike(kind: Any, reward_model: str, through: Any) -> None:
    """The original goes on first, then two copies from one state: neither may have changed it."""

    def make() -> Any:
        return kind(length=4, reward_model=reward_model, num_rollouts=2, **learning, **sizes)

    learning = {"reward_options": {"update_every": 4}} if reward_model == "discriminator" else {}
    sizes = {"num_envs": 3} if kind is FormulaVectorEnv else {}
    actions = np.random.default_rng(0).integers(2, size=(80, 3))
    original = make()
    original.reset(seed=3)
    walk(original, actions[:42])
    state = through(original.state_dict())
    expected, end = walk(original, actions[42:]), saved_and_loaded(original.state_dict())
    for _ in range(2):
        copy = make()
        copy.load_state_dict(state)
        assert_same(tuple(walk(copy, actions[42:])), tuple(expected))
        assert_equal_states(copy.state_dict(), end)
    if reward_model == "discriminator":
        assert end["reward_model"]["num_updates"] > state["reward_model"]["num_updates"] > 0


def test_a_finished_formula_is_as_correct_in_a_loaded_environment() -> None:
    env, copy = (FormulaVectorEnv(length=4, num_envs=2, autoreset_mode="DISABLED") for _ in range(2))
    env.reset(seed=0)
    for actions in ([0, 0], [1, 1], [1, 1], [0, 1]):
        env.step(np.array(actions))
    copy.load_state_dict(env.state_dict())
    going_on = copy.step(np.array([0, 0]))
    assert going_on[-1]["is_correct"].tolist() == [1, 0]
    assert_same(going_on, env.step(np.array([0, 0])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 6}, "the state is not of 1 formulae of length 6: tokens must be"),
        ({"reward_options": {"architecture": "cnn"}}, 'the state holds no "cnn" discriminator'),
        ({"reward_model": "exact"}, "the state is of a reward model that learns"),
    ],
)
def test_a_state_of_another_environment_is_refused(options: dict[str, Any], message: str) -> None:
    settings = {"length": 4, "reward_model": "discriminator"}
    saved, other = FormulaEnv(**settings), FormulaEnv(**settings | options)
    saved.reset(seed=0)
    before = other.reset(seed=1)
    other_state = saved_and_loaded(other.state_dict())
    with pytest.raises(FormulaError, match=message):
        other.load_state_dict(saved.state_dict())
    assert_equal_states(other.state_dict()["episodes"], other_state["episodes"])
    assert_same(other.reset(seed=1), before)


@pytest.mark.parametrize("reward_model", ["exact", "discriminator"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: None,
            "not one of this environment: it must be a dictionary, got NoneType; states of version 0.1",
        ),
        (lambda state: {}, "it lacks 'episodes', 'reward_model'; states of version 0.1 can't be loaded"),
        (lambda state: {"episodes": state["episodes"]}, "it lacks 'reward_model'; states of version 0.1"),
        (lambda state: state["episodes"], "it lacks 'episodes', 'reward_model'; states of version 0.1"),
        (lambda state: state | {"episodes": None}, "the state of the episodes must be a dictionary, got NoneType"),
    ],
)
@pytest.mark.parametrize("kind", [FormulaEnv, FormulaVectorEnv])
def test_what_is_no_state_is_refused(kind: Any, change: Any, message: str, reward_model: str) -> None:
    env = kind(length=4, reward_model=reward_model)
    env.reset(seed=0)
    state = env.state_dict()
    with pytest.raises(FormulaError, match=message):
        env.load_state_dict(change(state))
    assert_equal_states(env.state_dict(), state)


def test_the_discriminator_can_be_shown_the_users_own_formulae() -> None:
    env = FormulaVectorEnv(
        length=4,
        num_envs=8,
        reward_model="discriminator",
        reward_options={"real": ["0110", "1001"]},
        num_rollouts=1,
    )
    env.reset(seed=0)
    walk(env, np.random.default_rng(0).integers(2, size=(50, 8)))
    correct = env.task.enumerate()
    scores = dict(zip(env.task.decode(correct), env.reward_model.score(torch.from_numpy(correct)), strict=True))
    shown = [scores.pop("0110"), scores.pop("1001")]
    assert min(shown) > max(scores.values()) + 1
    spec = gym.make(BINARY_SUM, reward_model="discriminator", reward_options={"real": ["01100110"]}).spec
    assert spec is not None
    gym.make(EnvSpec.from_json(spec.to_json()))


def test_making_an_environment_leaves_global_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    FormulaEnv(reward_model="discriminator").reset(seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_never_reaches_the_reward() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Flatten(0), torch.nn.Identity())
    network.train()
    reward = DiscriminatorReward(network)
    tokens = torch.ones(100, 1)
    assert reward.score(tokens).unique().numel() == 1
    assert network.training


def test_rendering(capsys: pytest.CaptureFixture[str]) -> None:
    env = FormulaEnv(render_mode="ansi")
    env.reset(seed=0)
    env.step(1)
    assert env.render().startswith("1_______  return ")
    for action in (0, 0, 0, 1, 0, 0, 0):
        env.step(action)
    assert env.render().endswith("correct")
    picture = FormulaEnv(render_mode="rgb_array")
    picture.reset(seed=0)
    blank = picture.render()
    picture.step(1)
    frame = picture.render()
    assert frame.dtype == np.uint8
    assert frame.shape == blank.shape
    assert frame.shape[2] == 3
    assert (frame != blank).any()
    assert capsys.readouterr().out == ""
    for shown in (FormulaEnv(render_mode="human"), FormulaVectorEnv(render_mode="human")):
        shown.reset(seed=0)
        assert capsys.readouterr().out == "________  return 0.000\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ternary"}, "unknown task 'ternary'"),
        ({"length": 7}, "even number"),
        ({"size": 7}, "unexpected keyword argument 'size'; there are: length, task, num_envs"),
        ({"num_envs": 2}, "FormulaEnv got an unexpected keyword argument 'num_envs': it .*; use FormulaVectorEnv"),
        ({"autoreset_mode": 3}, "unexpected keyword argument 'autoreset_mode': it .*; use FormulaVectorEnv"),
        ({"reward_model": ConstantReward}, "give an object as reward model, not the class ConstantReward"),
        ({"task": 8}, "task must be a task's name or a SequenceTask, got 8"),
        ({"task": EvenOnes(5), "length": 5}, "unexpected keyword argument 'length'"),
        ({"reward_mode": "shaped"}, "unknown reward_mode 'shaped'; there are: difference, terminal, q"),
        ({"reward_model": "oracle"}, "unknown reward_model"),
        ({"reward_model": "exac"}, "unknown reward_model 'exac'; perhaps you meant exact; there are: "),
        ({"observation": "text"}, "unknown observation"),
        ({"q_estimator": "guess"}, "unknown q_estimator"),
        ({"render_mode": "video"}, "unknown render_mode"),
        ({"num_rollouts": 0, "reward_mode": "difference"}, "num_rollouts must be at least 1"),
        ({"num_rollouts": 2.5}, "num_rollouts must be a whole number of at least 1, got 2.5"),
        ({"num_rollouts": True}, "num_rollouts must be a whole number"),
        ({"num_rollouts": 2, "reward_mode": "terminal"}, 'no effect with reward_mode "terminal"'),
        ({"q_estimator": "exact", "reward_mode": "terminal"}, 'no effect with reward_mode "terminal"'),
        ({"num_rollouts": 2, "q_estimator": "exact"}, 'no effect with q_estimator "exact"'),
        ({"length": 8.0}, "length must be int, got 8.0"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available here; use cpu"),
        ({"device": "tpu9"}, "unknown device 'tpu9'; use cpu"),
        ({"device": 3.5}, "unknown device 3.5"),
        ({"num_rollouts": 0, "reward_mode": "q"}, "num_rollouts must be at least 1"),
        ({"num_rollouts": -1, "reward_mode": "terminal"}, "num_rollouts must be at least 0"),
        ({"num_rollouts": 10**9}, "num_rollouts must be at most 10,000, got 1000000000"),
        (NO_Q | {"q_estimator": "monte-carlo"}, "q_estimator has no effect with num_rollouts 0"),
    ],
)
def test_impossible_environments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        FormulaEnv(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rollouts": 10**9}, "num_rollouts must be at most 10,000, got 1000000000"),
        (NO_Q | {"q_estimator": "monte-carlo"}, "q_estimator has no effect with num_rollouts 0"),
        ({"autoreset_mode": 3}, "unknown autoreset_mode 3; there are: NEXT_STEP, NextStep, SAME_STEP"),
        ({"autoreset_mode": None}, "unknown autoreset_mode None; there are: NEXT_STEP"),
        ({"autoreset_mode": "never"}, "unknown autoreset_mode 'never'; there are: NEXT_STEP"),
        ({"reward_model": ConstantReward}, "give an object as reward model, not the class ConstantReward"),
    ],
)
def test_impossible_vector_environments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        FormulaVectorEnv(**options)


def test_only_an_environment_that_can_give_q_takes_rollouts_with_terminal_rewards() -> None:
    """And the other refuses them before it makes a discriminator, which would be a wrong one here."""
    options = {"reward_mode": "terminal", "num_rollouts": 4}
    FormulaVectorEnv(**options).reset(seed=0)
    with pytest.raises(FormulaError, match='no effect with reward_mode "terminal"'):
        FormulaEnv(reward_model="discriminator", reward_options={"architecture": "none"}, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "svm"}, "unknown architecture 'svm'; there are: mlp, cnn, recurrent, autoregressive"),
        ({"update_every": 0}, "update_every must be at least 1"),
        ({"update_every": 2.5}, "update_every must be a whole number"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**40}, "seed must be a whole number up to 4,294"),
        ({"real": []}, "reward option real holds no formula"),
        ({"real": ["0110"]}, "reward option real: '0110' must have 8 symbols"),
        ({"real": ["01102110"]}, "unknown symbol '2'"),
        ({"real": "01100110"}, "must be a list of formulae as text"),
        ({"real": 7}, "must be a list of formulae as text, got 7"),
        ({"shared": "yes"}, "shared must be True or False, got 'yes'"),
        ({"beta": 3.0}, 'beta has no effect with reward_model "discriminator"; its own are architecture'),
        ({"updat_every": 4}, "unknown reward option 'updat_every'; perhaps you meant update_every; there are:"),
        ({7: 4}, "unknown reward option 7; there are: architecture"),
        (["seed"], r"reward_options must be a dictionary, got \['seed'\]"),
        ("cnn", "reward_options must be a dictionary, got 'cnn'"),
    ],
)
@pytest.mark.parametrize("kind", [FormulaEnv, FormulaVectorEnv])
def test_impossible_reward_options_are_refused(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        kind(reward_model="discriminator", reward_options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1.0}, "beta must be above 0, got -1.0"),
        ({"beta": 0}, "beta must be above 0, got 0"),
        ({"beta": 10**400}, "beta must be at most 10,000"),
        ({"beta": float("inf")}, "beta must be at most 10,000"),
        ({"beta": "much"}, "beta must be"),
        ({"update_every": 0}, "update_every must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"shared": 7}, "shared must be True or False, got 7"),
        ({"real": ["01100110"]}, 'real has no effect with reward_model "soft"; its own are beta'),
    ],
)
@pytest.mark.parametrize("kind", [FormulaEnv, FormulaVectorEnv])
def test_impossible_options_of_a_soft_reward_are_refused(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        kind(reward_model="soft", reward_options=options)


def test_single_environments_share_their_soft_reward_until_it_learns() -> None:
    one, two = (FormulaEnv(reward_model="soft") for _ in range(2))
    assert one.reward_model is two.reward_model
    assert FormulaEnv(reward_model="soft", reward_options={"beta": 5}).reward_model is not one.reward_model
    assert FormulaEnv(reward_model="discriminator").reward_model is not one.reward_model


@pytest.mark.parametrize(
    ("reward_model", "name"),
    [("exact", "'exact'"), ("constant", "'constant'"), (ConstantReward(), "one of your own")],
    ids=["exact", "constant", "own"],
)
@pytest.mark.parametrize("kind", [FormulaEnv, FormulaVectorEnv])
def test_reward_options_without_effect_are_refused(kind: Any, reward_model: Any, name: str) -> None:
    for options in ({"seed": 0}, {"shared": False}):
        with pytest.raises(FormulaError, match=f"reward_options have no effect with reward_model {name}; leave"):
            kind(reward_model=reward_model, reward_options=options)
    kind(reward_model=reward_model, reward_options={})


@pytest.mark.parametrize(
    ("name", "value", "now"),
    [
        ("discriminator", "cnn", "{'architecture': 'cnn'}"),
        ("discriminator_update_every", 64, "{'update_every': 64}"),
        ("discriminator_shared", False, "{'shared': False}"),
    ],
)
def test_what_reward_options_have_replaced_is_named(name: str, value: Any, now: str) -> None:
    unknown = f"the environment got an unexpected keyword argument '{name}'"
    message = f"{unknown}; {name}={value!r} is now reward_options={now}"
    with pytest.raises(UnexpectedArgument, match=re.escape(message)):
        gym.make(BINARY_SUM, reward_model="discriminator", **{name: value})


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_reward_model_can_be_an_object(make: Any) -> None:
    model = ConstantReward()
    env = make(BINARY_SUM, length=4, reward_model=model).unwrapped
    assert env.reward_model is model
    env.reset(seed=0)
    action: Any = 0 if isinstance(env, FormulaEnv) else np.array([0])
    assert [float(np.squeeze(env.step(action)[1])) for _ in range(4)] == [0, 0, 0, 0.5]
    with pytest.raises(FormulaError, match=r"a reward model has the methods score, .*; Identity lacks score"):
        make(BINARY_SUM, reward_model=torch.nn.Identity())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": ["prefix"]}, r"options of reset must be a dictionary, got \['prefix'\]"),
        ({"options": 5}, "options of reset must be a dictionary, got 5"),
        ({"options": 0}, "options of reset must be a dictionary, got 0"),
        ({"options": {"start": "0"}}, "unknown option of reset 'start'; there are: reset_mask, prefix"),
        ({"seed": 1.5}, "seed must be a whole number.*, got 1.5"),
        ({"seed": "a"}, "seed must be a whole number.*, got 'a'"),
        ({"seed": True}, "seed must be a whole number of at least 0, got True"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": [1, 2, 3]}, "3 seeds for 2 environments; give one for each"),
        ({"seed": [1, 2.5]}, "seed must be a whole number of at least 0, got 2.5"),
        ({"seed": np.array([1, -2])}, "seed must be a whole number of at least 0, got -2"),
    ],
)
def test_impossible_resets_are_refused(arguments: dict[str, Any], message: str) -> None:
    env = FormulaVectorEnv("binary-sum", num_envs=2)
    with pytest.raises(FormulaError, match=message):
        env.reset(**arguments)
    assert not env.episodes.is_seeded


@pytest.mark.parametrize("arguments", [{"seed": 1.5}, {"seed": "a"}, {"seed": [1]}, {"seed": -1}, {"options": 5}])
def test_impossible_resets_of_one_environment_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(FormulaError, match=r"seed must be a whole number of at least 0|must be a dictionary"):
        FormulaEnv().reset(**arguments)


def test_numpys_integers_are_seeds() -> None:
    env = FormulaVectorEnv("binary-sum", num_envs=2)
    keys = []
    for seed in (5, np.int64(5), [5, 6], np.array([5, 6]), (np.uint8(5), 6), range(5, 7)):
        env.reset(seed=seed)  # pyright: ignore[reportArgumentType]
        keys.append(env.episodes.seed_keys.tolist())
    assert keys == keys[:1] * len(keys)
    FormulaEnv().reset(seed=np.int64(5))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.zeros((3, 8), dtype=np.int64), r"must be an int64 array \(2, 8\), .*, got int64 \(3, 8\)"),
        (np.zeros((2, 8)), "got float64"),
        (["00000000", "11111111"], "got list"),
        (np.full((2, 8), 3), "tokens must be from 0 to 2, got 3"),
    ],
    ids=["shape", "dtype", "text", "range"],
)
def test_q_of_something_else_is_refused(tokens: Any, message: str) -> None:
    env = FormulaVectorEnv("binary-sum", num_envs=2, num_rollouts=2)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before q_values\(\)"):
        env.q_values(tokens)
    env.reset(seed=0)
    with pytest.raises(FormulaError, match=message):
        env.q_values(tokens)


@pytest.mark.parametrize("actions", [[0, 2], [-1, 0], [0], [0.5, 0.5]])
def test_impossible_actions_are_refused(actions: list[float]) -> None:
    env = FormulaVectorEnv("binary-sum", num_envs=2)
    env.reset(seed=0)
    with pytest.raises(FormulaError, match="actions must be"):
        env.step(np.array(actions))


def test_public_names() -> None:
    assert all(hasattr(formula_env, name) for name in formula_env.__all__)
