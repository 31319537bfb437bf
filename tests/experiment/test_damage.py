"""Damage is named and never taken: in checkpoints, records and settings, and in folders without a run yet."""

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from formula_env.cli import main
from formula_env.experiment import run_folder
from formula_env.experiment.checkpoint import checkpoints, save_checkpoint
from formula_env.experiment.record import write_sums
from formula_env.experiment.run_folder import default_run_folder
from formula_env.studies.records import read_analysis, write_analysis
from tests.experiment.commands import TINY_MLE, assert_same_run, rows_without_time

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "mle", *TINY_MLE, "--keep-samples", "5", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The finished run."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def stopped(copy: Path) -> Path:
    """The run as if it had been killed before its last checkpoint."""
    checkpoints(copy)[-1].unlink()
    (copy / "summary.json").unlink()
    config = (copy / "SHA256SUMS").read_text().splitlines(keepends=True)
    (copy / "SHA256SUMS").write_text(next(line for line in config if line.endswith("config.yaml\n")))
    return copy


def flip(path: Path, at: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command is refused."""
    capsys.readouterr()
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    return err


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- checkpoints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_is_taken(
    copy: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newest = checkpoints(copy)
    content = newest.read_bytes()
    newest.unlink()
    capsys.readouterr()
    assert main([command, str(copy)]) == 0
    expected = capsys.readouterr().out
    newest.write_bytes(content)
    flip(newest, len(content) // 2)
    assert main([command, str(copy)]) == 0
    out, err = capsys.readouterr()
    assert out == expected
    assert err == (
        f"formula-env: {newest} is damaged: its bytes don't match its checksum; taking the one before it, "
        f"{older.name}\n"
    )
    flip(older)
    told = refused([command, str(copy)], capsys)
    assert str(newest) in told
    assert f"no other one in {copy} is whole" in told


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    finished: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(checkpoints(copy)[-1])
    assert main(["resume", str(copy)]) == 0
    assert "is damaged" in capsys.readouterr().err
    assert_same_run(finished, copy)
    assert [path.name for path in checkpoints(copy)] == [path.name for path in checkpoints(finished)]
    assert main(["report", str(copy)]) == 0


def test_a_checkpoint_behind_the_one_that_is_saved_is_deleted(tmp_path: Path) -> None:
    """It was damaged, or the run would have gone on from there."""
    for round_ in (10, 17, 15):
        save_checkpoint(tmp_path, round_, {"round": round_})
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000010.pt", "checkpoint-00000015.pt"]


# --- records --------------------------------------------------------------------------------------------------


def test_sha256sum_agrees_with_a_record(finished: Path) -> None:
    told = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=finished, capture_output=True, text=True
    )
    assert told.returncode == 0
    names = {line.partition(":")[0] for line in told.stdout.splitlines()}
    kept = "samples-00000005.txt"
    assert names == {"config.yaml", "metrics.jsonl", "summary.json", "samples.txt", "distribution.csv", kept}


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "summary.json", "samples.txt", "distribution.csv", "SHA256SUMS"]
)
def test_a_report_refuses_an_altered_record(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = (copy / name).read_bytes()
    assert main(["report", str(copy)]) == 0
    for other in (content.replace(b"0", b"1", 1), content[: len(content) // 2], b""):
        (copy / name).write_bytes(other)
        assert str(copy) in refused(["report", str(copy)], capsys)


def test_a_finished_run_writes_altered_results_anew_and_says_so(
    finished: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(copy / "samples.txt", "correct", "wrong")
    assert main(["resume", str(copy)]) == 0
    assert "samples.txt was altered since the run wrote it" in capsys.readouterr().err
    assert_same_run(finished, copy)


def test_a_record_without_checkpoints_is_answered_or_refused_never_trained_again(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in checkpoints(copy):
        path.unlink()
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    capsys.readouterr()
    assert main(["resume", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((copy / "summary.json").read_text())
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before
    edit(copy / "config.yaml", "seed: 0", "seed: 1")
    assert "config.yaml was altered since the run wrote it" in refused(["resume", str(copy)], capsys)


def test_a_summary_is_there_only_where_the_checksums_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed between the two has not ended: it is not refused as damaged."""
    there: list[bool] = []

    def note(folder: Path, sums: dict[str, str]) -> None:
        there.append((folder / "summary.json").exists())
        write_sums(folder, sums)

    monkeypatch.setattr(run_folder, "write_sums", note)
    assert main(["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run")]) == 0
    assert there == [False, False], "at the start, and at the end"


