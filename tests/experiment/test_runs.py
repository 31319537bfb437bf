"""Whole runs through the command line: what they leave behind, and that they survive being stopped."""

import json
import math
import random
import re
import resource
import shutil
import signal
import time
import zipfile
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from formula_env.agents.mle import MLE
from formula_env.agents.seqgan import SeqGAN
from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.checkpoint import checkpoints, load_checkpoint
from formula_env.experiment.config import algo_config, load_config
from formula_env.experiment.loop import load_algorithm
from formula_env.files import exclusive
from formula_env.tasks import make_task, task_class
from tests.experiment.commands import TINY_MLE, TINY_SEQGAN, assert_same_run, rows_without_time, run, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SeqGAN run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with redirect_stdout(out := StringIO()):
        assert main(["train", "seqgan", *TINY_SEQGAN, "--out", str(folder)]) == 0
    assert "random sampler" in out.getvalue()
    return folder


def test_a_run_leaves_all_that_was_promised(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    metrics = {"accuracy", "jsd", "jsd_exact", "coverage", "uniqueness", "novelty", "num_correct"}
    assert metrics | {"algorithm", "task", "seed", "rounds", "seconds", "start"} <= set(summary)
    assert metrics <= set(summary["start"])
    assert summary["random"]["accuracy"] == pytest.approx(20 / 64)
    rows = rows_without_time(finished)
    assert [row["round"] for row in rows] == [6, 14, 22, 30, 38, 46]
    assert [row["phase"] for row in rows] == ["start"] + ["training"] * 5
    assert rows[-1]["env_steps"] == 40 * 16 * 6
    assert rows[0]["eval/jsd"] == summary["start"]["jsd"]
    assert rows[-1]["eval/jsd"] == summary["jsd"]
    assert len(checkpoints(finished)) == 2
    assert len((finished / "samples.txt").read_text().splitlines()) == 100
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["task"] == {"name": "binary-sum", "length": 6}
    assert config["algo"]["rounds"] == 40
    assert config["environment"]["torch"] == version("torch")
    for figure in ("training.png", "distribution.png"):
        assert (finished / "figures" / figure).read_bytes().startswith(b"\x89PNG")
    assert not list(finished.glob(".*")), "no half-written files"


def test_the_same_seed_gives_the_same_run(finished: Path, tmp_path: Path) -> None:
    """In a process of its own too."""
    assert run("train", "seqgan", *TINY_SEQGAN, "--out", tmp_path / "again")[0] == 0
    assert_same_run(finished, tmp_path / "again")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("attempt", [0, *(pytest.param(i, marks=pytest.mark.exhaustive) for i in (1, 2))])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(finished: Path, tmp_path: Path, attempt: int) -> None:
    folder = tmp_path / "killed"
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder)
    while not checkpoints(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(random.Random(time.time_ns()).uniform(0, 0.6))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"round": 9999, "phase": "trai')  # a row that a crash cut short
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)


def kill_once_there_is(name: str, folder: Path, signum: signal.Signals) -> tuple[int, str]:
    """Train until a file appears, then send the signal; the exit code and stderr."""
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder)
    while not (folder / name).exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.usefixtures("no_figures")
def test_a_run_killed_before_its_first_checkpoint_starts_over(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "early"
    kill_once_there_is("config.yaml", folder, signal.SIGKILL)
    assert not checkpoints(folder)
    (folder / ".writing-abc").write_text("half a checkpoint")
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)
    assert not list(folder.glob(".writing-*"))


def test_a_run_killed_while_finishing_finishes(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "late"
    kill_once_there_is("samples.txt", folder, signal.SIGKILL)
    assert not (folder / "summary.json").exists()
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)
    assert len(list((folder / "figures").glob("*.png"))) == 2


def test_a_run_interrupted_while_finishing_finishes_first(finished: Path, tmp_path: Path) -> None:
    code, err = kill_once_there_is("samples.txt", tmp_path / "late", signal.SIGTERM)
    assert code == 0, err
    assert_same_run(finished, tmp_path / "late")


def test_one_process_at_a_time_works_on_a_run(finished: Path) -> None:
    with exclusive(finished):
        code, out, err = run("resume", finished)
    assert (code, out) == (2, "")
    assert err == f"formula-env: another process is at work in {finished}; wait for it or stop it\n"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_saves_and_says_how_to_go_on(
    finished: Path, tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    folder = tmp_path / "stopped"
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder)
    while not checkpoints(folder):
        time.sleep(0.01)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"formula-env resume {folder}" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)


