"""The adapter against Stable-Baselines3's own `DummyVecEnv` of single environments."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from formula_env import FormulaEnv, FormulaVectorEnv
from formula_env.agents.sb3 import FormulaVecEnv
from formula_env.errors import FormulaError
from formula_env.rewards import ConstantReward
from formula_env.tasks.base import SequenceTask
from tests.helpers import name_of, opinionated_pair, small_tasks

tasks = pytest.mark.parametrize("task", small_tasks(), ids=name_of)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two)
    return type(one) is type(two) and one == two


@pytest.mark.slow
@tasks
@pytest.mark.parametrize("observation", ["one-hot", "tokens"])
@pytest.mark.parametrize("rewards", [{"reward_mode": "terminal", "num_rollouts": 0}, {"num_rollouts": 2}])
def test_its_steps_are_those_of_single_environments(
    task: SequenceTask, observation: Any, rewards: dict[str, Any]
) -> None:
    """Every field of every step, the rewards by a discriminator with Monte-Carlo rollouts among them."""
    num_envs, options = 5, {"observation": observation, **rewards}
    ours: Any = FormulaVecEnv(task, num_envs, **options)
    theirs = DummyVecEnv([lambda: FormulaEnv(task, **options) for _ in range(num_envs)])
    policy, reward = opinionated_pair(task)
    for env in (ours, theirs):
        env.env_method("set_reward_model", reward)
        env.env_method("set_rollout_policy", policy)
        env.seed(7)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    first = ours.reset(), theirs.reset()
    assert same(*first)
    assert same({"": ours.reset_infos[0]}, {"": theirs.reset_infos[0]})
    rng, episodes = np.random.default_rng(0), 0
    for _ in range(60 if rewards["num_rollouts"] else 200):  # of 5 environments
        actions = rng.integers(task.vocabulary.size, size=num_envs)
        mine, dummy = ours.step(actions), theirs.step(actions)
        for one, two in zip(mine[:1] + mine[2:3], dummy[:1] + dummy[2:3], strict=True):
            assert same(one, two)
        assert mine[1].dtype == dummy[1].dtype == np.float32
        assert np.allclose(mine[1], dummy[1], atol=1e-6)  # a batch of networks rounds otherwise than one
        for one, two in zip(mine[3], dummy[3], strict=True):
            assert same(one, two)
        assert all(same(*infos) for infos in zip(ours.reset_infos, theirs.reset_infos, strict=True))
        assert same(np.stack(ours.env_method("action_masks")), np.stack(theirs.env_method("action_masks")))
        episodes += mine[2].sum()
    assert episodes > 20


def test_what_a_step_returned_stays_as_it_was() -> None:
    env = FormulaVecEnv(small_tasks()[0], 3)
    env.reset()
    rng = np.random.default_rng(0)
    kept: list[tuple[Any, Any]] = []
    for _ in range(15):
        step: Any = env.step(rng.integers(2, size=3))
        kept.append((step, deepcopy(step)))
    for step, copy in kept:
        assert all(np.array_equal(*pair) for pair in zip(step[:3], copy[:3], strict=True))
        assert all(same(*infos) for infos in zip(step[3], copy[3], strict=True))


def test_attributes_and_methods_are_those_of_single_environments() -> None:
    env = FormulaVecEnv("binary-sum", 4, length=6, render_mode="rgb_array")
    assert env.get_attr("reward_mode") == ["terminal"] * 4
    assert env.get_attr("task", indices=[0, 2]) == [env.vector_env.task] * 2
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    with pytest.raises(AttributeError):
        env.get_attr("no_such_thing")
    env.reset()
    mask = env.get_attr("action_masks", indices=1)[0]()
    assert np.array_equal(mask, env.env_method("action_masks", indices=1)[0])
    reward = ConstantReward()
    env.env_method("set_reward_model", reward)
    assert env.vector_env.reward_model is reward
    with pytest.raises(FormulaError, match="set_reward_model is common to all 4 environments"):
        env.env_method("set_reward_model", reward, indices=[1])
    assert env.env_is_wrapped(VecMonitor) == [False] * 4
    images = env.get_images()
    assert len(images) == 4
    assert all(image is not None and image.dtype == np.uint8 for image in images)
    env.set_attr("render_mode", "ansi")
    assert env.vector_env.render_mode == "ansi"


def test_seeds_are_used_once_and_differ() -> None:
    """As of `DummyVecEnv`: environment i is seeded with seed + i at the next reset, and not again after that."""

    def rewards(env: FormulaVecEnv) -> Any:
        env.reset()
        return np.stack([env.step(np.zeros(2, dtype=np.int64))[1] for _ in range(6)])

    task = small_tasks()[0]
    policy, reward = opinionated_pair(task)
    env = FormulaVecEnv(task, 2, reward_mode="difference", num_rollouts=2)
    env.env_method("set_reward_model", reward)
    env.env_method("set_rollout_policy", policy)
    env.seed(3)
    one, two = rewards(env), rewards(env)
    env.seed(3)
    assert np.array_equal(one, rewards(env))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one[:, 0], one[:, 1])


def test_an_environment_of_ones_own_can_be_handed_over() -> None:
    formulae = FormulaVectorEnv("binary-sum", 3, length=4, autoreset_mode="SameStep")
    assert FormulaVecEnv(formulae).num_envs == 3
    with pytest.raises(FormulaError, match='autoreset_mode="SameStep", not'):
        FormulaVecEnv(FormulaVectorEnv("binary-sum", 3, length=4))
    with pytest.raises(FormulaError, match="belong to a task, not to an environment that exists"):
        FormulaVecEnv(formulae, length=4)
