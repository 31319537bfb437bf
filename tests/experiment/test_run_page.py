"""The page about runs: its numbers are those of the records, it loads nothing, and no text becomes markup."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.experiment.page_charts import (
    BOTTOM,
    DARK,
    HEIGHT,
    LEFT,
    LIGHT,
    NUM_COLOURS,
    RIGHT,
    TOP,
    WIDTH,
    curves_chart,
    legend,
)
from formula_env.experiment.run_page import STYLE, rendered
from tests.experiment.commands import TINY_MLE, complaint
from tests.figure_checks import check_colours

pytestmark = pytest.mark.slow


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` by WCAG 2."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, two: str) -> float:
    """WCAG contrast of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(two)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_is_that_of_wcag() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the known grey that just passes AA


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_colours_can_be_seen_and_distinguished_by_all_eyes(palette: dict[str, str]) -> None:
    runs = [colour for name, colour in palette.items() if name.startswith("run-")]
    assert len(runs) == NUM_COLOURS
    assert min(contrast(colour, palette["back"]) for colour in runs) >= 3
    assert min(contrast(palette[name], palette["back"]) for name in ("text", "soft")) >= 4.5
    check_colours(
        {tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)) for colour in (*runs, palette["text"])}
    )


def test_the_page_has_the_palettes_of_light_and_dark_windows() -> None:
    light, dark = STYLE.split("prefers-color-scheme: dark", 1)
    for colours, css in ((LIGHT, light), (DARK, dark)):
        assert dict(re.findall(r"--([\w-]+): (#\w{6});", css)) == colours


def test_no_two_of_many_runs_look_alike() -> None:
    keys = legend(["run"] * 36).split("<span>")[1:]
    assert len(set(keys)) == 36


@pytest.mark.parametrize("value", [0.0, -3.0, 1e300])
def test_a_constant_curve_is_drawn_in_the_middle(value: float) -> None:
    chart = curves_chart("loss", ["run"], [[(0, value), (5, value)]], str)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    assert f'd="M{LEFT:.1f} {middle:.1f}L{WIDTH - RIGHT:.1f} {middle:.1f}"' in chart


