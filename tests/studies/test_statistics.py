"""Statistics by hand and by their laws; comparisons of a made-up study, whose rows are written here."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from scipy.stats import bootstrap

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.config import save_config
from formula_env.experiment.costs import MEASURED
from formula_env.experiment.run_folder import RunFolder
from formula_env.metrics import row_key
from formula_env.studies.records import copy_study, incomplete
from formula_env.studies.spec import Study, load_study
from formula_env.studies.statistics import Outcome, ablate, compare, interval, iqm, mean
from formula_env.studies.study_figures import draw
from formula_env.studies.study_report import comparisons_table, study_readme
from tests.figure_checks import check_figure

# --- numbers --------------------------------------------------------------------------------------------------


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    numbers = [100.0, 3.0, 1.0, 6.0, 4.0, -50.0, 5.0, 7.0]
    assert iqm(numbers) == (3 + 4 + 5 + 6) / 4
    assert mean(numbers) == 76 / 8


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_the_mean_and_shrinks_with_the_root_of_n(seed: int) -> None:
    numbers = np.random.default_rng(seed).normal(3.0, 2.0, size=400)
    for n in (5, 20, 100, 400):
        low, high = interval(numbers[:n])
        assert low < mean(numbers[:n]) < high
        textbook = 2 * 1.96 * numbers[:n].std() / np.sqrt(n)  # which large samples tend to
        assert high - low == pytest.approx(textbook, rel=0.2 if n < 20 else 0.06)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(size=(40, 500))
    low, high = interval(draws)
    assert 0.91 < np.mean((low < 0) & (high > 0)) < 0.98


def test_the_same_numbers_give_the_same_interval_also_side_by_side() -> None:
    numbers = np.random.default_rng(1).normal(size=(7, 3))
    assert interval(numbers[:, 0]) == interval(numbers[:, 0])
    low, high = interval(numbers, iqm)
    for i in range(3):
        assert (low[i], high[i]) == pytest.approx(interval(numbers[:, i], iqm))


def test_seeds_that_agree_leave_no_doubt_and_one_seed_says_nothing() -> None:
    assert interval([1.0] * 5) == (1.0, 1.0)
    with pytest.raises(FormulaError, match="at least two seeds"):
        interval([1.0])


# --- outcomes -------------------------------------------------------------------------------------------------


def outcome(metric: str, ours: list[float], baseline: list[float], goal: float | None = None) -> Outcome:
    return Outcome(metric, ours, baseline, goal, floor=None)


def test_pairs_are_resampled_as_pairs() -> None:
    rng = np.random.default_rng(2)
    baseline = rng.normal(size=10)
    ours = baseline + rng.normal(0.1, 0.5, size=10)
    differences = outcome("accuracy", ours.tolist(), baseline.tolist()).differences
    assert differences == pytest.approx([a - b for a, b in zip(ours, baseline, strict=True)])
    theirs = bootstrap(
        (ours, baseline), lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis), paired=True, vectorized=True,
        n_resamples=10_000, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert interval(differences) == pytest.approx((theirs.low, theirs.high))


def test_pairing_shows_what_the_spread_over_seeds_hides() -> None:
    baseline = [0.1, 0.3, 0.5, 0.7, 0.9]
    found = outcome(
        "accuracy", [b + d for b, d in zip(baseline, [0.01, 0.02, 0.03, 0.02, 0.01], strict=True)], baseline
    )
    assert (found.verdict, found.wins) == ("better", 5)
    assert interval(found.ours)[0] < interval(found.baseline)[1]


@pytest.mark.parametrize(
    ("metric", "ours", "verdict", "wins"),
    [
        ("accuracy", [0.8, 0.9, 0.7], "better", 3),
        ("accuracy", [0.4, 0.3, 0.2], "worse", 0),
        ("accuracy", [0.4, 0.5, 0.9], "no difference shown", 1),
        ("accuracy", [0.5, 0.5, 0.5], "no difference shown", 0),
        ("jsd", [0.4, 0.3, 0.2], "better", 3),
        ("jsd", [0.8, 0.9, 0.7], "worse", 0),
        ("jsd", [0.4, 0.5, 0.9], "no difference shown", 1),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(metric: str, ours: list[float], verdict: str, wins: int) -> None:
    found = outcome(metric, ours, [0.5, 0.5, 0.5])
    assert (found.verdict, found.wins) == (verdict, wins)


def test_a_goal_is_met_in_the_metrics_own_direction() -> None:
    high, low = (outcome(metric, [0.25, 0.5, 0.75], [0.0] * 3, goal=0.5) for metric in ("accuracy", "jsd"))
    assert high.seeds_at_goal == low.seeds_at_goal == 2
    assert high.reaches(0.5)
    assert high.reaches(0.6)
    assert not high.reaches(0.4)
    assert low.reaches(0.4)
    assert not low.reaches(0.6)


# --- a study --------------------------------------------------------------------------------------------------

STUDY = """
title = "Made up"
thesis = "beyond it"
about = "Three variants."
seeds = [0, 1]

