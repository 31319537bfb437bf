"""What learns from examples, the checker or both: the table, and the figure over the number of examples."""

from pathlib import Path

import numpy as np
import pytest

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.studies.sources import sources_table
from formula_env.studies.spec import load_study
from formula_env.studies.study_figures import check_figures, draw
from tests.figure_checks import check_figure
from tests.studies.test_statistics import STUDY, write_study

PLAIN = STUDY[: STUDY.index("[[comparisons]]")]
SOURCES = (
    PLAIN.replace('label = "ours"', 'label = "ours"\nsource = "checker"')
    .replace('label = "MLE 64"', 'label = "MLE 64"\nsource = "examples"')
    .replace('label = "MLE 128"', 'label = "MLE 128"\nsource = "both"\ndata = { size = 3, distinct = true }')
)


def test_the_table_goes_from_examples_to_the_checker(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", SOURCES, novelty=0.25)
    lines = sources_table([study]).splitlines()
    assert lines[0] == "### binary-sum (length 4)"
    assert (
        lines[2] == "| learns from | algorithm | seeds | trials of its tuning | accuracy | JSD (nats) | novelty |"
    )
    page = "(runs/studies/made-up/README.md)"
    assert lines[4:] == [
        f"| 10,000 examples | [MLE 64]{page} | 2 |  | 55.00% (40.00% – 70.00%) | 0.4500 (0.4000 – 0.5000) | 25.00% |",  # noqa: E501
        f"| 3 examples, the checker | [MLE 128]{page} | 2 |  | 90.00% | 0.4500 (0.3000 – 0.6000) | 25.00% |",
        f"| the checker | [ours]{page} | 2 |  | 85.00% (80.00% – 90.00%) | 0.2000 (0.1000 – 0.3000) |  |",
        "| nothing | random symbols |  |  | 37.50% | 0.2500 |  |",
    ]


def test_there_is_a_table_for_each_task(tmp_path: Path) -> None:
    other = SOURCES.replace("length = 4", "length = 6").replace("size = 3", "size = 5")
    studies = [write_study(tmp_path / "four", SOURCES), write_study(tmp_path / "six", other)]
    lines = sources_table([*studies, studies[0]]).splitlines()
    assert [line for line in lines if line.startswith("###")] == [
        "### binary-sum (length 4)",
        "### binary-sum (length 6)",
    ]
    assert sum(line.startswith("| ") for line in lines) == 2 + 3 + 1 + 3 + 3 + 1


def test_a_jsd_that_is_not_exact_gives_way_to_the_likelihood(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", SOURCES, jsd_exact=False, nll=2.0)
    header = sources_table([study]).splitlines()[2]
    assert "NLL (nats)" in header
    assert "JSD" not in header


def test_without_a_likelihood_the_sampled_jsd_has_its_floor(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", SOURCES, jsd_exact=False, jsd_floor=0.02)
    lines = sources_table([study]).splitlines()
    assert "JSD (nats)" in lines[2]
    assert "| 0.4500 (0.4000 – 0.5000) sampled, floor 0.0200 |" in lines[4]


def test_variants_that_name_no_source_are_in_no_table(tmp_path: Path) -> None:
    assert sources_table([write_study(tmp_path / "made-up", STUDY)]) == ""


def test_an_unknown_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(SOURCES.replace('"both"', '"all"'))
    assert main(["study", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown variants.large.source 'all'; there are: examples, both, checker" in line


SIZES = """
[[figures]]
name = "sizes"
kind = "data-sizes"
variants = ["small", "large"]
[figures.options]
algorithms = [{ label = "likelihood", variants = ["small", "large"] }]
panels = [
    { metric = "eval/accuracy", label = "correct (share)" },
    { metric = "eval/jsd", label = "JSD (nats)", log = true, lines = [{ value = 0.1, label = "goal" }] },
]
"""


def test_a_figure_over_the_number_of_examples_shows_means_and_intervals(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", SOURCES + SIZES)
    figure = draw(study, study.figures[0])
    left, right = figure.axes
    assert np.asarray(left.lines[0].get_xdata()).tolist() == [3, 10_000]
    assert np.asarray(left.lines[0].get_ydata()) == pytest.approx([0.9, 0.55])
    assert np.asarray(right.lines[0].get_ydata()) == pytest.approx([0.45, 0.45])
    assert [label.get_text() for label in left.get_xticklabels()] == ["3", "10,000"]
    assert left.get_xscale() == right.get_yscale() == "log"
    check_figure(figure)


def test_a_line_names_variants_of_its_figure(tmp_path: Path) -> None:
    text = SOURCES + SIZES.replace('["small", "large"] }', '["small", "ours"] }')
    study = write_study(tmp_path / "made-up", text)
    with pytest.raises(FormulaError, match="unknown variant 'ours' in algorithms 0; there are: small, large"):
        check_figures(study)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["small", "large"] }', "[] }", "algorithm 'likelihood' must name at least one variant"),
        ('label = "correct (share)"', 'label = "correct", start_of = "small"', "unknown key 'start_of'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_run(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "study.toml").write_text(SOURCES + SIZES.replace(old, new))
    with pytest.raises(FormulaError, match=message):
        check_figures(load_study(tmp_path))


def test_one_seed_has_no_band(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", (SOURCES + SIZES).replace("seeds = [0, 1]", "seeds = [0]"))
    figure = draw(study, study.figures[0])
    assert not figure.axes[0].collections


COST = """
[[figures]]
name = "cost"
kind = "quality-and-cost"
variants = ["small", "large", "ours"]
[figures.options]
algorithms = [{ label = "likelihood", variants = ["small", "large"] }, { label = "ours", variants = ["ours"] }]
panels = [
    { metric = "eval/accuracy", label = "correct (share)" },
    { metric = "eval/jsd", label = "JSD (nats)", log = true },
]
"""


def test_a_figure_of_quality_against_cost_has_a_column_for_each_task(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", SOURCES + COST, cpu_seconds=30.0)
    figure = draw(study, study.figures[0])
    assert len(figure.axes) == 2 * 2  # two metrics; all examples and none, and three of them
    assert [axis.get_title() for axis in figure.axes[:2]] == [
        "binary-sum (length 4)\n10,000 examples",
        "binary-sum (length 4)\n3 examples",
    ]
    drawn = [
        (i, line.get_linestyle(), *(round(float(np.asarray(values)[0]), 6) for values in line.get_data()))
        for i, axis in enumerate(figure.axes)
        for line in axis.lines
    ]
    assert {(i, x, y) for i, style, x, y in drawn if style != ":"} == {
        (0, 30, 0.55), (1, 30, 0.9), (0, 30, 0.85), (2, 30, 0.45), (3, 30, 0.45), (2, 30, 0.2),
    }  # fmt: skip
    random = sorted((i, y) for i, style, _, y in drawn if style == ":")
    assert random == [(0, 0.375), (1, 0.375), (2, 0.25), (3, 0.25)]
    assert figure.axes[-1].get_xscale() == figure.axes[-1].get_yscale() == "log"
    check_figure(figure)
