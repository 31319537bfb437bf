import json
from pathlib import Path
from typing import Any

import pytest

from formula_env.errors import FormulaError
from formula_env.experiment.rows import drop_rows_after, read_rows
from tests.experiment.commands import TINY_MLE, TINY_PPO, TINY_SEQGAN, rows_without_time, run, start
from tests.experiment.wandb_log import items, records


@pytest.mark.parametrize(
    ("algorithm", "options", "setting", "told"),
    [
        ("seqgan", TINY_SEQGAN, {"num_rollouts": 4}, {"train/reward"}),
        ("ppo", TINY_PPO, {"n_epochs": 1}, {"train/policy_gradient_loss", "rollout/ep_rew_mean"}),
    ],
)
def test_an_offline_run_holds_what_was_logged(
    algorithm: str, options: list[str], setting: dict[str, int], told: set[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    home = {"HOME": str(tmp_path)}  # where nobody is logged in
    code, out, err = run(
        "train", algorithm, *options, "--out", folder, "--track", "--wandb-group", "cell", env=home
    )
    assert code == 0, err
    assert "W&B" not in out
    (notice,) = [line for line in err.splitlines() if "W&B" in line or "wandb" in line]
    assert notice.startswith("W&B: nobody is logged in, so this run is tracked offline")

    (log,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = list(records(log))
    started = next(r.run for r in found if r.HasField("run"))
    assert started.run_group == "cell"
    assert started.project == "formula-env"
    assert started.run_id == (folder / "wandb_run_id.txt").read_text().strip()
    config = items(started.config.update)
    assert config["algorithm"] == algorithm
    assert config["task"] == {"name": "binary-sum", "length": 6}
    assert setting.items() <= config["algo"].items()

    steps = {r.metric.glob_name or r.metric.name: r.metric.step_metric for r in found if r.HasField("metric")}
    assert steps["*"] == "round"
    history = [items(r.history.item) for r in found if r.HasField("history")]
    logged = [row for row in history if "eval/jsd" in row]
    assert [row["_step"] for row in history] == [row["round"] for row in logged], "one entry for each round"
    rows = rows_without_time(folder)
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
    paths = {entry.path for entry in model.manifest.contents}
    assert "config.yaml" in paths
    assert any(path.startswith("checkpoint-") for path in paths)


def test_the_run_id_survives_a_resume(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder, "--track", env={"WANDB_MODE": "offline"})
    while not list(folder.glob("checkpoint-*")):
        assert process.poll() is None, process.communicate()
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    first = (folder / "wandb_run_id.txt").read_text()
    code, _, err = run("resume", folder, env={"WANDB_MODE": "offline"})
    assert code == 0, err
    assert (folder / "wandb_run_id.txt").read_text() == first
    logs = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(logs) == 2
    ids = {next(r.run.run_id for r in records(log) if r.HasField("run")) for log in logs}
    assert ids == {first.strip()}
    histories = [items(r.history.item) for log in sorted(logs) for r in records(log) if r.HasField("history")]
    rounds = [row["round"] for row in rows_without_time(folder)]
    assert [row["_step"] for row in histories] == [row["round"] for row in histories] == rounds


def test_a_sweep_s_run_is_resumed_by_the_id_that_its_agent_gave(tmp_path: Path) -> None:
    sweep = {"WANDB_SWEEP_ID": "sweep", "WANDB_RUN_ID": "from-agent", "WANDB_MODE": "offline"}
    code, _, err = run("train", "mle", *TINY_MLE, "--out", tmp_path / "run", "--track", env=sweep)
    assert code == 0, err
    (log,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    assert next(r.run.run_id for r in records(log) if r.HasField("run")) == "from-agent"
    assert (tmp_path / "run/wandb_run_id.txt").read_text() == "from-agent\n"


def test_rows_behind_the_checkpoint_are_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"round": 1}\n{"round": 2}\n{"round": 3}\n{"rou')
    with pytest.raises(FormulaError, match=r"line 4, is not a row"):
        read_rows(tmp_path)
    drop_rows_after(tmp_path, 2)
    assert read_rows(tmp_path) == [{"round": 1}, {"round": 2}]


def test_a_row_damaged_by_hand_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    text = '{"round": 1}\n{"rou\n{"round": 3}\n'
    file.write_text(text)
    with pytest.raises(FormulaError, match=r"line 2, is not a row"):
        drop_rows_after(tmp_path, 3)
    assert file.read_text() == text
