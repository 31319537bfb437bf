"""Our wrappers, and Gymnasium's own around our environments."""

import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers
from moviepy import VideoFileClip

from formula_env import FormulaEnv, FormulaVectorEnv, MaskInObservation, VectorMaskInObservation
from formula_env.errors import FormulaError
from formula_env.render import CELL, draw_formula
from formula_env.tasks import make_task
from formula_env.tasks.base import SequenceTask
from tests.even_ones import EvenOnes
from tests.helpers import BINARY_SUM, ENV_IDS, SIGNED_EQUATION, assert_same, name_of, small_tasks

KEYS: dict[str, Any] = {"obs_key": "state", "mask_key": "legal", "dtype": "float32"}


@pytest.mark.parametrize("env_id", ENV_IDS)
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("dtype", [np.int8, bool, "float32"])
def test_the_mask_in_the_observation_passes_check_env(env_id: str, observation: str, dtype: Any) -> None:
    env = MaskInObservation(gym.make(env_id, observation=observation), dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("keys", [{}, KEYS])
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_the_observation_holds_what_the_infos_hold(task: SequenceTask, keys: dict[str, Any]) -> None:
    wrapped, plain = MaskInObservation(FormulaEnv(task), **keys), FormulaEnv(task)
    obs_key, mask_key = keys.get("obs_key", "observation"), keys.get("mask_key", "action_mask")
    dtype = np.dtype(keys.get("dtype", np.int8))
    rng = np.random.default_rng(0)
    returned, expected = wrapped.reset(seed=1), plain.reset(seed=1)
    finished = False
    while not finished:
        assert wrapped.observation_space.contains(returned[0])
        assert_same(returned[0], {obs_key: expected[0], mask_key: expected[-1]["action_mask"].astype(dtype)})
        assert_same(tuple(returned[1:]), tuple(expected[1:]))
        assert np.array_equal(wrapped.get_wrapper_attr("action_masks")(), returned[0][mask_key].astype(bool))
        action = rng.integers(task.vocabulary.size)
        returned, expected = wrapped.step(action), plain.step(action)
        finished = bool(returned[2])


def test_a_wrapped_environment_is_remade_from_its_spec() -> None:
    env = MaskInObservation(gym.make(BINARY_SUM, length=6), obs_key="state", mask_key="legal", dtype=np.float32)
    assert env.spec is not None
    remade = gym.make(EnvSpec.from_json(json.loads(json.dumps(env.spec.to_json()))))
    assert isinstance(remade, MaskInObservation)
    assert remade.observation_space == env.observation_space
    assert_same(remade.reset(seed=3), env.reset(seed=3))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_a_wrapped_batch_is_a_batch_of_wrapped_ones(task: SequenceTask, mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"num_rollouts": 2}
    native = VectorMaskInObservation(FormulaVectorEnv(task, 3, autoreset_mode=mode, **options), **KEYS)
    singles = SyncVectorEnv(
        [lambda: MaskInObservation(FormulaEnv(task, **options), **KEYS)] * 3, autoreset_mode=mode
    )
    assert native.observation_space == singles.observation_space
    assert native.single_observation_space == singles.single_observation_space
    rng = np.random.default_rng(0)
    assert_same(native.reset(seed=5), singles.reset(seed=5))
    for _ in range(3 * task.max_length):
        actions = rng.integers(task.vocabulary.size, size=3)
        ours, theirs = native.step(actions), singles.step(actions)
        assert_same(ours, theirs)
        assert native.observation_space.contains(ours[0])
        if mode == AutoresetMode.DISABLED and ours[2].any():
            reset = {"reset_mask": ours[2]}
            assert_same(native.reset(options=dict(reset)), singles.reset(options=dict(reset)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs_key": "x", "mask_key": "x"}, "obs_key and mask_key must differ, both are 'x'"),
        ({"dtype": complex}, "a mask of complex128 can't be"),
        ({"dtype": "U1"}, "a mask of str32 can't be"),
        ({"dtype": "mask"}, "unknown dtype 'mask'"),
    ],
)
def test_impossible_wrappers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        MaskInObservation(FormulaEnv(), **options)
    with pytest.raises(FormulaError, match=message):
        VectorMaskInObservation(FormulaVectorEnv(), **options)


def test_an_environment_without_masks_is_refused() -> None:
    with pytest.raises(FormulaError, match="only Discrete actions have a mask"):
        MaskInObservation(gym.make("Pendulum-v1"))
    with pytest.raises(FormulaError, match="no info"):
        MaskInObservation(gym.make("CartPole-v1")).reset()
    with pytest.raises(FormulaError, match="has no action_masks"):
        VectorMaskInObservation(SyncVectorEnv([lambda: gym.make("CartPole-v1")]))


# --- Gymnasium's own ------------------------------------------------------------------------------------------


def test_episode_statistics_are_the_rewards_added_up() -> None:
    env = gym.wrappers.RecordEpisodeStatistics(gym.make(SIGNED_EQUATION, length=5, num_rollouts=4))
    rng = np.random.default_rng(0)
    for seed in range(3):
        env.reset(seed=seed)
        total, finished, info = 0.0, False, {}
        while not finished:
            _, reward, finished, _, info = env.step(rng.integers(5))
            total += float(reward)
        assert info["episode"]["l"] == 5
        assert info["episode"]["r"] == pytest.approx(total)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("task", small_tasks(), ids=name_of)
def test_episode_statistics_of_a_batch(task: SequenceTask, mode: AutoresetMode) -> None:
    """With terminal rewards a return is the verdict, and a length the symbols written."""
    env = vector_wrappers.RecordEpisodeStatistics(
        FormulaVectorEnv(task, 4, reward_mode="terminal", num_rollouts=0, autoreset_mode=mode)
    )
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    episodes = 0
    for _ in range(6 * task.max_length):
        legal = env.unwrapped.action_masks()  # type: ignore[attr-defined]
        actions = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
        seen, _, terminated, _, info = env.step(actions)
        if not terminated.any():
            continue
        ended = info["final_info"] if mode == AutoresetMode.SAME_STEP else info
        np.testing.assert_array_equal(info["_episode"], terminated)
        np.testing.assert_array_equal(info["episode"]["r"][terminated], ended["is_correct"][terminated])
        shown = np.stack(list(info["final_obs"][terminated])) if "final_obs" in info else seen[terminated]
        texts = env.unwrapped.decode(shown)  # type: ignore[attr-defined]
        for length, formula in zip(info["episode"]["l"][terminated], texts, strict=True):
            symbols = len(formula) + (task.vocabulary.eos is not None and length > len(formula))
            assert length == symbols
        episodes += int(terminated.sum())
        if mode == AutoresetMode.DISABLED:
            env.reset(options={"reset_mask": terminated})
    assert episodes == len(env.return_queue)
    assert 0 < sum(env.return_queue) < episodes


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_wrappers_transform_the_batch(mode: AutoresetMode) -> None:
    plain, inner = (FormulaVectorEnv("signed-equation", 3, length=5, autoreset_mode=mode) for _ in range(2))
    wrapped: gym.vector.VectorEnv = vector_wrappers.TransformReward(inner, lambda rewards: 2 * rewards)
    if mode != AutoresetMode.SAME_STEP:  # Gymnasium's observation wrappers refuse it
        wrapped = vector_wrappers.RescaleObservation(wrapped, np.float32(-1), np.float32(1))
    wrapped = vector_wrappers.DictInfoToList(wrapped)
    plain.reset(seed=0)
    wrapped.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.integers(5, size=3)
        observations, rewards, terminated, _, infos = plain.step(actions)
        seen, earned, ended, _, told = wrapped.step(actions)
        np.testing.assert_allclose(seen, observations if mode == AutoresetMode.SAME_STEP else 2 * observations - 1)
        np.testing.assert_array_equal(earned, 2 * rewards)
        np.testing.assert_array_equal(ended, terminated)
        for i, info in enumerate(told):
            np.testing.assert_array_equal(info["action_mask"], infos["action_mask"][i])
            assert ("final_info" in info) == (mode == AutoresetMode.SAME_STEP and terminated[i])
            last = info.get("final_info", info)
            assert last["is_correct"] == (
                plain.task.is_correct(plain.episodes.tokens)[i] if last is info else rewards[i]
            )
        if mode == AutoresetMode.DISABLED and terminated.any():
            plain.reset(options={"reset_mask": terminated})
            wrapped.reset(options={"reset_mask": terminated})


# --- pictures -------------------------------------------------------------------------------------------------


def test_record_video_writes_every_frame(tmp_path: Path) -> None:
    env = gym.wrappers.RecordVideo(
        gym.make(BINARY_SUM, length=4, render_mode="rgb_array"),
        str(tmp_path / "videos"),
        episode_trigger=lambda _: True,
    )
    env.reset(seed=0)
    frames = [env.render()]
    for action in (0, 1, 1, 0):
        env.step(action)
        frames.append(env.render())
    env.close()
    with VideoFileClip(str(tmp_path / "videos/rl-video-episode-0.mp4")) as video:
        assert video.fps == FormulaEnv.metadata["render_fps"]
        recorded = list(video.iter_frames())
    assert len(recorded) == len(frames)
    for i, shown in enumerate(recorded):
        distances = [np.abs(shown.astype(float) - np.asarray(drawn)).mean() for drawn in frames]
        assert np.argmin(distances) == i
        assert distances[i] < 3, "of 255: what compression loses"


def test_record_video_of_a_batch(tmp_path: Path) -> None:
    env = vector_wrappers.RecordVideo(
        gym.make_vec(SIGNED_EQUATION, num_envs=2, length=5, render_mode="rgb_array"),
        str(tmp_path / "videos"),
        episode_trigger=lambda episode: episode == 0,
    )
    env.reset(seed=0)
    for _ in range(7):
        env.step(env.action_space.sample())
    env.close()
    assert [path.suffix for path in (tmp_path / "videos").iterdir()] == [".mp4"]


def test_every_symbol_is_drawn_in_a_place_of_its_own_in_the_colour_of_its_reward() -> None:
    task = make_task("binary-sum", length=20)
    tokens, rewards = np.ones(20, dtype=np.int64), np.tile([1.0, -1.0, 0.0, 0.5, -0.5], 4)
    pictures = [draw_formula(task, tokens, t, rewards, finished=False) for t in range(21)]
    status = pictures[0].shape[0] - CELL  # below the cells: the return so far
    used = np.zeros(pictures[0].shape[:2], dtype=bool)[:status]
    for reward, (old, new) in zip(rewards, pairwise(pictures), strict=True):
        changed = (new != old).any(axis=2)[:status]
        assert changed.any()
        assert not (changed & used).any()
        used |= changed
        red, green, _ = new[:status][changed].astype(int).mean(axis=0)
        assert np.sign(green - red) == np.sign(reward)
    finished = draw_formula(task, tokens, 20, rewards, finished=True)
    verdict = (finished != pictures[-1]).any(axis=2)
    assert verdict.any()
    assert not verdict[:status].any()


def test_the_end_is_drawn() -> None:
    """EOS prints as nothing in a formula; its cell must not look empty."""
    task, nothing = EvenOnes(5), np.zeros(5)
    one, end = (draw_formula(task, np.array([1, 2, 3, 3, 3]), n, nothing, finished=False) for n in (1, 2))
    assert (one != end).any()
