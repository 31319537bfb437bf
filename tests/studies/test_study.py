"""Studies: run, complete, redraw from rows alone, and what is said of a wrong `study.toml`."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from formula_env.agents.seqgan import SeqGAN
from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.config import algo_config, save_config
from formula_env.studies.records import incomplete
from formula_env.studies.spec import load_study, study_command
from formula_env.studies.study_report import our_numbers, shaken, study_readme
from tests.experiment.commands import complaint, rows_without_time, runs_in_this_process, start

pytestmark = pytest.mark.slow

HEAD = """
title = "A small study"
thesis = "nowhere"
about = "Two algorithms and an analysis."
seeds = [0, 1]

[defaults]
eval_every = 5
eval_samples = 200
[defaults.task]
name = "binary-sum"
length = 4
[defaults.data]
size = 100

"""
MLE = """[variants.mle]
label = "likelihood"
algorithm = "mle"
[variants.mle.algo]
rounds = 20
hidden_dim = 8

"""
GAN = """[variants.gan]
algorithm = "gumbel-softmax-gan"
[variants.gan.algo]
rounds = 20
batch_size = 8
hidden_dim = 8
hard = false

"""
LIMITS = """[variants.limits]
analysis = "switch-probability"
seeds = [0]

"""
SHOWN = """[[figures]]
name = "curves"
kind = "curves"
title = "Curves"
variants = ["mle", "gan"]
[figures.options]
[[figures.options.panels]]
metric = "eval/accuracy"
label = "correct"
lines = [{ value = 0.6, label = "thesis" }]

[[figures]]
name = "bars"
kind = "distribution"
variants = ["gan"]
[figures.options]
with_data = true
spikes = 1

[[figures]]
name = "table"
kind = "sequences"
variants = ["mle", "gan"]

[[claims]]
thesis = "some are correct"
variant = "gan"
metrics = ["accuracy", "coverage", "train/logit_gap"]
verdict = "reproduced"
reason = "It says so."
range = [0.0, 1.0]

[[claims]]
thesis = "0.1192"
variant = "limits"
row = { vocab_size = 2, bound = 1.0 }
metrics = ["exact"]
verdict = "refuted"
reason = "It can't be."
range = [0.5, 0.6]
"""
UNSHOWN = HEAD + MLE + GAN + LIMITS
STUDY = UNSHOWN + SHOWN


OPTIONS = "[figures.options]\n"
WRONG_OPTIONS = [
    (
        OPTIONS,
        'band = "rnge"',
        "figure curves: unknown band 'rnge'; perhaps you meant range; there are: range, int",
    ),
    (
        OPTIONS,
        'x = "rounds"',
        "figure curves: unknown x 'rounds'; perhaps you meant round; there are: epoch, round",
    ),
    (OPTIONS, "x = 3", "figure curves: unknown x 3; there are: epoch, round"),
    (OPTIONS, 'side_by_side = "no"', "figure curves: side_by_side must be bool, got 'no'"),
    (OPTIONS, "log = [1]", "figure curves: unknown option 'log' in curves"),
    ("with_data = true", "with_data = 1", "figure bars: with_data must be bool, got 1"),
    ("spikes = 1", "spikes = true", "figure bars: spikes must be int, got True"),
    ("spikes = 1", "spikes = -1", "figure bars: spikes must be at least 0, got -1"),
    ("spikes = 1", 'ylim = [0, "1"]', "figure bars: ylim must be list[float] | None, got [0, '1']"),
    ("spikes = 1", "ylim = [0, 1, 2]", "figure bars: ylim must be two numbers, got [0, 1, 2]"),
    ("spikes = 1", "ylim = []", "figure bars: ylim must hold at least one, got []"),
    ('kind = "sequences"', 'kind = "sequences"\noptions.num = 0', "figure table: num must be at least 1, got 0"),
    (
        'kind = "sequences"',
        'kind = "scatter"\noptions.rounds = [1.5]',
        "figure table: rounds must be list[int], got",
    ),
    ('kind = "sequences"', 'kind = "scatter"\noptions.rounds = []', "figure table: rounds must hold at least one"),
    (
        'kind = "sequences"',
        'kind = "bounds"\noptions.analysis = "limit"',
        "unknown variant 'limit'; perhaps you mea",
    ),
    (
        'kind = "sequences"',
        'kind = "intervals"\noptions.panels = []',
        "figure table: panels must hold at least one",
    ),
    (
        '"eval/accuracy"',
        '"eval/jds"',
        "figure curves: panels 0: unknown metric 'eval/jds'; perhaps you meant eval/jsd",
    ),
    ('"eval/accuracy"', '"jsd"', "figure curves: panels 0: unknown metric 'jsd'; perhaps you meant eval/jsd"),
    ('"eval/accuracy"', '"phase"', "figure curves: panels 0: unknown metric 'phase'; there are: eval/accuracy"),
]


def write_study(folder: Path, text: str = STUDY) -> Path:
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run."""
    folder = write_study(tmp_path_factory.mktemp("studies") / "small")
    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    return folder