[defaults]
algorithm = "mle"
eval_every = 5
[defaults.task]
name = "binary-sum"
length = 4

[variants.ours]
label = "ours"
[variants.small]
label = "MLE 64"
[variants.large]
label = "MLE 128"

[[comparisons]]
question = "four bits"
variant = "ours"
baselines = ["small", "large"]
metrics = ["accuracy", "jsd"]
goals = { accuracy = 0.85, jsd = 0.25 }
"""

FIGURE = """
[[figures]]
name = "end"
kind = "intervals"
variants = ["ours", "small"]
[figures.options]
best_of = ["small", "large"]
panels = [{ metric = "eval/accuracy", label = "correct", lines = [{ value = 0.85, label = "goal" }] }]
"""

BARS = """
[[figures]]
name = "bars"
kind = "distribution"
variants = ["small"]
"""

Curve = list[tuple[float, float]]
RUNS: dict[str, list[Curve]] = {  # by seed: (accuracy, jsd) in rounds 0, 5 and 10
    "ours": [[(0.1, 0.6), (1.0, 0.0), (0.8, 0.3)], [(0.1, 0.6), (0.5, 0.4), (0.9, 0.1)]],
    "small": [[(0.2, 0.6), (0.6, 0.2), (0.7, 0.5)], [(0.2, 0.6), (0.3, 0.5), (0.4, 0.4)]],
    "large": [[(0.2, 0.6), (0.9, 0.4), (0.9, 0.3)], [(0.7, 0.3), (0.8, 0.5), (0.9, 0.6)]],
}
"""Nearest to the truth are, of the baselines, seed 0 of small in round 5, and seed 1 of large in round 0."""


def write_study(folder: Path, text: str = STUDY, **metrics: Any) -> Study:
    """A study with its record, all but figures; `metrics` are written over those of every row."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(text)
    study = load_study(folder)
    for name, curves in RUNS.items():
        for seed, curve in enumerate(curves):
            _write_run(study, name, seed, curve, metrics)
    return study


def _row_key(name: str) -> str:
    return name if name in MEASURED else row_key(name)


def _write_run(study: Study, name: str, seed: int, curve: Curve, metrics: dict[str, Any]) -> None:
    variant = study.variants[name]
    folder = study.run_folder(variant, seed).path
    folder.mkdir(parents=True)
    save_config(variant.config(seed), folder)
    found: dict[str, Any] = {}
    for i, (accuracy, jsd) in enumerate(curve):
        found = {
            "accuracy": accuracy,
            "jsd": jsd,
            "jsd_exact": True,
            "num_formulae": 6,
            "num_samples": 10,
        } | metrics
        phase = "training" if i else "start"
        RunFolder(folder).append_row(
            {"round": 5 * i, "phase": phase} | {_row_key(key): v for key, v in found.items()}
        )
    about = {"algorithm": "mle", "task": "binary-sum", "seed": seed, "rounds": 10, "seconds": 1.0}
    summary = (
        about
        | found
        | {"start_name": "start", "start": {}, "random": {"accuracy": 0.375, "jsd": 0.25, "jsd_exact": True}}
    )
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "samples.txt").write_text("0000\tcorrect\n")


