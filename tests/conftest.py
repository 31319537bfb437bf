import functools
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoints, entry_points

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("quick", max_examples=10)


@pytest.fixture(autouse=True)
def _a_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw none, which takes longer than a tiny run itself."""
    monkeypatch.setattr("formula_env.experiment.run_figures.draw_figures", lambda *_: None)


@functools.cache
def _found(_path: tuple[str, ...], group: str) -> EntryPoints:
    return entry_points(group=group)


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_are_searched_once() -> Iterator[None]:
    """Whatever reads the settings of a run asks several times for the tasks and algorithms of other packages."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("tasks", "checkers"):
            found = f"formula_env.{module}.entry_points"
            patch.setattr(found, lambda *, group: _found(tuple(sys.path), group))
        yield