@pytest.fixture
def in_this_process() -> Iterator[None]:
    with runs_in_this_process():
        yield


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_run_is_recorded(done: Path) -> None:
    for variant in ("mle", "gan"):
        for seed in (0, 1):
            folder = done / variant / f"seed-{seed}"
            summary = json.loads((folder / "summary.json").read_text())
            assert (summary["seed"], summary["rounds"]) == (seed, 20)
            assert [row["round"] for row in rows_without_time(folder)] == [0, 5, 10, 15, 20]
            assert [row["epoch"] for row in rows_without_time(folder)][-1] == 20 * (
                128 if variant == "mle" else 8
            ) / 100
    assert len(json.loads((done / "limits" / "seed-0" / "rows.json").read_text())["rows"]) == 3
    assert incomplete(load_study(done)) == []
    for name in ("curves", "bars", "table"):
        assert (done / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (done / "figures" / f"{name}.svg").read_bytes()


def test_what_is_done_is_not_done_again(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(done)
    assert main(["study", str(done)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "complete; nothing was run or changed" in out
    assert contents(done) == before


def test_nothing_that_is_there_is_replaced_unasked(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / done.name
    shutil.copytree(done, copy)
    (copy / "README.md").write_text("my own words")
    (copy / "figures" / "bars.png").write_bytes(b"of another version of matplotlib")
    (copy / "figures" / "of-old.png").touch()
    (copy / "figures" / "notes.txt").touch()
    before = contents(copy)
    assert main(["study", str(copy)]) == 0
    assert contents(copy) == before
    capsys.readouterr()
    assert main(["figures", str(copy)]) == 2
    assert contents(copy) == before
    (line,) = capsys.readouterr().err.splitlines()
    for name in ("figures/bars.png", "figures/of-old.png", "README.md", f"formula-env figures {copy} --replace"):
        assert name in line
    assert main(["figures", str(copy), "--replace"]) == 0
    after = contents(copy)
    assert after.keys() - contents(done).keys() == {Path("figures/notes.txt")}
    assert {path: after[path] for path in contents(done)} == contents(done)


def test_what_is_missing_of_the_figures_is_drawn_unasked(done: Path, tmp_path: Path) -> None:
    copy = tmp_path / done.name
    shutil.copytree(done, copy)
    (copy / "README.md").unlink()
    (copy / "figures" / "bars.svg").unlink()
    assert main(["study", str(copy)]) == 0
    assert contents(copy) == contents(done)


def test_a_study_that_grew_keeps_its_figures_until_they_may_be_replaced(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / done.name
    shutil.copytree(done, copy)
    (copy / "study.toml").write_text(STUDY.replace("seeds = [0]", "seeds = [0, 1]").replace("small", "larger"))
    assert main(["study", str(copy)]) == 0
    assert "README.md would be replaced" in capsys.readouterr().err
    kept = contents(copy)
    assert {path: kept[path] for path in contents(done) if path.name != "study.toml"} == {
        path: content for path, content in contents(done).items() if path.name != "study.toml"
    }
    assert incomplete(load_study(copy)) == []


def test_numbers_come_from_the_rows(done: Path) -> None:
    study = load_study(done)
    scores = [json.loads((done / "gan" / f"seed-{s}" / "summary.json").read_text())["accuracy"] for s in (0, 1)]
    gaps = [rows_without_time(done / "gan" / f"seed-{s}")[-1]["train/logit_gap"] for s in (0, 1)]
    told = our_numbers(study, study.claims[0])
    assert f"accuracy {sum(scores) / 2:.2%} ({min(scores):.2%} – {max(scores):.2%})" in told
    assert f"logit gap {sum(gaps) / 2:.3g}" in told
    assert our_numbers(study, study.claims[1]) == "0.1192"
    assert shaken(study) == [study.claims[1]]
    readme = (done / "README.md").read_text()
    assert readme == study_readme(study)
    assert told in readme
    assert "no longer what these rows show (was: refuted)" in readme


def test_figures_are_made_from_rows_only(done: Path, tmp_path: Path) -> None:
    """Without checkpoints, run figures or logs, in another place: the same bytes."""
    copy = tmp_path / done.name
    shutil.copytree(done, copy, ignore=shutil.ignore_patterns("checkpoint-*", "figures", "log.txt", "README.md"))
    (copy / "figures").mkdir()
    (copy / "figures" / "of-old.png").touch()
    assert main(["figures", str(copy), "--replace"]) == 0
    for path in (done / "figures").iterdir():
        assert (copy / "figures" / path.name).read_bytes() == path.read_bytes()
    assert not (copy / "figures" / "of-old.png").exists()
    assert (copy / "README.md").read_text() == (done / "README.md").read_text()


DAMAGES = (
    "cut",
    "lost rows",
    "lost summary",
    "scrambled summary",
    "a gap",
    "lost samples",
    "unfinished, scrambled row",
)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("damage", "kept"),
    [*((damage, "checkpoint-*") for damage in DAMAGES), ("cut", "nothing"), ("lost summary", "nothing")],
)
def test_damaged_records_are_named_and_run_again_and_the_rest_is_kept(
    done: Path, tmp_path: Path, damage: str, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the checkpoints of where it was made, or without, as in a fresh clone."""
    copy = tmp_path / done.name
    ignored = ["log.txt", "figures", "README.md", *([] if kept == "checkpoint-*" else ["checkpoint-*"])]
    shutil.copytree(done, copy, ignore=shutil.ignore_patterns(*ignored))
    (copy / "study.toml").write_text(UNSHOWN)
    broken = copy / "mle" / "seed-1"
    rows = broken / "metrics.jsonl"
    if damage == "cut":
        rows.write_text(rows.read_text()[:-60])
    elif damage == "lost rows":
        rows.unlink()
    elif damage == "lost summary":
        (broken / "summary.json").unlink()
    elif damage == "scrambled summary":
        (broken / "summary.json").write_text("{")
    elif damage == "unfinished, scrambled row":
        (broken / "summary.json").unlink()
        rows.write_text("scrambled" + rows.read_text())
    elif damage == "a gap":
        lines = rows.read_text().splitlines(keepends=True)
        rows.write_text("".join(lines[:2] + lines[3:]))
    else:
        (broken / "samples.txt").unlink()
    before = contents(copy)
    assert main(["figures", str(copy)]) == 2
    if (damage, kept) != ("lost summary", "checkpoint-*"):  # which is only unfinished
        assert main(["study", str(copy)]) == 2
        assert f"formula-env study {copy} --replace" in capsys.readouterr().err
        assert contents(copy) == before
        assert main(["study", str(copy), "--replace"]) == 0
    else:
        assert main(["study", str(copy)]) == 0
    assert incomplete(load_study(copy)) == []
    assert rows_without_time(broken) == rows_without_time(done / "mle" / "seed-1")
    assert (broken / "samples.txt").read_bytes() == (done / "mle" / "seed-1" / "samples.txt").read_bytes()
    after = contents(copy)
    for path in before:
        if path.parts[:2] != ("mle", "seed-1"):
            assert after[path] == before[path]


@pytest.mark.usefixtures("in_this_process")
def test_what_is_run_again_is_said(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / done.name
    shutil.copytree(done, copy, ignore=shutil.ignore_patterns("figures", "README.md"))
    (copy / "study.toml").write_text(UNSHOWN)
    rows = copy / "gan" / "seed-0" / "metrics.jsonl"
    rows.write_text(rows.read_text()[:-60])
    assert main(["study", str(copy), str(copy), "--replace"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("small/gan/seed-0 is run again: ")
    assert "metrics.jsonl was altered since the run wrote it" in told[0]
    assert told[1].split()[:2] == ["5/5", "small/gan/seed-0"]


def test_an_analysis_is_computed_again_when_the_study_asks_for_another(done: Path, tmp_path: Path) -> None:
    copy = tmp_path / done.name
    shutil.copytree(done, copy)
    text = STUDY.replace("switch-probability", "sampling")
    (copy / "study.toml").write_text(text[: text.index("[[claims]]")])
    assert [run.name for run, _ in incomplete(load_study(copy))] == ["small/limits/seed-0"]
    assert main(["study", str(copy)]) == 2
    assert main(["study", str(copy), "--replace"]) == 0
    assert json.loads((copy / "limits" / "seed-0" / "rows.json").read_text())["analysis"] == "sampling"


LONG_MLE = MLE.replace("rounds = 20", "rounds = 600")
"""Long enough to be stopped by a signal, a second or more after its first checkpoint."""


def test_a_killed_run_is_named_as_such_and_goes_on(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "small", HEAD.replace("[0, 1]", "[0]") + LONG_MLE + LIMITS)
    process = start("study", folder, "--jobs", 1)
    while not checkpoints(folder / "mle" / "seed-0"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    (child,) = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_child(path, process.pid)]
    os.kill(child, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "1 of 2 runs failed, first small/mle/seed-0: killed by SIGKILL" in err.splitlines()[-1]
    reached = checkpoints(folder / "mle" / "seed-0")[-1].name
    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    assert reached < checkpoints(folder / "mle" / "seed-0")[-1].name


def is_child(path: Path, parent: int) -> bool:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def test_a_stopped_study_goes_on(done: Path, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "small", HEAD + LONG_MLE + GAN.replace("gan]", "gan]\nseeds = [0]", 1))
    process = start("study", folder, "--jobs", 2)
    while not checkpoints(folder / "mle" / "seed-1"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: formula-env study {folder}" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (folder / "mle" / "seed-1" / "summary.json").exists()
    reached = checkpoints(folder / "mle" / "seed-1")[-1].name
    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    assert reached < checkpoints(folder / "mle" / "seed-1")[-1].name
    assert rows_without_time(folder / "gan" / "seed-0") == rows_without_time(done / "gan" / "seed-0")


def test_a_run_that_fails_is_named_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = GAN.replace("hard = false", "hard = false\ngenerator_learning_rate = 1e30")
    folder = write_study(tmp_path / "small", HEAD + failing + MLE.replace("mle]", "mle]\nseeds = [0]", 1))
    # Side by side, either of the two may be the first to fail.
    assert main(["study", str(folder), "--jobs", "1"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "2 of 3 runs failed, first small/gan/seed-0:" in last
    assert "smaller learning rate" in last
    assert {run.name for run, _ in incomplete(load_study(folder))} == {"small/gan/seed-0", "small/gan/seed-1"}


def test_run_anew_elsewhere(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In processes: what they record is what runs in this process did."""
    copy, again = tmp_path / "small", tmp_path / "again"
    shutil.copytree(done, copy)
    (copy / "study.toml").write_text(text := STUDY.replace("seeds = [0, 1]", "seeds = [0]"))
    before = contents(copy)
    assert main(["study", str(copy), "--out", str(again), "--jobs", "2"]) == 0
    out, err = capsys.readouterr()
    assert "3 figures and README.md" in out
    assert "3/3" in err
    assert "these rows don't support 'refuted' of: 0.1192" in err
    assert contents(copy) == before
    for variant in ("mle", "gan"):
        assert rows_without_time(again / "small" / variant / "seed-0") == rows_without_time(
            done / variant / "seed-0"
        )
    (again / "small" / "study.toml").write_text(text + "\n")
    assert main(["study", str(copy), "--out", str(again)]) == 2


def test_a_cells_preset_are_its_settings_over_which_its_own_prevail(tmp_path: Path) -> None:
    preset = 'algorithm = "seqgan"\npreset = "thesis"'
    study = load_study(write_study(tmp_path / "small", STUDY.replace('algorithm = "mle"', preset)))
    config = study.variants["mle"].config(0)
    assert config.algo == algo_config("seqgan", {**SeqGAN.presets["thesis"], "rounds": 20, "hidden_dim": 8})
    assert SeqGAN.presets["thesis"]["rounds"] == 2000


def test_reports(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(done), str(done / "mle" / "seed-0")]) == 0
    out = capsys.readouterr().out
    assert "A small study" in out
    assert "likelihood, seed 0" in out
    assert "random sampler" in out
    assert main(["report", "--markdown", str(done)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| [small](runs/studies/small/README.md) | some are correct | accuracy ")


def test_a_page_is_of_runs_and_not_of_a_study(
    done: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    line = complaint(capfd, "report", str(done / "mle" / "seed-0"), str(done), "--html", str(page))
    assert f"{done} is a study, and --html shows runs; give folders of runs, such as {done}/VARIANT/seed-0" in line
    assert not page.exists()
    assert main(["report", str(done / "mle" / "seed-0"), "--html", str(page)]) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 1]", "sedes = [0, 1]", "unknown key 'sedes'; perhaps you meant seeds; there are: title"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds must be a list of different whole numbers, got [0, 0]"),
        ("seeds = [0, 1]", "seeds = 3", "seeds must be a list"),
        ("seeds = [0, 1]", "seeds = [-1]", "seed must be from 0"),
        ("seeds = [0, 1]", "seeds = [true]", "seeds must be a list"),
        (
            'algorithm = "mle"',
            'algorithm = "vae"',
            "variants.mle: unknown algorithm 'vae'; there are:",
        ),
        (
            'algorithm = "mle"',
            'algorythm = "mle"',
            "unknown key 'algorythm' in variants.mle; perhaps you meant algorithm; ",
        ),
        ('algorithm = "mle"', "", "variants.mle: algorithm is missing"),
        (
            'algorithm = "mle"',
            'algorithm = "vanilla-gan"',
            "variants.mle: vanilla-gan can't learn binary-sum; it is",
        ),
        (
            "rounds = 20\nhidden",
            "roundz = 20\nhidden",
            "variants.mle: unknown algo setting 'roundz'; perhaps you meant rounds; there are: ",
        ),
        (
            'algorithm = "mle"',
            'algorithm = "mle"\npreset = "thesis"',
            "unknown preset 'thesis'; there are: trans",
        ),
        (
            'algorithm = "mle"',
            'algorithm = "seqgan"\npreset = "thesiz"',
            "unknown preset 'thesiz'; perhaps you meant t",
        ),
        ('algorithm = "mle"', 'algorithm = "seqgan"\npreset = ["thesis"]', "unknown preset ['thesis']; there are"),
        ("[defaults.task]", "keep_samples = 3\n[defaults.task]", "keep_samples must be a list of rounds, got 3"),
        ("[variants.limits]", "[variants.limits]\nlength = 3", "unknown key 'length' in variants.limits"),
        ("[defaults]", "[defaults]\ncolour = 3", "unknown key 'colour' in defaults"),
        ("range = [0.0, 1.0]", "range = [0.0]", "claims 0: range must be two numbers, got [0.0]"),
        ("range = [0.0, 1.0]", "range = [true, false]", "claims 0: range must be list[float], got [True, False]"),
        (
            "range = [0.0, 1.0]",
            "range = [1.0, 0.0]",
            "claims 0: range must go from the lower to the higher number",
        ),
        ("range = [0.0, 1.0]", "range = [0.0, nan]", "claims 0: range must be two numbers, got [0.0, nan]"),
        (
            '"accuracy", "coverage"',
            '"jds", "coverage"',
            "unknown metric 'jds' in claims 0; perhaps you meant jsd;",
        ),
        (
            '"accuracy", "coverage"',
            '"eval/jsd"',
            "unknown metric 'eval/jsd' in claims 0; there are: accuracy, jsd",
        ),
        ('metrics = ["exact"]', "metrics = []", "claims 1: metrics must name at least one"),
        (
            'variant = "gan"\n',
            'variant = "gan"\nrow = { a = 1 }\n',
            "a claim's row is for analyses; gan is made of runs",
        ),
        ('name = "bars"', 'name = "curves"', "figures must have different names, got curves, curves, table"),
        ('kind = "curves"', 'kind = "pie"', "figure curves: unknown kind 'pie'; there are: bounds"),
        (
            "spikes = 1",
            "spikez = 1",
            "figure bars: unknown option 'spikez' in distribution; perhaps you meant spikes; ",
        ),
        ("[[figures.options.panels]]", "[[figures.options.x]]", "figure curves: curves needs the option 'panels'"),
        (
            'label = "correct"',
            'lgo = true\nlabel = ""',
            "figure curves: unknown key 'lgo' in panels 0; perhaps you meant log;",
        ),
        ('label = "correct"', "", "figure curves: panels 0 lacks the key 'label'"),
        ('label = "correct"', 'label = "c"\nlog = 1', "figure curves: panels 0: log must be bool, got 1"),
        (
            'label = "correct"',
            'label = "c"\nylim = [0]',
            "figure curves: panels 0: ylim must be two numbers, got [0]",
        ),
        (
            'label = "correct"',
            'label = "c"\nxlim = [0, 1]',
            "unknown key 'xlim' in panels 0; perhaps you meant ylim",
        ),
        (
            'label = "correct"',
            'label = "c"\nstart_of = "gun"',
            "unknown variant 'gun' in panels 0, start_of; perhaps you meant gan;",
        ),
        ("value = 0.6,", "valu = 0.6,", "unknown key 'valu' in panels 0, lines 0; perhaps you meant value"),
        ('[{ value = 0.6, label = "thesis" }]', "3", "figure curves: panels 0, lines must be a list of tables"),
        ("rounds = 20\nhidden", "rounds = -20\nhidden", "variants.mle: rounds must be at least 1, got -20"),
        ("length = 4", "length = 5", "length must be an even number"),
        (
            'analysis = "switch-probability"',
            'analysis = "tea-leaves"',
            "unknown analysis 'tea-leaves'; there are: alternator, b",
        ),
        (
            'variants = ["gan"]',
            'variants = ["gun"]',
            "unknown variant 'gun'; perhaps you meant gan; there are: mle",
        ),
        ('verdict = "refuted"', 'verdict = "nonsense"', "unknown verdict 'nonsense'; there are: reproduced"),
        (
            'kind = "curves"',
            'knd = "curves"',
            "unknown key 'knd' in figures 0; perhaps you meant kind; there are: name",
        ),
        ('title = "A small study"', "", "title must be there"),
        ("[variants.mle]", "[variants.mle", "is not TOML"),
        ("eval_every = 5", "eval_every = 0", "eval_every must be at least 1"),
        *((old, f"{old}{new}\n" if old == OPTIONS else new, message) for old, new, message in WRONG_OPTIONS),
    ],
)
def test_a_wrong_study_is_refused_in_one_line_before_anything_runs(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_study(tmp_path / "wrong", STUDY.replace(old, new, 1))
    assert main(["study", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder / "study.toml") in line
    assert message in line
    assert [path.name for path in folder.iterdir()] == ["study.toml"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('metric = "eval/accuracy"', 'metric = "eval/mse"', "figure curves of kind curves lacks or can't use"),
        (
            'kind = "sequences"\nvariants = ["mle", "gan"]',
            'kind = "sampling"\nvariants = ["mle"]',
            "mle is made of runs",
        ),
        ('"accuracy", "coverage"', '"mse", "coverage"', "gan has no metric 'mse'"),
        ('metric = "eval/accuracy"', 'metric = "train/charm"', "figure curves of kind curves lacks or can't use"),
        (
            "rounds = 20\nhidden",
            "rounds = 30\nhidden",
            "was run with other settings than study.toml has now (algo.rounds: 20, not 30",
        ),
        ("seeds = [0, 1]", "seeds = [0, 1, 2]", "mle/seed-2: not begun (and 1 more); run: formula-env study"),
        ('metrics = ["exact"]', 'metrics = ["vague"]', "0 rows of limits have vague"),
        ("bound = 1.0 }", "bound = 2.0 }", "0 rows of limits have exact where"),
    ],
)
def test_a_study_that_does_not_fit_its_rows_is_refused(
    done: Path, old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(done, copy)
    (copy / "study.toml").write_text(STUDY.replace(old, new, 1))
    assert main(["figures", str(copy)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


# --- a checker that is code -----------------------------------------------------------------------------------

CHECKER = """
from pathlib import Path

def check(formulae):
    Path(__file__).with_suffix(".ran").touch()
    return ["=" in formula for formula in formulae]
"""
CODE_STUDY = """
title = "A checker of one's own"
thesis = "nowhere"
about = "One algorithm."
seeds = [0]
[variants.mle]
algorithm = "mle"
eval_every = 2
eval_samples = 50
algo = {{ rounds = 2, hidden_dim = 8 }}
[variants.mle.task]
name = "formula-file"
path = "{place}/lines.txt"
checker = "{place}/mine.py:check"
held_out_size = 2
"""


def code_study(place: Path) -> Path:
    """A study without a run, on a file of formulae, whose checker is a function of another file."""
    (place / "lines.txt").write_text("\n".join(f"{a}+1={a + 1}" for a in range(9)))
    for name in ("mine", "other"):
        (place / f"{name}.py").write_text(CHECKER)
    (place / "code").mkdir()
    (place / "code" / "study.toml").write_text(CODE_STUDY.format(place=place))
    return place / "code"


def test_the_checker_of_a_study_runs_only_with_consent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = code_study(tmp_path)
    for command in ("study", "figures", "report"):
        message = complaint(capfd, command, str(study))
        assert f"'{tmp_path}/mine.py:check', which is code" in message
        assert message.endswith("--trust-checker")
        assert not (tmp_path / "mine.ran").exists()
        assert not (study / "mle").exists()
    for command in ("study", "figures", "report"):
        assert main([command, str(study), "--trust-checker"]) == 0, capfd.readouterr().err
    assert (tmp_path / "mine.ran").exists()
    assert json.loads((study / "mle/seed-0/summary.json").read_text())["rounds"] == 2


def test_a_record_brings_no_code_but_that_of_its_study(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With consent or without: the record of a run names another function than `study.toml`."""
    study = code_study(tmp_path)
    config = load_study(study, trust_checker=True).variants["mle"].config(0)
    folder = study / "mle/seed-0"
    folder.mkdir(parents=True)
    save_config(config, folder)
    text = (folder / "config.yaml").read_text()
    assert "mine.py:check" in text
    (folder / "config.yaml").write_text(text.replace("mine.py:check", "other.py:check"))
    for consent in ([], ["--trust-checker"]):
        assert "which is code" in complaint(capfd, "study", str(study), *consent)
    assert not (tmp_path / "other.ran").exists()


def test_the_command_that_goes_on_with_a_study_has_the_consent(tmp_path: Path) -> None:
    study = code_study(tmp_path)
    assert study_command([load_study(study, trust_checker=True)]) == f"formula-env study {study} --trust-checker"
