"""A little of `make torture`, with the same seed each time."""

import random
from pathlib import Path

import pytest

from formula_env.experiment.run_folder import RunFolder
from formula_env.files import write_atomically
from tests.torture import Tally, damage, import_everything, kills, write_faults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_figures_drawn_at_once", "_everything_imported")]


@pytest.fixture(scope="module")
def _everything_imported() -> None:
    import_everything()


@pytest.fixture
def _figures_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are written as figures are; to draw takes longer than all else that a tiny run does."""

    def draw(folder: RunFolder, _: object) -> None:
        (folder.path / "figures").mkdir(exist_ok=True)
        for name in ("training", "distribution"):
            for suffix in ("png", "svg"):
                write_atomically(folder.path / "figures" / f"{name}.{suffix}", f"{name} as {suffix}")

    monkeypatch.setattr("formula_env.experiment.run_figures.draw_figures", draw)


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