def test_a_record_from_before_there_were_checksums_is_read(copy: Path) -> None:
    (copy / "SHA256SUMS").unlink()
    for command in ("report", "resume", "evaluate"):
        assert main([command, str(copy)]) == 0


def test_rows_of_an_analysis_carry_a_checksum(tmp_path: Path) -> None:
    write_analysis(tmp_path, "bounds", 0, [{"bound": 1.0}])
    assert read_analysis(tmp_path, "bounds") == [{"bound": 1.0}]
    edit(tmp_path / "rows.json", "1.0", "2.0")
    assert read_analysis(tmp_path, "bounds") is None


# --- a run that goes on ---------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on(finished: Path, stopped: Path) -> None:
    assert main(["resume", str(stopped)]) == 0
    assert_same_run(finished, stopped)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("metrics.jsonl", '"phase": "training"', '"phase": "Training"'), ("samples-00000005.txt", "wrong", "right")],
)
def test_files_that_were_altered_before_the_checkpoint_are_refused(
    stopped: Path, name: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(stopped / name, old, new)
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
    assert f"{name} was altered since the last checkpoint" in refused(["resume", str(stopped)], capsys)
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()} == before


DECISIVE = [
    ("seed: 0", "seed: 1", "seed is 1 there, but the run was trained with 0"),
    ("rounds: 20", "rounds: 40", "algo.rounds is 40 there, but the run was trained with 20"),
    ("length: 6", "length: 8", "task.length is 8 there, but the run was trained with 6"),
    ("size: 500", "size: 400", "data.size is 400 there, but the run was trained with 500"),
    ("eval_every: 5", "eval_every: 4", "eval_every is 4 there, but the run was trained with 5"),
    ("eval_samples: 400", "eval_samples: 40", "eval_samples is 40 there, but the run was trained with 400"),
]


@pytest.mark.parametrize(("old", "new", "message"), DECISIVE)
def test_settings_that_decide_the_numbers_cant_be_edited(
    copy: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not of a finished run either."""
    edit(copy / "config.yaml", old, new)
    for command in ("resume", "evaluate", "sample"):
        assert message in refused([command, str(copy)], capsys)
    (copy / "summary.json").unlink()
    assert message in refused(["resume", str(copy)], capsys)


def test_other_settings_can_be_edited_and_that_is_said(
    finished: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(stopped / "config.yaml", "wandb_project: formula-env", "wandb_project: mine")
    assert main(["resume", str(stopped)]) == 0
    assert "config.yaml does not match SHA256SUMS" in capsys.readouterr().err
    assert rows_without_time(stopped) == rows_without_time(finished)
    assert main(["report", str(stopped)]) == 0


def test_settings_that_were_altered_before_the_first_checkpoint_are_refused(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in checkpoints(stopped):
        path.unlink()
    edit(stopped / "config.yaml", "seed: 0", "seed: 1")
    assert "there is no checkpoint to compare its settings with" in refused(["resume", str(stopped)], capsys)


# --- folders without a run ------------------------------------------------------------------------------------


def test_a_folder_whose_run_was_killed_before_its_settings_were_written_is_trained_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "early"
    folder.mkdir()
    (folder / ".writing-abc").write_text("algorithm: m")
    told = refused(["resume", str(folder)], capsys)
    assert f"begin one: formula-env train ALGORITHM --out {folder}" in told
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    assert not list(folder.glob(".*"))


def test_runs_that_begin_within_one_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: list[str] = []
    ready = threading.Barrier(8)

    def begin() -> None:
        ready.wait()
        with default_run_folder("mle-s0") as folder:
            given.append(folder.name)
            (folder / "config.yaml").touch()

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == ["mle-s0", *(f"mle-s0-{n}" for n in range(2, 9))]


def test_the_default_folder_of_a_run_that_fails_at_once_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "now")
    for number in ("", "-2"):
        assert main(["train", "mle", *TINY_MLE]) == 0
        assert re.search(rf"runs/mle-binary-sum-s0-now{number}\n", capsys.readouterr().out.replace("\n\n", "\n"))
    refused(["train", "mle", *TINY_MLE, "--device", "cuda:99"], capsys)
    assert len(list((tmp_path / "runs").iterdir())) == 2
