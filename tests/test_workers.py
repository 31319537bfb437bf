"""Environments in worker processes: each trains a discriminator of its own, and says so once."""

import logging
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3.common.vec_env import SubprocVecEnv

from formula_env import FormulaEnv
from tests.helpers import assert_equal_states

pytestmark = pytest.mark.slow

WORKERS, STEPS = 2, 40
OPTIONS: dict[str, Any] = {
    "length": 4,
    "reward_model": "discriminator",
    "reward_options": {"update_every": 2},
    "num_rollouts": 1,
}


def make(log: Path) -> FormulaEnv:
    """In a worker what the package logs goes to a file; in the test's own process pytest has it."""
    if multiprocessing.parent_process() is not None:
        logging.getLogger("formula_env").addHandler(logging.FileHandler(log))
    return FormulaEnv(**OPTIONS)


def by_gymnasium(make_env: Callable[[], FormulaEnv], actions: np.ndarray) -> tuple[Any, ...]:
    envs = AsyncVectorEnv([make_env] * WORKERS)
    envs.reset(seed=7)
    for row in actions:
        envs.step(row)
    states = envs.call("state_dict")
    envs.close()
    return states


def by_sb3(make_env: Callable[[], FormulaEnv], actions: np.ndarray) -> tuple[Any, ...]:
    envs = SubprocVecEnv([make_env] * WORKERS)
    envs.seed(7)
    envs.reset()
    for row in actions:
        envs.step(row)
    states = tuple(envs.env_method("state_dict"))
    envs.close()
    return states


def alone(seed: int, actions: np.ndarray, resetting_is_a_step: bool) -> dict[str, Any]:
    env = FormulaEnv(**OPTIONS)
    env.reset(seed=seed)
    finished = False
    for action in actions:
        if finished and resetting_is_a_step:
            env.reset()
            finished = False
            continue
        finished = env.step(action)[2]
        if finished and not resetting_is_a_step:
            env.reset()
    return env.state_dict()


@pytest.mark.parametrize("run", [by_gymnasium, by_sb3])
def test_every_worker_trains_as_if_it_were_alone_and_says_so_once(
    run: Callable[..., tuple[Any, ...]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    actions = np.random.default_rng(0).integers(2, size=(STEPS, WORKERS))
    states = run(partial(make, tmp_path / "log"), actions)
    for i, state in enumerate(states):
        expected = alone(7 + i, actions[:, i], resetting_is_a_step=run is by_gymnasium)
        assert expected["reward_model"]["num_updates"] >= 2
        assert_equal_states(state, expected)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(set(lines)) == len(lines) == WORKERS
    assert all("is a copy: it learns only from the formulae finished there" in line for line in lines)
    assert not caplog.records, "not in a process of the user's own"