class Page(HTMLParser):
    """Tags with their attributes, the text of each, and tables as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.titles: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "tr":
            self.cells.append([])
        elif tag in ("td", "th"):
            self.cells[-1].append("")
        elif tag == "title":
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.titles[-1] += data
        elif "td" in self._open or "th" in self._open:
            self.cells[-1][-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")
    options = {
        "first": ["--task.length", "6", "--data.size", "0.5"],
        "second": ["--task.length", "6", "--data.size", "0.5", "--algo.learning-rate", "0.01"],
        "equation": ["--task", "equation", "--preset", "None", "--data.size", "200", "--data.distinct"],
    }

    def made(name: str) -> Path:
        if not (folder / name).exists():
            small = [
                "--algo.rounds",
                "60",
                "--eval-every",
                "20",
                "--eval-samples",
                "400",
                "--algo.hidden-dim",
                "32",
            ]
            assert main(["train", "mle", *options[name], *small, "--out", str(folder / name)]) == 0
        return folder / name

    return made


def page_of(folders: list[Path], path: Path) -> str:
    assert main(["report", *map(str, folders), "--html", str(path)]) == 0
    return path.read_text()


def test_its_numbers_are_those_of_the_records(run: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [run("first"), run("second")]
    page = Page(page_of(folders, tmp_path / "page.html"))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    lines = {cells[0]: cells[1:] for cells in page.cells}
    assert lines["accuracy"] == [f"{summary['accuracy']:.2%}" for summary in summaries]
    assert lines["JSD (nats)"] == [f"{summary['jsd']:.4f}" for summary in summaries]
    assert lines["reached (of 20)"] == [str(summary["num_correct"]) for summary in summaries]
    assert lines["algo.learning_rate"] == ["0.003", "0.01"]
    assert "algo.hidden_dim" not in lines, "they have the same"
    curves = [map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) for folder in folders]
    rounds = 0
    for first, second in zip(*curves, strict=True):
        rounds += 1
        values = f"first: {first['eval/accuracy']:.2%}\nsecond: {second['eval/accuracy']:.2%}"
        assert f"round {first['round']:,}\n{values}" in page.titles
    assert rounds == 4
    bars = (folders[0] / "distribution.csv").read_text().splitlines()[1:]
    assert len(bars) == 20
    ranked = sorted((bar.split(",") for bar in bars), key=lambda bar: -float(bar[1]))
    for rank, (formula, prob, sampled) in enumerate(ranked, start=1):
        title = f"{formula}\nprobability: {float(prob):.4%}\nrank: {rank} of 20\nsamples: {sampled}"
        assert title in page.titles


def test_wrong_samples_are_marked(run: Callable[[str], Path], tmp_path: Path) -> None:
    text = page_of([run("first")], tmp_path / "page.html")
    samples = [line.split("\t") for line in (run("first") / "samples.txt").read_text().splitlines()][:60]
    marked = re.findall(r'<li class="(\w+)"><code>(\w+)</code>', text)
    assert marked == [("wrong" if verdict == "wrong" else "right", formula) for formula, verdict in samples]
    assert {"wrong", "right"} == {kind for kind, _ in marked}


def test_found_formulae_are_typeset(run: Callable[[str], Path], tmp_path: Path) -> None:
    text = page_of([run("first")], tmp_path / "page.html")
    found = (run("first") / "found.csv").read_text().splitlines()[1:]
    assert f"{len(found)} correct formulae that were not in the training set" in text
    assert text.count('class="formula"') == min(len(found), 24)


def test_it_loads_nothing_and_runs_nothing(run: Callable[[str], Path], tmp_path: Path) -> None:
    page = Page(page_of([run("first"), run("equation")], tmp_path / "page.html"))
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "img", "link")
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("xlink:href") or "#").startswith("#")


def test_text_of_somebody_elses_run_is_no_markup(run: Callable[[str], Path], tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    folder = copy_of(run("first"), tmp_path / "a <b> run")
    samples = (folder / "samples.txt").read_text()
    (folder / "samples.txt").write_text(f"{evil}\tcorrect\n{samples}")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"algorithm": evil}))
    text = page_of([folder], tmp_path / "page.html")
    assert evil not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<b>" not in text


def copy_of(run: Path, folder: Path) -> Path:
    copytree(run, folder)
    (folder / "SHA256SUMS").unlink()
    return folder


def test_runs_of_the_same_name_are_told_apart(run: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [copy_of(run(name), tmp_path / name / "seed-0") for name in ("first", "equation")]
    page = Page(page_of(folders, tmp_path / "page.html"))
    headers = [cells for cells in page.cells if any("first/seed-0" in cell for cell in cells)]
    assert all("equation/seed-0" in cells[2] for cells in headers)
    assert any(cells[0] == "reached" for cells in page.cells), "no total, for they have different ones"


def test_numbers_that_are_none_are_left_out_and_damage_is_one_line(
    run: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of(run("first"), tmp_path / "run")
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    rows[0] = re.sub(r'"eval/jsd": [\d.]+', '"eval/jsd": NaN', rows[0])
    rows[1] = re.sub(r'"eval/jsd": [\d.]+', '"eval/jsd": Infinity', rows[1])
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    page = Page(page_of([folder], tmp_path / "page.html"))
    with_jsd = [title for title in page.titles if re.fullmatch(r"round \d+\nrun: 0\.\d{4}", title)]
    assert with_jsd
    assert not [title for title in with_jsd if title.startswith(("round 0\n", "round 20\n"))]
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"seconds": None}))
    line = complaint(capfd, "report", str(folder), "--html", str(tmp_path / "other.html"))
    assert "the records of run are damaged" in line


def test_vectors_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    options = ["--task", "integer-sum", "--algo.rounds", "4", "--eval-every", "2", "--eval-samples", "50"]
    assert main(["train", "vanilla-gan", *options, "--out", str(tmp_path / "run")]) == 0
    text = page_of([tmp_path / "run"], tmp_path / "page.html")
    assert "<span>error " in text
    assert "✓" not in text


def test_formulae_that_can_not_be_set_are_shown_as_code() -> None:
    assert rendered(r"\frac{1}{2}").startswith("<svg ")
    assert rendered("{" * 3000 + "x").startswith("<code>")
    assert rendered(r"\nonsense{<}") == r"<code>\nonsense{&lt;}</code>"


@pytest.mark.usefixtures("no_figures")
def test_what_can_not_be_shown_is_refused_in_one_line(
    run: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert "is there already" in complaint(capfd, "report", str(run("first")), "--html", str(page))
    assert page.read_text() == "mine"
    other = str(tmp_path / "other.html")
    assert "holds no finished run" in complaint(capfd, "report", str(tmp_path), "--html", other)
    assert main(["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "run" / "metrics.jsonl").write_text("no rows\n")
    assert "metrics.jsonl" in complaint(capfd, "report", str(tmp_path / "run"), "--html", other)
    assert not Path(other).exists()
