"""A little of `make torture`, with the same seed each time."""

import random
from pathlib import Path

import pytest

from tests.torture import Tally, damage, kills, write_faults

pytestmark = pytest.mark.slow


def check(tally: Tally, at_least: int) -> None:
    assert tally.failures == []
    assert tally.trials >= at_least


@pytest.mark.parametrize("name", ["ppo", "vanilla-gan"])
def test_a_run_that_is_killed_twice_ends_as_if_undisturbed(tmp_path: Path, name: str) -> None:
    check(kills(name, 1, tmp_path, random.Random(0)), 2)


def test_a_write_that_fails_loses_nothing(tmp_path: Path) -> None:
    check(write_faults(tmp_path, 23), 5)


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    for tally in damage(tmp_path, 1, random.Random(0)).values():
        check(tally, 4)
