import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment import tracking
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.config import load_config
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.tracking import WandbTracker
from tests.experiment.commands import (
    TINY_MLE,
    TINY_PPO,
    TINY_SEQGAN,
    assert_same_run,
    rows_without_time,
    run,
    start,
)
from tests.experiment.wandb_log import items, records

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("algorithm", "options", "setting", "told", "exports"),
    [
        ("seqgan", TINY_SEQGAN, {"num_rollouts": 4}, {"train/reward"}, set()),
        (
            "ppo",
            TINY_PPO,
            {"n_epochs": 1},
            {"train/policy_gradient_loss", "rollout/ep_rew_mean"},
            {"model.zip"},
        ),
    ],
)
def test_an_offline_run_holds_what_was_logged(
    algorithm: str, options: list[str], setting: dict[str, int], told: set[str], exports: set[str], tmp_path: Path
) -> None:
    """Without a login, where nothing but the run folder can be written."""
    folder, home = tmp_path / "a run", tmp_path / "home"
    home.mkdir()
    nowhere = {f"WANDB_{name}_DIR": "/dev/null/x" for name in ("CACHE", "DATA", "ARTIFACT", "CONFIG")}
    environment = {"HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "mpl"), "WANDB_TAGS": "mine", **nowhere}
    code, out, err = run(
        "train",
        algorithm,
        *options,
        "--out",
        folder,
        "--track",
        "--wandb-group",
        "cell",
        env=environment,
        cwd=home,
    )
    assert code == 0, err
    assert "W&B" not in out
    (notice,) = [line for line in err.splitlines() if "W&B" in line or "wandb" in line]
    assert notice.startswith("W&B: there is no login, so this run is tracked offline")
    assert not list(home.iterdir()), "W&B writes into the run folder only"

    (log,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    assert str(log.parent.name) in synced_by(notice)
    found = list(records(log))
    started = next(r.run for r in found if r.HasField("run"))
    assert started.run_group == "cell"
    assert started.project == "formula-env"
    assert list(started.tags) == [algorithm, "binary-sum", "mine"]
    assert started.run_id == (folder / "wandb_run_id.txt").read_text().strip()
    config = items(started.config.update)
    assert config["algorithm"] == algorithm
    assert config["task"] == {"name": "binary-sum", "length": 6}
    assert setting.items() <= config["algo"].items()

    steps = {r.metric.glob_name or r.metric.name: r.metric.step_metric for r in found if r.HasField("metric")}
    assert steps["*"] == "round"
    history = [items(r.history.item) for r in found if r.HasField("history")]
    rows = rows_without_time(folder)
    first, last_round = rows[0]["round"], rows[-1]["round"]
    rounds = list(range(min(first, 1), last_round + 1))
    assert [row["_step"] for row in history] == [row["round"] for row in history] == rounds, "one entry a round"
    assert all("discriminator/loss" in row or "train/nll" in row for row in history if row["round"])
    logged = [row for row in history if "eval/jsd" in row]
    assert len(logged) == len(rows)
    for row, ours in zip(logged, rows, strict=True):
        assert {key: row[key] for key in ours} == ours
    assert all(told | {"eval/jsd", "discriminator/loss"} <= set(row) for row in logged[1:])
    (last,) = [row for row in history if "formulae.path" in row]
    (table_file,) = folder.rglob(Path(last["formulae.path"]).name)
    table = json.loads(table_file.read_text())
    assert table["columns"] == ["formula", "correct", "novel"]
    texts = [line.split("\t") for line in (folder / "samples.txt").read_text().splitlines()]
    assert [row[0] for row in table["data"]] == [text for text, _ in texts]
    assert [row[1] for row in table["data"]] == [verdict == "correct" for _, verdict in texts]
    assert last["figures/training._type"] == "image-file"
    assert last["figures/distribution._type"] == "image-file"

    summary: dict[str, Any] = {}
    for record in found:
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    ours = json.loads((folder / "summary.json").read_text())
    assert {key: summary[key] for key in ("accuracy", "jsd", "rounds")} == {
        key: ours[key] for key in ("accuracy", "jsd", "rounds")
    }

    artifacts = [r.request.log_artifact.artifact for r in found if r.HasField("request")]
    artifacts += [r.artifact for r in found if r.HasField("artifact")]
    (model,) = [a for a in artifacts if a.type == "model"]
    files = {entry.path: Path(entry.local_path) for entry in model.manifest.contents}
    assert set(files) == {checkpoints(folder)[-1].name, "config.yaml"} | exports
    assert all(path == folder / name for name, path in files.items()), "no copies"


def synced_by(notice: str) -> str:
    """What the command at the end of a notice would upload."""
    command = shlex.split(notice.rpartition(" && ")[2])
    assert command[:2] == ["wandb", "sync"]
    wandb = Path(sys.executable).with_name("wandb")
    dry = [str(wandb), *command[1:], "--dry-run", "--verbose"]
    return subprocess.run(dry, capture_output=True, text=True, check=True, cwd="/").stderr


@pytest.mark.usefixtures("no_figures")
def test_the_run_id_survives_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder, "--track", env={"WANDB_MODE": "offline"})
    while not list(folder.glob("checkpoint-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    first = (folder / "wandb_run_id.txt").read_text()
    forget_wandb(monkeypatch, tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["resume", str(folder)]) == 0
    assert (folder / "wandb_run_id.txt").read_text() == first
    logs = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(logs) == 2
    ids = {next(r.run.run_id for r in records(log) if r.HasField("run")) for log in logs}
    assert ids == {first.strip()}
    histories = [items(r.history.item) for log in sorted(logs) for r in records(log) if r.HasField("history")]
    rounds = list(range(1, rows_without_time(folder)[-1]["round"] + 1))
    assert [row["_step"] for row in histories] == [row["round"] for row in histories] == rounds


def test_a_damaged_run_id_is_refused_before_wandb_starts(untracked: Path, tmp_path: Path) -> None:
    shutil.copytree(untracked, tmp_path / "run")
    (tmp_path / "run" / "wandb_run_id.txt").write_text("../a b\n")
    with pytest.raises(FormulaError, match=r"wandb_run_id\.txt holds no id of a W&B run; delete it"):
        WandbTracker(load_config(tmp_path / "run"), tmp_path / "run", pytest.fail)
    assert not (tmp_path / "run" / "wandb").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_sweep_s_run_is_resumed_by_the_id_that_its_agent_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_wandb(monkeypatch, tmp_path)
    for name, value in {"SWEEP_ID": "sweep", "RUN_ID": "from-agent", "MODE": "offline"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    assert main(["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run"), "--track"]) == 0
    (log,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    assert next(r.run.run_id for r in records(log) if r.HasField("run")) == "from-agent"
    assert (tmp_path / "run/wandb_run_id.txt").read_text() == "from-agent\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WANDB_MODE", "nonsense", "WANDB_MODE: Input should be 'online'"),
        ("WANDB_BASE_URL", "garbage", "WANDB_BASE_URL: Input should be a valid URL"),
        ("WANDB_SILENT", "perhaps", "WANDB_SILENT: Input should be a valid boolean"),
        ("WANDB_RUN_ID", "a/b", "Run ID cannot contain"),
    ],
)
def test_settings_that_wandb_refuses_cost_one_line_before_the_first_round(
    name: str, value: str, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    forget_wandb(monkeypatch, tmp_path)
    monkeypatch.setenv(name, value)
    assert main(["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run"), "--track"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("formula-env: W&B: ")
    assert message in line
    assert "leave out --track" in line
    assert not (tmp_path / "run").exists()


def forget_wandb(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No login or setting of whoever runs the tests."""
    for name in os.environ:
        if name.startswith("WANDB"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(folder))
    monkeypatch.setenv("NETRC", str(folder / "netrc"))


FAKE_WANDB = """
import os, time

def may_fail(step):
    if os.environ["FAIL"] == step:
        raise OSError(f"no room\\nfor {step}")
    if os.environ["FAIL"] == f"{step} hangs":
        time.sleep(1000)
    if os.environ["FAIL"] == f"{step} dies":
        os._exit(3)

if os.environ["FAIL"] == "import":
    raise ImportError("No module named wandb")

class Settings:
    mode, sync_dir = "offline", "/runs/wandb/offline-run-1"
    def __init__(self, **settings):
        pass

class setup:
    settings = Settings

class Run:
    id, offline, disabled, settings, summary = "chosen", True, False, Settings, {}
    def define_metric(self, *names, **options):
        pass
    def log(self, row, step):
        may_fail("log")
    def log_artifact(self, artifact):
        may_fail("artifact")
    def finish(self, exit_code):
        may_fail("finish")

class Artifact:
    def __init__(self, *names, **options):
        may_fail("staging")
    def add_file(self, path, **options):
        assert os.path.isfile(path)

def init(**options):
    assert "WANDB_SERVICE" not in os.environ, "the service of the caller's own runs"
    may_fail("init")
    return Run()

Table = Image = lambda *values, **options: None
"""


@pytest.fixture
def fake_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A W&B that fails where the environment variable FAIL says."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(FAKE_WANDB)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    monkeypatch.setenv("WANDB_SERVICE", "3-1-unix-/tmp/nowhere")
    for name in ("OPEN_SECONDS", "UPLOAD_SECONDS", "LEAVE_SECONDS"):
        monkeypatch.setattr(tracking, name, 5.0)
    monkeypatch.setattr(tracking, "QUIET_SECONDS", 1.0)


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untracked") / "run"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    return folder


@pytest.mark.usefixtures("fake_wandb", "no_figures")
@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        ("none", []),
        ("log", ["no room for log; the run goes on untracked"]),
        ("log dies", ["its process has ended unexpectedly; the run goes on untracked"]),
        ("staging", ["no room for staging; "]),
        ("artifact", ["no room for artifact; "]),
        ("artifact dies", ["its process has ended unexpectedly; "]),
        ("finish", ["no room for finish; to upload what was tracked before: wandb sync /runs/wandb"]),
        ("log hangs", ["still uploading; Ctrl-C leaves", "did not upload everything; "]),
        ("finish hangs", ["still uploading; Ctrl-C leaves", "did not upload everything; "]),
    ],
)
def test_wandb_never_fails_a_run_that_has_begun(
    failure: str, lines: list[str], untracked: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FAIL", failure)
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder), "--track"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert len(said) == len(lines), said
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(f"W&B: {expected}")
    assert_same_run(untracked, folder)


@pytest.mark.usefixtures("fake_wandb", "no_figures")
def test_the_summary_is_written_before_wandb_is_given_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens then, a kill included, the run has its end."""
    there: list[bool] = []
    monkeypatch.setenv("FAIL", "none")
    monkeypatch.setattr(
        WandbTracker, "finish", lambda *_: there.append((tmp_path / "run" / "summary.json").exists())
    )
    assert main(["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run"), "--track"]) == 0
    assert there == [True]


@pytest.mark.usefixtures("fake_wandb", "no_figures")
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("import", "its package can't be imported (No module named wandb); install it by pip install wandb"),
        ("init", "no room for init"),
        ("init dies", "its process has ended unexpectedly"),
        ("init hangs", "it does not answer"),
    ],
)
def test_a_run_that_can_not_be_tracked_begins_and_goes_on_untracked(
    failure: str, message: str, untracked: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("FAIL", failure)
    folder = tmp_path / "run"
    for command in (["train", "mle", *TINY_MLE, "--track", "--out"], ["resume"]):
        assert main([*command, str(folder)]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "W&B" in line]
        assert line.startswith(f"W&B: {message}; mend that, or leave out --track")
        assert line.endswith("; the run goes on untracked")
        assert_same_run(untracked, folder)
        (folder / "summary.json").unlink()
        checkpoints(folder)[-1].unlink()


@pytest.mark.usefixtures("no_figures")
def test_a_login_that_wandb_refuses_costs_a_notice_and_not_the_run(
    untracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_wandb(monkeypatch, tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert main(["train", "mle", *TINY_MLE, "--track", "--out", str(tmp_path / "run")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "W&B" in line]
    assert "WANDB_API_KEY invalid: API key must have 40+ characters" in line
    assert line.endswith("; the run goes on untracked")
    assert_same_run(untracked, tmp_path / "run")


@pytest.mark.usefixtures("fake_wandb", "no_figures")
def test_without_its_process_or_its_file_the_run_goes_on(
    untracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    def refuse(path: Path, content: str) -> None:
        raise FormulaError(f"cannot write {path}: No space left on device")

    monkeypatch.setenv("FAIL", "none")
    for name, broken in {"write_atomically": refuse, "_Process": fail}.items():
        monkeypatch.setattr(tracking, name, broken)
        assert main(["train", "mle", *TINY_MLE, "--track", "--out", str(tmp_path / name)]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "W&B" in line]
        assert line.endswith(("on device; the run goes on untracked", "unavailable; the run goes on untracked"))
        assert_same_run(untracked, tmp_path / name)


OWN_RUN = """
import sys, wandb
from formula_env.cli import main

with wandb.init(project="own", mode="offline", settings=wandb.Settings(silent=True)) as run:
    run.log({"before": 1})
    assert main(sys.argv[1:]) == 0
    assert wandb.run is run
    wandb.log({"after": 2})
"""


def test_an_open_run_of_the_caller_goes_on(tmp_path: Path) -> None:
    command = ["train", "mle", *TINY_MLE, "--out", str(tmp_path / "run"), "--track"]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DISABLE_WEAVE": "true", "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", OWN_RUN, *command], cwd=tmp_path, env=environment, check=True)
    (own,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    history = [items(r.history.item) for r in records(own) if r.HasField("history")]
    assert [set(row) & {"before", "after", "round"} for row in history] == [{"before"}, {"after"}]
    (log,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    tracked = [items(r.history.item)["round"] for r in records(log) if r.HasField("history")]
    assert tracked == list(range(21))


def test_rows_behind_the_checkpoint_are_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"round": 1}\n{"round": 2}\n{"round": 3}\n{"rou')
    with pytest.raises(FormulaError, match=r"line 4, is not a row"):
        RunFolder(tmp_path).rows()
    RunFolder(tmp_path).drop_rows_after(2)
    assert RunFolder(tmp_path).rows() == [{"round": 1}, {"round": 2}]


def test_a_row_damaged_by_hand_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    text = '{"round": 1}\n{"rou\n{"round": 3}\n'
    file.write_text(text)
    with pytest.raises(FormulaError, match=r"line 2, is not a row"):
        RunFolder(tmp_path).drop_rows_after(3)
    assert file.read_text() == text