def test_a_finished_run_resumes_to_its_summary(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    assert main(["resume", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((finished / "summary.json").read_text())
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.usefixtures("no_figures")
def test_a_finished_run_whose_summary_is_damaged_is_summed_up_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(finished, folder)
    (folder / "summary.json").write_text("{}")
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)


@pytest.mark.usefixtures("no_figures")
def test_a_full_disk_is_said_and_spares_the_old_checkpoint(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    shutil.copytree(finished, folder)  # as it was stopped before its last checkpoint
    (folder / "summary.json").unlink()
    checkpoints(folder)[-1].unlink()
    before = {p: p.read_bytes() for p in checkpoints(folder)}

    def no_room() -> None:  # the kernel refuses to let any file grow beyond this
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code, _, err = run("resume", folder, preexec_fn=no_room)
    assert code == 2
    assert re.search(r"cannot write .*checkpoint-\d+\.pt: File too large; .* intact", err)
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in checkpoints(folder)} == before
    assert not list(folder.glob(".*"))
    assert main(["resume", str(folder)]) == 0
    assert_same_run(finished, folder)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "nan"
    command = ["train", "seqgan", *TINY_SEQGAN, "--algo.generator-learning-rate", "1e38", "--out", str(folder)]
    assert main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"became (nan|inf|-inf) in round \d+; the last good checkpoint is .*checkpoint-", told)
    for value in load_checkpoint(folder)["algorithm"]["weights"]["network"].values():
        assert torch.isfinite(value).all()


def test_weights_that_are_no_numbers_are_never_judged_nor_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that ruins the weights has a finite loss itself."""
    folder = tmp_path / "nan"
    command = [
        "train",
        "mle",
        *TINY_MLE,
        "--algo.learning-rate",
        "1e38",
        "--eval-every",
        "1",
        "--out",
        str(folder),
    ]
    assert main(command) == 2
    assert "is no longer finite in round 1; the last good checkpoint is" in capsys.readouterr().err
    assert [row["round"] for row in rows_without_time(folder)] == [0]
    assert [path.name for path in checkpoints(folder)] == ["checkpoint-00000000.pt"]


@pytest.mark.usefixtures("no_figures")
def test_the_last_task_named_is_the_one_that_counts(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["--task", "binary-sum", "--task", "signed-equation", "--task.length", "5", *TINY_MLE[2:]]
    assert main(["train", "mle", *arguments, "--out", str(folder)]) == 0
    assert load_config(folder).task == make_task("signed-equation", length=5)


@pytest.mark.usefixtures("no_figures")
def test_a_preset_is_the_settings_that_it_stands_for(tmp_path: Path) -> None:
    """Whatever is said besides prevails; what was trained with goes into config.yaml, and resumes."""
    folder = tmp_path / "run"
    tiny = "--algo.rounds 2 --algo.mle-rounds 1 --algo.discriminator-rounds 1 --algo.num-rollouts 3"
    arguments = [*tiny.split(), "--algo.baseline=False", "--task.length=6", "--data.size", "100"]
    command = ["train", "seqgan", *arguments, "--eval-samples", "50", "--preset=thesis", "--out", str(folder)]
    assert main(command) == 0
    said = {"rounds": 2, "mle_rounds": 1, "discriminator_rounds": 1, "num_rollouts": 3, "baseline": False}
    config = load_config(folder)
    assert config.algo == algo_config("seqgan", {**SeqGAN.presets["thesis"], **said})
    assert config.task == make_task("binary-sum", length=6)
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert "preset" not in written
    assert written["algo"] == asdict(config.algo)
    before = rows_without_time(folder)
    (folder / "summary.json").unlink()
    checkpoints(folder)[-1].unlink()
    assert main(["resume", str(folder)]) == 0
    assert rows_without_time(folder) == before


@pytest.mark.usefixtures("no_figures")
def test_a_task_has_a_preset_which_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of algorithms that have one of this name; None takes the algorithm's own defaults."""
    monkeypatch.setattr(task_class("binary-sum"), "default_preset", "transformer")

    def trained(arguments: str) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        common = "--algo.rounds 2 --task.length 6 --eval-samples 20 --algo.hidden-dim 8"
        assert main(["train", *arguments.split(), *common.split(), "--out", str(folder)]) == 0
        return load_config(folder).algo

    small = {"rounds": 2, "hidden_dim": 8}
    assert trained("mle") == algo_config("mle", {**MLE.presets["transformer"], **small})
    assert trained("mle --data.size 10001") == algo_config("mle", {**MLE.presets["transformer-many"], **small})
    assert trained("nce --data.size 10001") == algo_config("nce", small)
    assert trained("mle --preset None") == algo_config("mle", small)
    assert trained("gumbel-softmax-gan") == algo_config("gumbel-softmax-gan", small)


def test_presets_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "algorithms", "--json"]) == 0
    presets = {entry["name"]: entry["presets"] for entry in json.loads(capsys.readouterr().out)}
    assert presets["seqgan"] == SeqGAN.presets
    assert presets["mle"] == MLE.presets
    assert presets["ppo"] == {}


