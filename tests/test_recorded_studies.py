"""The studies in `runs/studies`: complete, supporting their verdicts, and shown in README as they are."""

import re
from pathlib import Path

import pytest

from formula_env.studies.records import incomplete
from formula_env.studies.spec import load_study
from formula_env.studies.study_figures import draw
from formula_env.studies.study_report import comparisons_table, shaken, studies_table, study_readme
from tests.figure_checks import check_figure

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


def test_readme_shows_what_was_found() -> None:
    text = (ROOT / "README.md").read_text()
    studies = [load_study(folder) for folder in FOLDERS]
    assert between("studies", text) == [studies_table(studies)]
    assert between("comparisons", text) == [table for table in [comparisons_table(studies)] if table]
    for path in re.findall(r"\]\((runs/[^)]+)\)", text):
        assert (ROOT / path).exists(), path


def between(name: str, text: str) -> list[str]:
    """What stands between the marks of this name."""
    return re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, flags=re.DOTALL)


def test_records_are_small() -> None:
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.startswith("/")]
    ignored = {path for pattern in patterns if "seed-" in pattern for path in ROOT.glob(pattern)}
    files = {path for folder in FOLDERS for path in folder.glob("*/seed-*/*") if path.is_file()}
    assert sum(path.stat().st_size for path in files - ignored) < 10_000_000