def test_a_comparison_takes_the_last_row_against_the_best_of_all_baselines(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up")
    answer = compare(study, study.comparisons[0])
    accuracy, jsd = answer.outcomes
    assert answer.picked_by == "jsd"
    assert accuracy.ours == [0.8, 0.9]
    assert accuracy.baseline == [0.6, 0.7]
    assert jsd.ours == [0.3, 0.1]
    assert jsd.baseline == [0.2, 0.3]


def test_without_picking_the_last_rows_count_on_both_sides(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", STUDY.replace("goals = {", "picked = false\ngoals = {"))
    last = {
        name: [study.run_folder(study.variants[name], seed).rows()[-1] for seed in (0, 1)]
        for name in ("small", "large")
    }
    accuracy, jsd = compare(study, study.comparisons[0]).outcomes
    assert accuracy.ours == [0.8, 0.9]
    better = [min(rows, key=lambda row: row["eval/jsd"]) for rows in zip(*last.values(), strict=True)]
    assert jsd.baseline == [row["eval/jsd"] for row in better] != [0.2, 0.3]
    assert accuracy.baseline == [row["eval/accuracy"] for row in better]
    how = "MLE 64 or MLE 128, the last generators, of each seed's baselines the best by exact JSD"
    assert how in study_readme(study)


TRIALS = "trial,state,jsd,learning_rate,message\n1,finished,0.3,0.003,\n2,stopped,,0.01,\n3,finished,0.2,0.001,\n"


def tuned(folder: Path, old: str = "", new: str = "") -> str:
    """A study whose first baseline was tuned in three trials."""
    search = folder / "tuning" / "small"
    search.mkdir(parents=True)
    (search / "trials.csv").write_text(TRIALS)
    best = "algorithm: mle\nalgo:\n  learning_rate: 0.001\n  rounds: 7\n  batch_size: 8\n"
    (search / "best.yaml").write_text(best.replace(old, new))
    return STUDY.replace("[variants.small]", '[variants.small]\ntuning = "small"\nalgo = { rounds = 10 }')


def test_tuned_settings_are_those_of_the_best_trial_and_the_page_counts_the_trials(tmp_path: Path) -> None:
    folder = tmp_path / "made-up"
    study = write_study(folder, tuned(folder), cpu_seconds=1234.0)
    before = write_study(tmp_path / "untuned")
    tuned_algo, algo = (each.variants["small"].config(0).algo for each in (study, before))
    assert (tuned_algo.learning_rate, algo.learning_rate) == (0.001, 0.003)
    assert (tuned_algo.batch_size, tuned_algo.rounds) == (8, 10), "the variant's own settings prevail"
    assert (study.variants["small"].trials, study.variants["large"].trials) == (3, None)
    lines = study_readme(study).splitlines()
    at = lines.index("|  | trials of its tuning | CPU seconds |")
    assert lines[at + 3] == "| MLE 64 | 3 | 1,234 |"
    assert lines[at + 4] == "| MLE 128 | none | 1,234 |"
    assert "trials of its tuning" not in study_readme(before)


def test_a_study_that_is_run_anew_elsewhere_takes_its_searches_along(tmp_path: Path) -> None:
    folder = tmp_path / "made-up"
    study = write_study(folder, tuned(folder))
    again = load_study(copy_study(folder, tmp_path / "again"))
    assert again.folder == tmp_path / "again" / "made-up"
    assert again.variants == study.variants
    copy_study(folder, tmp_path / "again")
    (again.folder / "tuning" / "small" / "best.yaml").write_text("algorithm: mle\nalgo: {}\n")
    with pytest.raises(FormulaError, match="holds another version of this study"):
        copy_study(folder, tmp_path / "again")


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        ('tuning = "small"', "algorithm: mle", "algorithm: nce", "is a preset of 'nce', not of mle"),
        ('tuning = "small"', "rounds", "ruonds", "perhaps you meant rounds"),
        ('tuning = "../small"', "", "", "tuning must be"),
        ('tuning = "large"', "", "", "tuning/large/best.yaml"),
        ("tuning = 3", "", "", "tuning must be the name of a folder in"),
        ('tuning = "small"\npreset = "transformer"', "", "", "give tuning or preset"),
    ],
)
def test_wrong_tuned_settings_are_refused_in_one_line(
    line: str, old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tuned(tmp_path, old, new).replace('tuning = "small"', line)
    (tmp_path / "study.toml").write_text(text)
    assert main(["study", str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "variants.small: " in error
    assert message in error


def test_seeds_are_paired_by_their_number(tmp_path: Path) -> None:
    text = STUDY.replace('label = "ours"', 'label = "ours"\nseeds = [1, 0]')
    study = write_study(tmp_path / "made-up", text)
    accuracy, _ = compare(study, study.comparisons[0]).outcomes
    assert (accuracy.ours, accuracy.baseline) == ([0.9, 0.8], [0.7, 0.6])


def test_without_an_exact_jsd_the_nll_picks(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", jsd_exact=False, jsd_floor=0.0123, nll=2.0)
    for name, round_ in (("large", 2), ("small", 0)):  # of seed 0, and of seed 1
        folder = study.run_folder(study.variants[name], 0 if name == "large" else 1).path
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines[round_]["eval/nll"] = 1.9
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    answer = compare(study, study.comparisons[0])
    assert answer.picked_by == "nll"
    assert answer.outcomes[0].baseline == [0.9, 0.2]
    assert "JSD (nats) sampled, floor 0.0123" in study_readme(study)
    assert "picked by NLL" in study_readme(study)


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path / "neither", jsd_exact=False)
    with pytest.raises(FormulaError, match=r"study.toml: the rows of small, large have neither an exact JSD nor"):
        compare(study, study.comparisons[0])
    study = write_study(tmp_path / "lacking", STUDY.replace('["accuracy", "jsd"]', '["accuracy", "jsd", "mse"]'))
    with pytest.raises(
        FormulaError, match=r"study.toml: no number eval/mse in a row; it has: round, phase, eval/accuracy"
    ):
        compare(study, study.comparisons[0])
    study = write_study(tmp_path / "mixed")
    for seed in (0, 1):
        rows = study.run_folder(study.variants["ours"], seed).path / "metrics.jsonl"
        rows.write_text(rows.read_text().replace('"eval/jsd_exact": true', '"eval/jsd_exact": false'))
    with pytest.raises(FormulaError, match=r"study.toml: the JSD is exact on one side of 'four bits' and sampled"):
        compare(study, study.comparisons[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[comparisons]]", "[comparisons]", "comparisons must be tables"),
        ('question = "four bits"', "", "comparisons 0 lacks the key 'question'"),
        (
            "goals = {",
            "gaols = {",
            "unknown key 'gaols' in comparisons 0; perhaps you meant goals; there are: question",
        ),
        ('variant = "ours"', 'variant = "theirs"', "unknown variant 'theirs'; there are: ours, small, large"),
        ('["small", "large"]', '["small", "huge"]', "unknown variant 'huge'; there are: ours, small, large"),
        ('["small", "large"]', "[]", "comparisons 0: baselines must name at least one, got []"),
        ('["small", "large"]', '"small"', "comparisons 0: baselines must be list[str], got 'small'"),
        ('["small", "large"]', '["small", "ours"]', "comparisons 0: ours can't be its own baseline"),
        ('["accuracy", "jsd"]', "[1]", "comparisons 0: metrics must be list[str], got [1]"),
        ('["accuracy", "jsd"]', '["charm"]', "comparisons 0: unknown metric 'charm'; there are: accuracy, jsd"),
        ("jsd = 0.25", "nll = 0.25", "comparisons 0: unknown goal 'nll'; there are: accuracy, jsd"),
        ("jsd = 0.25", 'jsd = "low"', "comparisons 0: the goal of jsd must be a number, got 'low'"),
        (
            "[variants.small]",
            "[variants.small]\nseeds = [0, 2]",
            "comparisons 0: ours and small must have the same seeds",
        ),
        ("seeds = [0, 1]", "seeds = [0]", "comparisons 0: ours has one seed; to compare takes at least two"),
        (
            'label = "MLE 64"',
            'label = "MLE 64"\ndata = { size = 5 }',
            "comparisons 0: ours and small must have the same data",
        ),
        (
            'label = "MLE 128"',
            'label = "MLE 128"\ntask = { length = 6 }',
            "comparisons 0: ours and large must have the same task",
        ),
        (
            '[variants.large]\nlabel = "MLE 128"',
            '[variants.large]\nanalysis = "sampling"',
            "comparisons 0: large is an analysis; only runs can be compared",
        ),
    ],
)
def test_a_wrong_comparison_is_refused_in_one_line(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert STUDY.count(old) == 1
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    assert main(["study", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "study.toml") in line
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


# A resample of two seeds is one of them twice (a quarter each) or both: the interval goes from one to the other.
ACCURACY = (
    "| four bits: ours against MLE 64 or MLE 128, picked by exact JSD | accuracy "
    "| 85.00% [80.00%, 90.00%], IQM 85.00% "
    "| 65.00% [60.00%, 70.00%], IQM 65.00% | +20.00 points | 2 of 2 | **better** "
    "| ≥ 85.00%: reached; 1 of 2 seeds |"
)
JSD = (
    "|  | JSD (nats) | 0.2000 [0.1000, 0.3000], IQM 0.2000 | 0.2500 [0.2000, 0.3000], IQM 0.2500 "
    "| -0.0500 [-0.2000, +0.1000] | 1 of 2 | **no difference shown** | ≤ 0.2500: reached; 1 of 2 seeds |"
)


def test_readme_shows_the_verdicts_and_how_they_came_about(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up")
    lines = study_readme(study).splitlines()
    at = lines.index(ACCURACY)
    assert lines[at + 1] == JSD
    assert lines[at - 2].startswith("| question | metric | ours, the last | baseline | difference |")
    assert lines[at - 1].count("---") == lines[at].count("|") - 1
    assert "picked with the checker, in its favour" in lines[at - 4]
    assert not any("the thesis says" in line for line in lines)


@pytest.mark.slow
def test_a_table_for_the_projects_readme(tmp_path: Path) -> None:
    with_it, again = (write_study(tmp_path / name) for name in ("one", "two"))
    without = write_study(tmp_path / "three", STUDY[: STUDY.index("[[comparisons]]")])
    assert comparisons_table([without]) == ""
    lines = comparisons_table([with_it, without, again]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| [four bits](runs/studies/one/README.md)",
        "| ",
        "| [four bits](runs/studies/two/README.md)",
        "| ",
    ]
    for line, long in zip(lines[2:], (ACCURACY, JSD, ACCURACY, JSD), strict=True):
        assert line.split(" | ")[1:] == re.sub(", IQM [^ ]+", "", long).split(" | ")[1:]


@pytest.mark.slow
def test_report_tells_the_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    write_study(tmp_path / "made-up")
    assert main(["report", str(tmp_path / "made-up")]) == 0
    out = capsys.readouterr().out
    assert "made-up: four bits: ours against MLE 64 or MLE 128, picked by exact JSD" in out
    assert "85.00% [80.00%, 90.00%], IQM 85.00%" in out
    assert "no difference shown" in out
    assert "picked with the checker, in its favour" in " ".join(out.split())
    assert main(["report", "--markdown", str(tmp_path / "made-up")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == re.sub(", IQM [^ ]+", "", JSD)


# --- ablations ------------------------------------------------------------------------------------------------

ABLATION = """
[[ablations]]
question = "four bits"
variant = "ours"
changed = ["small", "large"]
metrics = ["accuracy", "jsd"]
"""


def test_an_ablation_takes_the_last_rows_of_the_same_seeds_on_both_sides(tmp_path: Path) -> None:
    text = (STUDY + ABLATION).replace('label = "ours"', 'label = "ours"\nseeds = [1, 0]')
    study = write_study(tmp_path / "made-up", text)
    found = ablate(study, study.ablations[0])
    assert [(o.metric, o.ours, o.baseline) for o in found["small"]] == [
        ("accuracy", [0.4, 0.7], [0.9, 0.8]),
        ("jsd", [0.4, 0.5], [0.1, 0.3]),
    ]
    assert [o.ours for o in found["large"]] == [[0.9, 0.9], [0.6, 0.3]]


@pytest.mark.slow
def test_a_page_and_the_terminal_show_what_each_change_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path / "made-up", STUDY + ABLATION)
    lines = study_readme(study).splitlines()
    at = lines.index("| four bits | accuracy | JSD (nats) |")
    assert lines[at + 2 : at + 5] == [
        "| ours | 85.00% | 0.2000 |",
        "| MLE 64 | 55.00%; -30.00 [-50.00, -10.00] points: worse | 0.4500; +0.2500 [+0.2000, +0.3000]: worse |",
        "| MLE 128 | 90.00%; +5.00 [+0.00, +10.00] points | 0.4500; +0.2500 [+0.0000, +0.5000] |",
    ]
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["report", str(tmp_path / "made-up")]) == 0
    assert "55.00%; -30.00 [-50.00, -10.00] points: worse" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('changed = ["small", "large"]', "changed = []", "ablations 0: changed must name at least one, got []"),
        (
            'changed = ["small", "large"]',
            'changed = ["huge"]',
            "unknown variant 'huge'; there are: ours, small, large",
        ),
        ('changed = ["small", "large"]', 'changed = ["ours"]', "ablations 0: ours can't be an ablation of itself"),
        ("[[ablations]]", "[[ablation]]", "unknown key 'ablation'; perhaps you meant ablations; there are: title"),
    ],
)
def test_a_wrong_ablation_is_refused_in_one_line(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ABLATION.count(old) == 1
    (tmp_path / "study.toml").write_text(STUDY + ABLATION.replace(old, new))
    assert main(["study", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


# --- figures --------------------------------------------------------------------------------------------------


def test_a_figure_of_intervals_shows_each_seed_and_the_best_baseline(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", STUDY + FIGURE)
    figure = draw(study, study.figures[0])
    (axis,) = figure.axes
    shown = [np.asarray(dots.get_offsets())[:, 0].tolist() for dots in axis.collections[1::2]]
    assert shown == [[0.8, 0.9], [0.7, 0.4], [0.6, 0.7]]
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axis.patches if isinstance(bar, Rectangle)]
    assert np.array(ends) == pytest.approx(np.array([interval(values) for values in shown]))
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["ours", "MLE 64", "best of MLE 64 or MLE 128,\npicked by its JSD"]
    check_figure(figure)


def test_a_band_can_be_the_interval_of_the_mean(tmp_path: Path) -> None:
    text = FIGURE.replace('"intervals"', '"curves"').replace(
        'best_of = ["small", "large"]', 'x = "round"\nband = "wide"'
    )
    study = write_study(tmp_path / "wide", STUDY + text)
    with pytest.raises(FormulaError, match=r"figure end: unknown band 'wide'; there are: range"):
        draw(study, study.figures[0])
    study = write_study(tmp_path / "interval", STUDY + text.replace('"wide"', '"interval"'))
    figure = draw(study, study.figures[0])
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_ydata()) == pytest.approx([0.1, 0.75, 0.85])
    assert line.get_label() == "ours (mean, 95 % interval of 2 seeds)"


def test_what_a_figure_cannot_pick_from_is_refused(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("[[comparisons]]")].replace("[variants.small]", "[variants.small]\nseeds = [0]")
    study = write_study(tmp_path / "made-up", text + FIGURE)
    with pytest.raises(FormulaError, match=r"study.toml: figure end: small and large must have the same seeds"):
        draw(study, study.figures[0])


def test_an_unknown_statistic_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path / "made-up", STUDY + FIGURE.replace("best_of", 'statistic = "mode"\nbest_of'))
    with pytest.raises(FormulaError, match=r"figure end: unknown statistic 'mode'; there are: mean, iqm"):
        draw(study, study.figures[0])


@pytest.mark.slow
def test_a_distribution_is_needed_only_where_it_is_drawn(tmp_path: Path) -> None:
    assert incomplete(write_study(tmp_path / "without", STUDY + FIGURE)) == []
    lacking = incomplete(write_study(tmp_path / "named", STUDY + BARS))
    assert [(run.name, why) for run, why in lacking] == [
        (f"named/small/seed-{seed}", "distribution.csv is missing") for seed in (0, 1)
    ]
    of_all = incomplete(write_study(tmp_path / "of-all", STUDY + BARS.replace('variants = ["small"]', "")))
    assert len(of_all) == 6
