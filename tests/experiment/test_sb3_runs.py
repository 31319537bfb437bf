"""Runs of Stable-Baselines3's algorithms by the command line: folder, rows, stop and resume as of any other."""

import json
import shlex
import signal
import time
from pathlib import Path

import pytest
from stable_baselines3 import PPO

from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from tests.experiment.commands import assert_same_run, rows_without_time, start

pytestmark = pytest.mark.slow

COMMON = "--task.length 6 --algo.rounds 30 --algo.num-envs 16 --eval-every 5 --eval-samples 300 --data.size 200"
TINY = {
    "ppo": shlex.split(f"{COMMON} --algo.batch-size 32"),
    "a2c": shlex.split(COMMON),
    "dqn": shlex.split(f"{COMMON} --algo.learning-starts 200 --algo.batch-size 16"),
}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("name", TINY)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", name, *TINY[name], "--out", str(whole)]) == 0
    process = start("train", name, *TINY[name], "--out", stopped)
    while len(checkpoints(stopped)) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert f"and saved; go on with: formula-env resume {stopped}" in told
    assert main(["resume", str(stopped)]) == 0
    assert_same_run(whole, stopped)


def test_the_folder_holds_what_any_other_does_and_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main(["train", "ppo", *TINY["ppo"], "--out", str(folder)]) == 0
    rows = rows_without_time(folder)
    assert [row["round"] for row in rows] == list(range(0, 31, 5))
    for row in rows[1:]:
        assert row["eval/jsd_exact"]
        for metric in ("train/policy_gradient_loss", "train/value_loss", "rollout/ep_rew_mean",
                       "discriminator/loss", "eval/accuracy", "eval/ratio_error"):  # fmt: skip
            assert metric in row
    assert rows[-1]["env_steps"] == 30 * 16 * 6
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["algorithm"], summary["rounds"], summary["jsd_exact"]) == ("ppo", 30, True)
    assert PPO.load(folder / "model.zip", device="cpu").num_timesteps == 30 * 16 * 6
    assert main(["evaluate", str(folder), "--json"]) == 0
    assert main(["sample", str(folder), "-n", "3"]) == 0


@pytest.mark.usefixtures("no_figures")
def test_a_checkpoint_of_another_vocabulary_or_algorithm_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["train", "a2c", *TINY["a2c"], "--algo.rounds", "5", "--out", str(folder)]) == 0
    config = (folder / "config.yaml").read_text()
    other_task = config.replace("name: binary-sum", "name: signed-equation").replace("length: 6", "length: 5")
    other_algorithm = config.replace("algorithm: a2c", "algorithm: ppo")
    for changed, told in ((other_task, "does not fit its config.yaml"), (other_algorithm, "unknown algo setting")):
        (folder / "config.yaml").write_text(changed)
        capsys.readouterr()
        assert main(["evaluate", str(folder)]) == 2
        assert told in (err := capsys.readouterr().err)
        assert err.count("\n") == 1


@pytest.mark.usefixtures("no_figures")
def test_embedded_tokens_and_rollouts_are_options(tmp_path: Path) -> None:
    options = [*TINY["ppo"], "--algo.rounds", "2", "--algo.observation", "tokens"]
    difference = ["--algo.reward-mode", "difference", "--algo.num-rollouts", "2"]
    assert main(["train", "ppo", *options, *difference, "--out", str(tmp_path / "ppo")]) == 0
    assert main(["train", "recurrent-ppo", *options, "--out", str(tmp_path / "recurrent")]) == 0
