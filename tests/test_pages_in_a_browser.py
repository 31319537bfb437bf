"""Pages as a browser shows them: the numbers can be read, everything fits, at two widths, light and dark."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formula_env.cli import main
from tests.chromium import FOLDER, Browser, started
from tests.experiment.commands import TINY_MLE
from tests.shared import made_once
from tests.test_site import build_whole

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.exists(), reason="no browser; get one with: python -m tests.chromium"),
]

WINDOWS = [(1200, False), (1200, True), (420, False), (420, True)]
"""Width in pixels, and whether the reader prefers a dark page."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "first"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    path = run.parent / "page.html"
    assert main(["report", str(run), "--html", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "site", build_whole)


def brightness(picture: bytes) -> float:
    """Mean brightness of a PNG file, from 0 to 255."""
    return float(np.asarray(Image.open(io.BytesIO(picture)).convert("L")).mean())


def assert_fits(browser: Browser, width: int) -> None:
    assert browser.read("document.documentElement.scrollWidth") <= width, "it scrolls sideways"


def test_a_run_s_numbers_can_be_read(browser: Browser, page: Path, run: Path) -> None:
    browser.open(page)
    cells = browser.read("[...document.querySelectorAll('tr')].map(row => [...row.cells].map(c => c.innerText))")
    shown = {row[0]: row[1] for row in cells if len(row) == 2}
    summary = json.loads((run / "summary.json").read_text())
    assert shown["accuracy"] == f"{summary['accuracy']:.2%}"
    assert shown["JSD (nats)"] == f"{summary['jsd']:.4f}"
    samples = [line.split("\t")[:2] for line in (run / "samples.txt").read_text().splitlines()]
    items = browser.read("[...document.querySelectorAll('.samples li')].map(i => i.innerText.split(/[\\s✗✓]+/))")
    assert items == samples[: len(items)] != []


def test_wrong_formulae_look_different(browser: Browser, page: Path) -> None:
    browser.open(page)
    style = "[...document.querySelectorAll('.samples .{} span')].map(s => getComputedStyle(s).color)"
    right, wrong = (browser.read(style.format(name)) for name in ("right", "wrong"))
    assert right
    assert wrong
    assert not set(right) & set(wrong)


@pytest.mark.parametrize(("width", "dark"), WINDOWS)
def test_a_run_s_page_fits(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, dark)
    assert_fits(browser, width)
    assert (brightness(browser.picture()) < 100) == dark


@pytest.mark.parametrize(("width", "dark"), WINDOWS)
@pytest.mark.parametrize("name", ["index.html", "environment/index.html", "what-learns/index.html"])
def test_the_site_fits(browser: Browser, site: Path, name: str, width: int, dark: bool) -> None:
    browser.open(site / name, width, dark)
    assert browser.read("document.querySelector('h1').getBoundingClientRect().height") > 0
    assert_fits(browser, width)
    assert (brightness(browser.picture()) < 100) == dark