def test_damaged_checkpoints_never_escape_as_something_else(finished: Path, tmp_path: Path) -> None:
    """Bytes of the pickle changed at random, in an otherwise whole archive."""
    folder = tmp_path / "fuzzed"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    source = zipfile.ZipFile(checkpoints(finished)[-1])
    rng = random.Random(0)
    refused = 0
    for _ in range(60):
        with zipfile.ZipFile(folder / "checkpoint-00000046.pt", "w") as target:
            for name in source.namelist():
                data = bytearray(source.read(name))
                if name.endswith("data.pkl"):
                    for _ in range(3):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                target.writestr(name, bytes(data))
        try:
            load_algorithm(folder)
        except FormulaError:
            refused += 1
    assert refused > 20


def test_samples_are_formulae_and_nothing_else(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(finished), "-n", "7"]) == 0
    out, err = capfd.readouterr()
    assert re.fullmatch(r"([01]{6}\n){7}", out)
    assert err == ""
    assert main(["sample", str(finished), "-n", "12", "--unique", "--correct", "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len({row["formula"] for row in rows}) == len(rows) == 12
    assert all(row["correct"] for row in rows)
    assert main(["sample", str(finished), "-n", "3", "--format", "csv"]) == 0
    assert capfd.readouterr().out.startswith("formula,correct,novel,log_prob\n")
    assert main(["sample", str(finished), "-n", "2", "--format", "sympy"]) == 0
    assert re.fullmatch(r"(Eq\([01+]+, [01+]+\)\n){2}", capfd.readouterr().out)
    assert main(["sample", str(finished), "-n", "2", "--format", "latex"]) == 0
    assert re.fullmatch(r"([01]{3}\\,[01]{3}\n){2}", capfd.readouterr().out)
    assert main(["sample", str(finished), "-n", "21", "--unique", "--correct"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "there are only 20 correct formulae, not 21" in err


def test_samples_have_their_log_probability(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All 64 strings, drawn until each was there, have probabilities that sum to 1, with and without rules."""
    for rules in ([], ["--temperature", "2"]):
        command = ["sample", str(finished), "-n", "20000", "--temperature", "4", "--format", "jsonl", *rules]
        assert main(command) == 0
        rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        log_probs = {row["formula"]: row["log_prob"] for row in rows}
        assert len(log_probs) == 64
        assert sum(map(math.exp, log_probs.values())) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("no_figures")
def test_novel_samples_are_not_in_the_training_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "half"
    assert main(["train", "mle", *TINY_MLE, "--data.size", "0.5", "--out", str(folder)]) == 0
    capfd.readouterr()
    assert main(["sample", str(folder), "-n", "10", "--novel", "--unique"]) == 0
    novel = set(capfd.readouterr().out.split())
    assert main(["sample", str(folder), "-n", "10", "--correct", "--unique", "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(novel) == 10
    assert not novel & {row["formula"] for row in rows if not row["novel"]}


def test_evaluate_judges_the_newest_weights(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--json", "--samples", "400"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    summary = json.loads((finished / "summary.json").read_text())
    assert metrics["jsd"] == summary["jsd"]
    assert metrics["accuracy"] == summary["accuracy"]
    assert main(["evaluate", str(finished)]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tasks", "--json"]) == 0
    assert {"binary-sum", "signed-equation"} <= {t["name"] for t in json.loads(capsys.readouterr().out)}
    assert main(["list", "algorithms"]) == 0
    assert "seqgan" in capsys.readouterr().out


class Payload:
    """What a hostile file would run when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", ["truncated", "empty", "foreign", "hostile", "text"])
def test_bad_checkpoints_are_refused_in_one_line(
    finished: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    path, victim = folder / "checkpoint-00000046.pt", tmp_path / "executed"
    if kind == "truncated":
        path.write_bytes(checkpoints(finished)[-1].read_bytes()[:5_000])
    elif kind == "empty":
        path.touch()
    elif kind == "foreign":
        torch.save({"model": torch.zeros(3)}, path)
    elif kind == "hostile":
        torch.save({"format": "formula-env checkpoint 1", "algorithm": Payload(victim)}, path)
    else:
        path.write_text("not a checkpoint at all")
    for command in ("resume", "evaluate", "sample"):
        assert main([command, str(folder)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert str(path) in err
    assert not victim.exists()
    with pytest.raises(FormulaError):
        load_checkpoint(folder)


def test_a_run_of_an_older_version_is_refused_with_that_version(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    settings = yaml.safe_load((finished / "config.yaml").read_text())
    settings["algo"]["final_share"] = settings["algo"].pop("lr_end_factor")
    settings["environment"]["formula-env"] = "0.0.1"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    for command in ("resume", "evaluate", "sample"):
        assert main([command, str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "unknown algo setting 'final_share'" in line
        assert line.endswith(f"(written by formula-env 0.0.1; this is {version('formula-env')})")


def test_a_checkpoint_of_other_settings_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    text = (finished / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("hidden_dim: 64", "hidden_dim: 32"))
    (folder / "checkpoint-00000046.pt").write_bytes(checkpoints(finished)[-1].read_bytes())
    assert main(["sample", str(folder)]) == 2
    assert "does not fit its config.yaml" in capsys.readouterr().err
