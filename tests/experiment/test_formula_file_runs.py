"""Runs on a file of formulae: a checker that is code runs only with consent, and the file must stay as it was."""

import json
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from formula_env.cli import main
from formula_env.experiment.checkpoint import KIND, checkpoints, read_checkpoint
from formula_env.experiment.run_report import run_name
from formula_env.files import save_state
from tests.experiment.commands import assert_same_run, complaint, start

SUMS = [f"{a}+{b}={a + b}" for a in range(10) for b in range(10)]
TINY = shlex.split(
    "--algo.layers 1 --algo.heads 2 --algo.hidden-dim 8 --algo.rounds 4 --eval-every 2 --eval-samples 50"
)
CHECKER = """
from pathlib import Path

def check(formulae):
    Path(__file__).with_name("it-ran").touch()
    return ["=" in formula for formula in formulae]
"""
COMMANDS = {
    "resume": [],
    "evaluate": ["--samples", "50", "--json"],
    "sample": ["-n", "3", "--format", "jsonl"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a file of formulae up to 6 symbols, whose checker is a function of another file."""
    place = tmp_path_factory.mktemp("place")
    (place / "lines.txt").write_text("\n".join([*SUMS, "no equation"]))
    (place / "mine.py").write_text(CHECKER)
    task = ["--task", "formula-file", "--task.path", str(place / "lines.txt"), "--task.held-out-size", "10"]
    checker = ["--task.checker", f"{place / 'mine.py'}:check"]
    assert main(["train", "mle", *task, *checker, *TINY, "--out", str(place / "run")]) == 0
    assert (place / "it-ran").exists(), "by one's own command line"
    return place


def test_the_report_of_what_was_read_is_one_line_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The last line ends, too, before anything else is printed."""
    (tmp_path / "lines.txt").write_text("1+1=2\n1+1=3\n1+2=3\n")
    task = ["--task", "formula-file", "--task.path", str(tmp_path / "lines.txt"), "--task.checker", "equation"]
    assert main(["train", "mle", *task, *TINY, "--out", str(tmp_path / "run")]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[1] == "line 2 is left out, it is not correct: 1+1=3"
    assert lines[2].startswith("training 0/4")


def test_the_title_of_a_summary_has_no_hash_and_nothing_empty(place: Path) -> None:
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert len(summary["task_options"]["sha256"]) == 64
    assert summary["task_options"]["tokens"] == ""
    checker = summary["task_options"]["checker"]
    shown = f"path lines.txt, checker {checker}, held_out_size 10, split_seed 0"
    assert run_name(summary) == f"mle on formula-file ({shown}), seed 0"


def test_an_interrupted_run_whose_checker_is_code_says_how_to_go_on(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    task = ["--task", "formula-file", "--task.path", str(place / "lines.txt")]
    checker = ["--task.checker", f"{place / 'mine.py'}:check"]
    many = ["--algo.rounds", "100000", "--eval-every", "100000"]
    process = start("train", "mle", *task, *checker, *TINY, *many, "--out", folder)
    while not checkpoints(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert err.splitlines()[-1].endswith(f"go on with: formula-env resume {folder} --trust-checker")


def test_novel_samples_are_not_in_the_file(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither among the lines that were trained on nor among the held-out ones."""
    capfd.readouterr()
    command = ["sample", str(place / "run"), "-n", "300", "--novel", "--unique", "--trust-checker"]
    assert main(command) == 0
    written = set(capfd.readouterr().out.split())
    assert len(written) == 300
    assert not written & set(SUMS)


@pytest.fixture
def run(place: Path) -> Path:
    (place / "it-ran").unlink(missing_ok=True)
    return place / "run"


@pytest.mark.parametrize(("command", "options"), [*COMMANDS.items(), ("found", ["--format", "latex"])])
def test_code_runs_only_with_consent(
    command: str, options: list[str], run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = complaint(capfd, command, str(run), *options)
    assert f"'{run.parent / 'mine.py'}:check', which is code" in told
    assert "--trust-checker" in told
    assert not (run.parent / "it-ran").exists()
    assert main([command, str(run), *options, "--trust-checker"]) == 0
    assert (run.parent / "it-ran").exists()


def test_the_code_gives_the_verdicts(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["sample", str(run), "-n", "300", "--format", "jsonl", "--trust-checker"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {row["correct"] for row in rows} == {True, False}, "an untrained generator writes both"
    ended = [row for row in rows if len(row["formula"]) <= 6]
    assert all(row["correct"] == ("=" in row["formula"]) for row in ended)
    assert not any(row["correct"] for row in rows if row not in ended)


def edited(run: Path, folder: Path, **options: Any) -> Path:
    """A run folder of these files, with other options of its task."""
    folder.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["task"] |= options
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("checker", ["stranger:check", "command:touch it-ran", "command:", "equation.py:check"])
def test_no_form_of_code_runs_by_itself(
    command: str, checker: str, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("stranger.py", "equation.py"):
        (tmp_path / name).write_text(CHECKER)
    folder = edited(run, tmp_path / "run", checker=checker)
    assert "--trust-checker" in complaint(capfd, command, str(folder))
    assert not (tmp_path / "it-ran").exists()


def test_a_checkpoint_brings_no_code_of_its_own(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its settings name another checker than the run's, which is code or not: with consent or without."""
    (tmp_path / "other.py").write_text(CHECKER)
    for checker, consent in (("equation", []), (f"{run.parent / 'mine.py'}:check", ["--trust-checker"])):
        folder = edited(run, tmp_path / ("trusted" if consent else "named"), checker=checker)
        for path in checkpoints(folder):
            state = read_checkpoint(path)
            settings = yaml.safe_load(state["settings"])
            settings["task"]["checker"] = f"{tmp_path / 'other.py'}:check"
            save_state(path, state | {"settings": yaml.safe_dump(settings)}, KIND)
        for command in COMMANDS:
            told = complaint(capfd, command, str(folder), *consent)
            assert "does not fit its config.yaml: the task has" in told
            assert not (tmp_path / "it-ran").exists()


def test_another_file_is_refused(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = run.parent / "lines.txt"
    before = file.read_bytes()
    weights = {path: path.read_bytes() for path in checkpoints(run)}
    try:
        file.write_bytes(before + b"\n9+9=18")
        for command in COMMANDS:
            told = complaint(capfd, command, str(run), "--trust-checker")
            assert f"{file} has changed since it was first read" in told
        file.unlink()
        assert f"{file} does not exist" in complaint(capfd, "resume", str(run), "--trust-checker")
    finally:
        file.write_bytes(before)
    assert {path: path.read_bytes() for path in checkpoints(run)} == weights
    assert main(["evaluate", str(run), "--samples", "50", "--trust-checker"]) == 0


def test_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """With a named checker, which needs no consent: four rounds, and two with two more."""
    (tmp_path / "lines.txt").write_text("\n".join(SUMS))
    task = ["--task", "formula-file", "--task.path", str(tmp_path / "lines.txt"), "--task.checker", "equation"]
    whole = tmp_path / "whole"
    assert main(["train", "mle", *task, *TINY, "--out", str(whole)]) == 0
    half = edited(whole, tmp_path / "half")
    (half / "summary.json").unlink()
    checkpoints(half)[-1].unlink()
    assert main(["resume", str(half)]) == 0
    assert_same_run(whole, half)
