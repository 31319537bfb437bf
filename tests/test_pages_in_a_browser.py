"""Pages as a browser shows them: the numbers can be read, everything fits, at two widths, light and dark."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from formula_env.cli import main
from formula_env.experiment.page_charts import DARK, LIGHT, Curve, bars_chart, curves_chart, legend
from formula_env.experiment.run_page import PAGE, STYLE
from tests.chromium import Browser, require, started
from tests.shared import made_once
from tests.test_site import build_whole

pytestmark = pytest.mark.slow

WINDOWS = [(1200, False), (1200, True), (420, False), (420, True)]
"""Width in pixels, and whether the reader prefers a dark page."""


RATES = {"first": "0.003", "second": "0.01"}
"""Learning rates of the runs by their names."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    require()
    with started(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    options = (
        "--task.length 6 --data.size 0.5 --algo.rounds 60 --algo.hidden-dim 32 --eval-every 20 --eval-samples 400"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("formula_env.experiment.run_figures.draw_figures", lambda *_: None)
        for name, rate in RATES.items():
            own = ["--algo.learning-rate", rate, "--out", str(folder / name)]
            assert main(["train", "mle", *options.split(), *own]) == 0
    return [folder / name for name in RATES]


@pytest.fixture(scope="module")
def run(runs: list[Path]) -> Path:
    return runs[0]


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    path = run.parent / "page.html"
    assert main(["report", str(run), "--html", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def page_of_two(runs: list[Path]) -> Path:
    path = runs[0].parent / "two.html"
    assert main(["report", *map(str, runs), "--html", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of charts that are hard to draw: many and single points, large and tiny numbers, 1 to 300 bars."""
    labels = [f"a/rather-long-name-of-a-study/variant-{i}/seed-0" for i in range(8)]
    long: list[Curve] = [[(1000 * x, x / (x + i + 1)) for x in range(0, 201, 3 + i % 2)] for i in range(8)]
    short: list[Curve] = [[(0, i * 1e-7)] for i in range(8)]
    steep: list[Curve] = [[(0, -123_456.0), (1_000_000, 2.5e-5)]]
    body = legend(labels) + '<div class="charts">'
    body += "".join(curves_chart("metric", labels, curves, str) for curves in (long, short, steep))
    body += "</div>"
    for count in (1, 2, 20, 21, 70, 71, 300):
        weights = np.arange(count, 0, -1) ** 2.0
        bars = [(f"{i:08b}", float(prob), i) for i, prob in enumerate(weights / weights.sum())]
        body += bars_chart(labels[0], count, bars)
    path = tmp_path_factory.mktemp("charts") / "charts.html"
    path.write_text(PAGE.format(title="charts", style=STYLE, body=body))
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


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.read(f"[...document.querySelectorAll({selector!r})].map(each => each.textContent)")


POINTS = """
[...document.querySelectorAll('.charts figure')].map(figure => {
  figure.scrollIntoView();
  return [...figure.querySelectorAll('.curve')].map(curve => {
    const pairs = curve.getAttribute('d').slice(1).split('L');
    return pairs.map(pair => {
      const point = new DOMPoint(...pair.split(' ')).matrixTransform(curve.getScreenCTM());
      return document.elementFromPoint(point.x, point.y).closest('.at')?.querySelector('title').textContent;
    });
  });
})
"""
"""What hovering shows at each point of each curve of each chart."""


@pytest.mark.parametrize("width", [1200, 420])
def test_hovering_a_point_of_a_curve_shows_its_numbers(
    browser: Browser, page_of_two: Path, runs: list[Path], width: int
) -> None:
    browser.open(page_of_two, width)
    shown = dict(zip(texts(browser, ".charts figcaption"), browser.read(POINTS), strict=True))
    for name, key, form in (("accuracy", "eval/accuracy", ".2%"), ("JSD (nats)", "eval/jsd", ".4f")):
        assert len(shown[name]) == 2
        for run, titles in zip(runs, shown[name], strict=True):
            for row, title in zip(rows_of(run), titles, strict=True):
                first, *values = title.split("\n")
                assert first == f"round {row['round']}"
                assert f"{run.name}: {row[key]:{form}}" in values


def test_hovering_marks_the_points_of_long_curves(browser: Browser, charts: Path) -> None:
    browser.open(charts)
    browser.read("document.querySelector('.charts').scrollIntoView()")
    x, y, index = browser.read("""(() => {
        const areas = [...document.querySelectorAll('.charts figure:first-child .hit')];
        const index = Math.floor(areas.length / 2), box = areas[index].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2, index];
    })()""")
    opacity = (
        "[...document.querySelectorAll('.charts figure:first-child .at')].map("
        "group => Math.max(...[...group.querySelectorAll('.marker')].map(m => +getComputedStyle(m).opacity)))"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
    before = browser.read(opacity)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert [i for i, value in enumerate(browser.read(opacity)) if value > 0] == [index]
    assert max(before) == 0


def test_a_page_of_two_runs_names_them_and_their_differences(browser: Browser, page_of_two: Path) -> None:
    browser.open(page_of_two)
    assert [text.strip() for text in texts(browser, ".key span")] == list(RATES)
    assert texts(browser, ".settings th") == ["", *RATES, "algo.learning_rate"]
    assert texts(browser, ".settings td") == list(RATES.values())


@pytest.mark.parametrize(("palette", "dark"), [(LIGHT, False), (DARK, True)])
def test_curves_have_the_colours_of_the_palette(
    browser: Browser, page_of_two: Path, palette: dict[str, str], dark: bool
) -> None:
    browser.open(page_of_two, dark=dark)
    colours = [[int(palette[name][i : i + 2], 16) for i in (1, 3, 5)] for name in ("run-0", "run-1", "back")]
    first, second, back = (f"rgb({', '.join(map(str, colour))})" for colour in colours)
    strokes = browser.read("[...document.querySelectorAll('.curve')].map(c => getComputedStyle(c).stroke)")
    assert set(strokes) == {first, second}
    assert browser.read("getComputedStyle(document.body).backgroundColor") == back


def test_bars_and_the_uniform_line_are_to_scale(browser: Browser, page: Path, run: Path) -> None:
    browser.open(page)
    with open(run / "distribution.csv") as file:
        probs = sorted((float(row["probability"]) for row in csv.DictReader(file)), reverse=True)
    bars = browser.read("[...document.querySelectorAll('.bar')].map(bar => bar.getBoundingClientRect().toJSON())")
    line = browser.read("document.querySelector('.uniform').getBoundingClientRect().y")
    assert len(bars) == len(probs) == 20
    scale = bars[0]["height"] / probs[0]
    assert [bar["height"] for bar in bars] == pytest.approx([prob * scale for prob in probs], abs=0.6)
    assert bars[0]["bottom"] - line == pytest.approx(scale / 20, abs=0.6)
    ticks = browser.read(
        "[...document.querySelectorAll('.bars text')].filter(t => t.textContent.endsWith('%'))"
        ".map(t => [t.textContent, t.getBoundingClientRect().y + t.getBoundingClientRect().height / 2])"
    )
    assert len(ticks) >= 3
    for text, y in ticks:
        assert bars[0]["bottom"] - y == pytest.approx(scale * float(text[:-1]) / 100, abs=2)


def test_a_distribution_names_its_axes(browser: Browser, page: Path, run: Path) -> None:
    browser.open(page)
    names = texts(browser, ".bars text")
    assert "probability" in names
    assert "uniform" in names
    formulae = [line.split(",")[0] for line in (run / "distribution.csv").read_text().splitlines()[1:]]
    assert sorted(texts(browser, ".formulae text")) == sorted(formulae)
    assert texts(browser, ".axis") == ["correct formulae by rank, most probable first"]
    images = "[...document.querySelectorAll('[role=img]')].map(image => image.getAttribute('aria-label'))"
    assert all(browser.read(images))
    assert "first: probability of each of the 20 correct formulae; a uniform generator has 5%" in browser.read(
        images
    )


def test_found_formulae_are_on_the_page(browser: Browser, page_of_two: Path, runs: list[Path]) -> None:
    browser.open(page_of_two)
    expected = []
    for run in runs:
        with open(run / "found.csv") as file:
            found = sorted(csv.DictReader(file), key=lambda row: -float(row["log_prob"]))
        assert 0 < len(found) < 24
        expected += [row["formula"] for row in found]
    assert texts(browser, "tbody th > code") == expected
    boxes = "[...document.querySelectorAll('svg.formula')].map(svg => svg.getBoundingClientRect())"
    sizes = browser.read(f"{boxes}.map(box => [box.width, box.height])")
    assert len(sizes) == len(expected)
    assert np.min(sizes) > 5


BOXES = """
[...document.querySelectorAll('figure, .key')].map(part => {
  const boxes = selector => [...(part.matches(selector) ? [part] : []), ...part.querySelectorAll(selector)].map(
    each => [each.textContent, each.getBoundingClientRect()]).filter(([, box]) => box.width + box.height > 0).map(
    ([text, box]) => [text, box.left, box.top, box.right, box.bottom]);
  const labels = boxes('text, figcaption, .axis, .key > span');
  return {labels, data: boxes('figure .curve, figure .marker, .bar')};
})
"""
"""Edges of all labels, and of curves, markers and bars, of each chart and legend."""


def overlap(one: list[Any], two: list[Any]) -> bool:
    """Whether two boxes (a text, left, top, right, bottom) share more than the edge."""
    width, height = min(one[3], two[3]) - max(one[1], two[1]), min(one[4], two[4]) - max(one[2], two[2])
    return min(width, height) > 0.1


def test_boxes_overlap_only_where_they_share_an_area() -> None:
    box = ["", 0, 0, 10, 10]
    assert overlap(box, ["", 5, 5, 15, 15])
    assert not overlap(box, ["", 10, 0, 20, 10])
    assert not overlap(box, ["", 0, 11, 10, 20])


@pytest.mark.parametrize("width", [1200, 1121, 1120, 420])
def test_labels_cover_neither_data_nor_each_other(
    browser: Browser, page_of_two: Path, charts: Path, width: int
) -> None:
    for path, parts in ((page_of_two, 10), (charts, 11)):
        browser.open(path, width)
        assert_fits(browser, width)
        found = browser.read(BOXES)
        assert len(found) == parts
        for part in found:
            labels, data = part["labels"], part["data"]
            assert labels
            assert [label for label in labels if label[1] < 0 or label[3] > width] == []
            assert [pair for pair in combinations(labels, 2) if overlap(*pair)] == []
            assert [(label, each) for label in labels for each in data if overlap(label, each)] == []
        every = [label for part in found for label in part["labels"]]
        assert len(every) > 60
        legends = [label for part in found for label in part["labels"] if not part["data"]]
        data = [each for part in found for each in part["data"]]
        assert [(label, each) for label in legends for each in data if overlap(label, each)] == []


@pytest.mark.parametrize(("width", "dark"), WINDOWS)
def test_a_page_of_two_runs_fits(browser: Browser, page_of_two: Path, width: int, dark: bool) -> None:
    browser.open(page_of_two, width, dark)
    assert_fits(browser, width)
    assert (brightness(browser.picture()) < 100) == dark


def test_a_browser_that_lacks_is_a_failure_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(tmp_path)
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        require(tmp_path / "none")
    monkeypatch.delenv("REQUIRE_BROWSER")
    with pytest.raises(pytest.skip.Exception, match="a failure where the environment"):
        require(tmp_path / "none")


@pytest.mark.parametrize(("width", "dark"), WINDOWS)
@pytest.mark.parametrize("name", ["index.html", "environment/index.html", "what-learns/index.html"])
def test_the_site_fits(browser: Browser, site: Path, name: str, width: int, dark: bool) -> None:
    browser.open(site / name, width, dark)
    assert browser.read("document.querySelector('h1').getBoundingClientRect().height") > 0
    assert_fits(browser, width)
    assert (brightness(browser.picture()) < 100) == dark
