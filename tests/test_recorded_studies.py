"""The studies in `runs/studies`: complete, supporting their verdicts, and shown in README and docs as they are."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from formula_env.metrics import metrics_table
from formula_env.studies.records import incomplete
from formula_env.studies.sources import sources_table
from formula_env.studies.spec import load_study
from formula_env.studies.study_figures import draw
from formula_env.studies.study_report import comparisons_table, shaken, studies_table, study_readme
from tests.figure_checks import check_figure

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "runs" / "studies").glob("*/study.toml"))
every = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_each_experiment_of_the_thesis_has_one() -> None:
    of_runs = {
        "gumbel-constrained",
        "gumbel-unconstrained",
        "seqgan",
        "softmax-gan",
        "straight-through",
        "vanilla-gan",
    }
    of_analyses = {"conditionals", "gumbel-softmax-distribution", "perfect-generator", "switch-probability"}
    assert {folder.name for folder in FOLDERS} >= of_runs | of_analyses


@every
def test_records_are_complete_and_support_the_verdicts(folder: Path) -> None:
    study = load_study(folder)
    assert incomplete(study) == []
    assert study.claims or study.comparisons
    assert shaken(study) == []
    assert all(claim.range for claim in study.claims)
    for variant in study.variants.values():
        assert len(variant.seeds) >= 5 or variant.analysis is not None or variant.name == "thesis-1000-epochs"


@every
def test_its_page_is_the_one_the_rows_make(folder: Path) -> None:
    study = load_study(folder)
    assert (folder / "README.md").read_text() == study_readme(study)
    for spec in study.figures:
        for suffix in (".png", ".svg"):
            assert (folder / "figures" / f"{spec.name}{suffix}").exists()
        check_figure(draw(study, spec))


def test_the_results_page_shows_what_was_found() -> None:
    text = (ROOT / "docs/results.md").read_text()
    studies = [load_study(folder) for folder in FOLDERS]
    tables = {"studies": studies_table(studies), "comparisons": comparisons_table(studies)}
    for name, table in tables.items():
        assert between(name, text) == [table.replace("](runs/", "](../runs/")]


def test_the_page_of_sources_shows_what_was_found() -> None:
    text = (ROOT / "docs/what-learns.md").read_text()
    table = sources_table([load_study(folder) for folder in FOLDERS])
    assert between("sources", text) == [table.replace("](runs/", "](../runs/")]


def test_the_metrics_page_shows_the_table_of_metrics() -> None:
    assert between("metrics", (ROOT / "docs/metrics.md").read_text()) == [metrics_table()]


def test_the_readme_s_results_are_the_studies_() -> None:
    """Each number of a line, apart from the thesis' own, stands on the page of the study that the line names."""
    (results,) = between("results", (ROOT / "README.md").read_text())
    lines = results.splitlines()
    assert len(lines) == 6
    for line in lines:
        (study,) = re.findall(r"\[([\w-]+)\]\)\.$", line)
        page = (ROOT / "runs/studies" / study / "README.md").read_text()
        ours = line.partition("; the thesis reports")[0].replace(" %", "%")
        for number in re.findall(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?%?", ours):
            assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d%]|[.,]\d)", page), (number, study)


def test_the_readme_counts_the_verdicts() -> None:
    (table,) = between("studies", (ROOT / "docs/results.md").read_text())
    counts = Counter(re.findall(r"\*\*([^*]+)\*\* \|$", table, flags=re.MULTILINE))
    beyond = counts.pop("beyond the thesis")
    text = " ".join((ROOT / "README.md").read_text().split())
    reproduced, partly, refuted, unclear = (
        counts.pop(verdict) for verdict in ("reproduced", "partly reproduced", "refuted", "does not follow")
    )
    assert not counts
    assert (
        f"Of {reproduced + partly + refuted + unclear} claims of the thesis {reproduced} are **reproduced**, "
        f"{partly} **partly reproduced** and {refuted} **refuted**; {unclear} are marked **does not follow**. "
        f"A further {beyond} results go **beyond the thesis**."
    ) in text


def test_the_table_of_the_thesis_seqgan_is_recorded() -> None:
    """The rows of `seqgan`, of the same without entropy bonus, and of maximum likelihood, over the seeds."""
    (table,) = between("thesis-seqgan", (ROOT / "docs/results.md").read_text())
    lines = [[cell.strip() for cell in line.strip("|").split("|")][2:] for line in table.splitlines()[2:]]
    seqgan, no_entropy, mle = (
        [recorded(variant, seed) for seed in range(5)] for variant in ("seqgan", "no-entropy", "mle")
    )
    rounds = [
        next(row["round"] for row in rows if row["eval/accuracy"] >= 0.97 and row["eval/jsd"] <= 0.03)
        for _, rows in seqgan
    ]
    assert lines == [
        [quality(seqgan[0][0]["random"]), "", "", "", ""],
        [quality(summary["start"]) for summary, _ in seqgan],
        [quality(summary) for summary, _ in seqgan],
        [str(number) for number in rounds],
        [str(summary["num_correct"]) for summary, _ in seqgan],
        *(
            [format_entry(summary) for summary, _ in runs]
            for runs in (no_entropy, mle)
            for format_entry in (quality, lambda summary: str(summary["num_correct"]))
        ),
    ]


def recorded(variant: str, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and rows of a run of the study `seqgan`."""
    folder = ROOT / "runs/studies/seqgan" / variant / f"seed-{seed}"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return json.loads((folder / "summary.json").read_text()), rows


def quality(metrics: dict[str, Any]) -> str:
    return f"{metrics['accuracy']:.4f} / {metrics['jsd']:.4f}".replace("0.", ".")


def between(name: str, text: str) -> list[str]:
    """What stands between the marks of this name."""
    return re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, flags=re.DOTALL)


def test_records_are_small() -> None:
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.startswith("/")]
    ignored = {path for pattern in patterns if "seed-" in pattern for path in ROOT.glob(pattern)}
    files = {path for folder in FOLDERS for path in folder.glob("*/seed-*/*") if path.is_file()}
    assert sum(path.stat().st_size for path in files - ignored) < 16_000_000  # some 12 kB a run
