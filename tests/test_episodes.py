"""What is being written, without an environment around it."""

from typing import Any

import numpy as np
import pytest
import torch

from formula_env.episodes import Episodes
from formula_env.errors import FormulaError
from formula_env.tasks import make_task
from tests.even_ones import EvenOnes
from tests.helpers import assert_equal_states, saved_and_loaded

EVERYWHERE = np.ones(3, dtype=bool)


def begun(task: Any, seeds: list[int | None] | None = None) -> Episodes:
    episodes = Episodes(task, 3)
    episodes.seed(seeds or [1, 2, 3], EVERYWHERE)
    episodes.begin(EVERYWHERE)
    return episodes


def write(episodes: Episodes, envs: list[int], actions: list[int]) -> list[bool]:
    rows = np.array(envs)
    finished = episodes.append(rows, np.array(actions))
    episodes.pay(rows, rewards=np.full(len(rows), 0.5), q=np.full(len(rows), 0.25))
    return finished.tolist()


def test_formulae_grow_and_end_each_by_itself() -> None:
    episodes = begun(EvenOnes(4))
    eos = episodes.task.vocabulary.eos
    assert eos is not None
    assert write(episodes, [0, 1, 2], [1, 1, 1]) == [False, False, False]
    assert write(episodes, [0, 2], [1, eos]) == [False, True]
    assert write(episodes, [0], [eos]) == [True]
    assert episodes.task.decode(episodes.tokens) == ["11", "1", "1"]
    assert episodes.lengths.tolist() == [3, 1, 2]
    assert episodes.finished.tolist() == [True, False, True]
    assert episodes.is_correct.tolist() == [1, 0, 0]
    assert episodes.rewards.tolist() == [[0.5, 0.5, 0.5, 0], [0.5, 0, 0, 0], [0.5, 0.5, 0, 0]]
    episodes.begin(np.array([False, False, True]))
    assert episodes.task.decode(episodes.tokens) == ["11", "1", ""]
    assert episodes.counts.tolist() == [1, 1, 2]


def test_keys_depend_on_the_seed_and_the_number_of_the_episode() -> None:
    one, other = begun(EvenOnes(3)), begun(EvenOnes(3), [1, 5, None])
    everyone = np.arange(3)
    same = one.keys(everyone) == other.keys(everyone)
    assert same.tolist() == [True, False, False]
    before = one.keys(everyone)
    one.begin(EVERYWHERE)
    assert not (one.keys(everyone) == before).any()
    one.seed([1, None, None], EVERYWHERE)
    one.begin(np.array([True, False, False]))
    assert (one.keys(everyone) == before).tolist() == [True, False, False]


def test_a_state_goes_round() -> None:
    """By plain names and as a copy: what is written later is not in it."""
    original = begun(make_task("binary-sum", length=4))
    for t in range(4):
        write(original, [0, 1] if t % 2 else [0, 1, 2], [0, 1] if t % 2 else [1, 0, 1])
    state = original.state_dict()
    assert not [name for name in state if name.startswith("_")]
    kept = saved_and_loaded(state)
    copy = Episodes(original.task, 3)
    copy.load_state_dict(state)
    for episodes in (original, copy):
        write(episodes, [2], [1])
        episodes.begin(np.array([True, False, False]))
    assert_equal_states(state, kept)
    assert_equal_states(copy.state_dict(), original.state_dict())
    assert copy.is_correct.tolist() == original.is_correct.tolist() == [0, 1, 0]
    assert copy.is_seeded
    assert torch.equal(copy.keys(np.arange(3)), original.keys(np.arange(3)))


STATE = begun(make_task("binary-sum", length=4)).state_dict()
OTHER_TASK = begun(make_task("binary-sum", length=6)).state_dict()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state of the episodes lacks 'tokens', 'lengths'"),
        (None, "the state of the episodes must be a dictionary, got NoneType"),
        (
            OTHER_TASK,
            r"not of 3 formulae of length 4: tokens must be a tensor \(3, 4\) of int64, got a tensor \(3, 6\)",
        ),
        (
            STATE | {"lengths": torch.zeros(2).long()},
            r"lengths must be a tensor \(3,\) of int64, got a tensor \(2,\)",
        ),
        (STATE | {"finished": torch.zeros(3)}, "finished must be a tensor .* of bool, got .* of float32"),
        (STATE | {"seed_keys": [1, 2, 3]}, "seed_keys must be a tensor .* of int64, got list"),
        (STATE | {"q": None}, "q must be a tensor .* of float64, got NoneType"),
    ],
    ids=["empty", "none", "other task", "shape", "dtype", "list", "no array"],
)
def test_a_state_of_something_else_changes_nothing(state: Any, message: str) -> None:
    episodes = begun(make_task("binary-sum", length=4))
    before = episodes.state_dict()
    with pytest.raises(FormulaError, match=message):
        episodes.load_state_dict(state)
    assert_equal_states(episodes.state_dict(), before)
