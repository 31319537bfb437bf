"""What judges foreign clients; the clients themselves need virtual environments of their own."""

import importlib.util
import json
import math
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from benchmarks.clients import __main__ as runner
from benchmarks.clients.evaluation import evaluate
from benchmarks.clients.learning import DensityRatio
from benchmarks.clients.matrix import OBSERVATIONS, REWARD_MODELS, TASKS
from benchmarks.clients.report import DOCUMENT, learning_table, limits_table, read_record
from formula_env import make_task


def test_a_uniform_policy_is_as_correct_as_chance() -> None:
    found = evaluate(lambda observations: torch.zeros(len(observations), 2), {"length": 8})
    assert found["accuracy"] == pytest.approx(70 / 256)
    assert found["effective_number"] == pytest.approx(70)
    assert found["reached"] == found["num_formulae"] == 70
    assert found["distinct"] == pytest.approx(70)


def test_a_policy_with_one_formula_reaches_one() -> None:
    found = evaluate(lambda observations: torch.tensor([[50.0, 0.0]]).expand(len(observations), 2), {"length": 8})
    assert found["accuracy"] == pytest.approx(1)
    assert found["reached"] == 1
    assert found["distinct"] == pytest.approx(1)


def test_the_policy_sees_what_the_environment_shows() -> None:
    """Every prefix of a formula, as the environment's own observation."""
    seen: list[Tensor] = []

    def logits(observations: Tensor) -> Tensor:
        seen.append(observations)
        return torch.zeros(len(observations), 2)

    evaluate(logits, {"length": 4})
    env = gym.make("formula_env:Formula/BinarySum-v0", length=4)
    observation, _ = env.reset(seed=0)
    for symbol in make_task("binary-sum", length=4).enumerate()[3]:
        assert any((rows == torch.from_numpy(observation)).all(dim=1).any() for rows in seen)
        observation = env.step(symbol)[0]


def test_the_page_says_what_the_record_holds() -> None:
    for table in (learning_table, limits_table):
        assert f"{table(read_record())}\n" in DOCUMENT.read_text()


def test_the_exact_reward_is_the_log_of_the_density_ratio() -> None:
    """Of six correct formulae among sixteen, and a policy that knows nothing."""
    task = make_task("binary-sum", length=4)
    reward = DensityRatio(task, clip=2.0)
    reward.watch(lambda observations: torch.zeros(len(observations), 2))
    every = torch.cartesian_prod(*[torch.arange(2)] * 4)
    is_correct = torch.from_numpy(task.is_correct(every.numpy()))
    expected = torch.where(is_correct, math.log(16 / 6), -2.0).double()
    torch.testing.assert_close(reward.score(every), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("client", "package", "tasks", "observations"),
    [
        ("torchrl_ppo", "torchrl", tuple(TASKS), OBSERVATIONS),
        ("tianshou_ppo", "tianshou", tuple(TASKS), OBSERVATIONS),
        ("rllib_ppo", "tree", ("BinarySum",), ("one-hot",)),  # knows no MultiDiscrete, and takes ten seconds each
    ],
)
def test_clients_that_the_development_tools_hold_train_on_their_combinations(
    client: str, package: str, tasks: tuple[str, ...], observations: tuple[str, ...]
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not there for this version of Python")
    command = [sys.executable, "-m", "benchmarks.clients.matrix", client, "--steps", "240"]
    command += ["--tasks", *tasks, "--observations", *observations]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=runner.HERE.parents[1])
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = [(row["task"], row["reward_model"], row["observation"]) for row in rows]
    assert found == list(product(tasks, REWARD_MODELS, observations)), done.stderr
    assert [row["error"] for row in rows] == [None] * len(rows)


def test_each_client_has_a_script_and_requirements() -> None:
    for name, group in runner.CLIENTS.items():
        assert (runner.HERE / f"{name}.py").is_file()
        assert (runner.REQUIREMENTS / f"{group}.txt").is_file()


def test_the_page_has_every_client_on_every_combination() -> None:
    rows = runner.read(runner.RESULTS)
    assert f"{runner.START}{runner.table(rows)}\n{runner.END}" in runner.DOCUMENT.read_text()
    for name in runner.CLIENTS:
        found = [(row["task"], row["reward_model"], row["observation"]) for row in rows if row["client"] == name]
        assert sorted(found) == sorted(product(TASKS, REWARD_MODELS, OBSERVATIONS))


def test_a_client_that_ends_early_keeps_its_rows_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(name: str) -> dict[str, Any]:
        return {"client": name, "observation": "tokens", "error": None}

    def run(name: str, python: Path) -> list[dict[str, Any]]:
        if name == "sb3_ppo":
            raise subprocess.CalledProcessError(1, "python", stderr="killed")
        return [row(name), row(name)]

    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    results.write_text(f"{json.dumps(row('sb3_ppo'))}\n{json.dumps(row('sb3_dqn'))}\n")
    page.write_text(f"before\n{runner.START}{runner.END}after\n")
    for name, value in (("RESULTS", results), ("DOCUMENT", page), ("run", run)):
        monkeypatch.setattr(runner, name, value)
    monkeypatch.setattr(runner, "interpreter", lambda group, venvs: venvs / group)
    monkeypatch.setattr("sys.argv", ["clients", "sb3_ppo", "sb3_dqn"])
    with pytest.raises(SystemExit, match="not renewed: sb3_ppo"):
        runner.main()
    assert runner.read(results) == [row("sb3_ppo"), row("sb3_dqn"), row("sb3_dqn")]
    assert "| sb3 dqn | 0 of 0 | 2 of 2 |" in page.read_text()
