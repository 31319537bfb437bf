"""Variants whose runs are another study's: read where they are, run only there."""

from pathlib import Path

import pytest

from formula_env.cli import main
from formula_env.studies.records import incomplete, runs_of
from formula_env.studies.sources import sources_table
from formula_env.studies.spec import load_study
from formula_env.studies.study_report import study_readme
from tests.studies.test_sources import SOURCES
from tests.studies.test_statistics import write_study

LEAGUE = """
title = "A league"
thesis = "nowhere"
about = "Runs of others, side by side."

[variants.likelihood]
label = "likelihood"
from = "lender/small"

[variants.ours]
from = "lender/ours"

[[comparisons]]
question = "which is better"
variant = "ours"
baselines = ["likelihood"]
metrics = ["accuracy"]
"""


@pytest.fixture
def league(tmp_path: Path) -> Path:
    write_study(tmp_path / "lender", SOURCES)
    folder = tmp_path / "league"
    folder.mkdir()
    (folder / "study.toml").write_text(LEAGUE)
    return folder


def test_the_rows_are_the_lender_s(league: Path) -> None:
    study = load_study(league)
    assert [variant.label for variant in study.variants.values()] == ["likelihood", "ours"]
    lender = load_study(league.parent / "lender")
    for name, origin in (("likelihood", "small"), ("ours", "ours")):
        ours, theirs = study.variants[name], lender.variants[origin]
        assert (ours.settings, ours.seeds, ours.source) == (theirs.settings, theirs.seeds, theirs.source)
        assert [f.rows() for f in study.folders(ours)] == [f.rows() for f in lender.folders(theirs)]
    assert "| likelihood | 2 |" in study_readme(study)


def test_some_of_the_seeds_may_be_enough(league: Path) -> None:
    text = LEAGUE[: LEAGUE.index("[[comparisons]]")].replace('"lender/ours"', '"lender/ours"\nseeds = [1]')
    (league / "study.toml").write_text(text)
    study = load_study(league)
    (folder,) = study.folders(study.variants["ours"])
    assert folder.rows() == study.run_folder(study.variants["ours"], 1).rows() != []


def test_nothing_of_it_is_run_again(league: Path) -> None:
    study = load_study(league)
    assert runs_of(study) == []
    assert incomplete(study) == []
    assert sources_table([study]) == ""  # they stand in the table of the study that ran them


def test_what_the_lender_lacks_is_said_with_its_command(league: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (league.parent / "lender/small/seed-1/summary.json").unlink()
    assert main(["figures", str(league)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lender/small/seed-1: " in line
    assert line.endswith(f"run: formula-env study {league.parent.resolve() / 'lender'}")


def test_pages_follow_the_lender_s_rows(league: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", str(league)]) == 0
    rows = league.parent / "lender/ours/seed-0/metrics.jsonl"
    rows.write_text(rows.read_text().replace("0.8", "0.75"))
    summary = league.parent / "lender/ours/seed-0/summary.json"
    summary.write_text(summary.read_text().replace("0.8", "0.75"))
    capsys.readouterr()
    assert main(["study", str(league)]) == 0
    assert "README.md" in capsys.readouterr().err, "it says that the page is another one now"


def test_to_run_it_anew_takes_the_lender_too(league: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", str(league), "--out", str(league.parent / "again")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"formula-env: {league} has runs from {league.parent.resolve() / 'lender'}; "
        "give that study, too, to run it anew"
    )
    assert not (league.parent / "again").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('from = "lender"', "variants.ours.from must be \"STUDY/VARIANT\", got 'lender'"),
        ("from = 3", 'variants.ours.from must be "STUDY/VARIANT", got 3'),
        ('from = "lendr/ours"', "lendr is not a study: it holds no study.toml"),
        ('from = "lender/our"', "unknown variant 'our'; perhaps you meant ours; there are: "),
        ('from = "league/ours"', "variants.ours.from must name another study than this one"),
        ('from = "../x"', "the name of a study must be a plain file name, got '..'"),
        ('from = "lender/ours"\nseeds = [0, 7]', "variants.ours.seeds must be among those of lender/ours, [0, 1]"),
        ('from = "lender/ours"\ntask = "x"', "unknown key 'task' in variants.ours; there are: label, seeds, from"),
    ],
)
def test_a_wrong_loan_is_refused_in_one_line(
    table: str, message: str, league: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (league / "study.toml").write_text(LEAGUE.replace('from = "lender/ours"', table))
    assert main(["figures", str(league)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_loan_is_not_lent_again(league: Path, capsys: pytest.CaptureFixture[str]) -> None:
    third = league.parent / "third"
    third.mkdir()
    (third / "study.toml").write_text(LEAGUE.replace("lender/small", "league/likelihood"))
    assert main(["figures", str(third)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "league/study.toml: variants.likelihood is from another study itself; name that one" in line
