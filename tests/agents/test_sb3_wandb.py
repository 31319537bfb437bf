"""A script of a user's own, tracked by Weights & Biases."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiment.wandb_log import items, records

SCRIPT = """
import wandb
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor

from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, WandbWriter

with wandb.init(project="own", settings=wandb.Settings(silent=True)) as run:
    env = VecMonitor(FormulaVecEnv("binary-sum", num_envs=16, length=6))
    model = PPO("MlpPolicy", env, n_steps=6, batch_size=96, gamma=1.0, device="cpu")
    logger = Logger(None, [WandbWriter(run)])
    model.set_logger(logger)
    for _ in range(2):
        logger.record("text", "told")
        logger.record("hidden", 1.0, exclude="wandb")
        logger.record("curve", object())
        model.learn(3 * 96, callback=AdversarialCallback(batch_size=16, update_every=16, eval_every=96))
"""


@pytest.mark.slow
def test_it_holds_the_model_s_metrics_and_the_callback_s_over_its_timesteps(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"WANDB_MODE": "offline", "WANDB_DISABLE_WEAVE": "true", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, check=True)
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found = list(records(log))
    steps = {r.metric.glob_name or r.metric.name: r.metric.step_metric for r in found if r.HasField("metric")}
    assert steps["*"] == "num_timesteps"
    history = [items(r.history.item) for r in found if r.HasField("history")]
    assert [row["num_timesteps"] for row in history] == 2 * [96, 192, 288]
    for row in history:
        assert {"rollout/ep_rew_mean", "discriminator/loss", "eval/jsd"} <= set(row)
    for row in history[1:3]:  # of the update before it
        assert "train/policy_gradient_loss" in row
    assert [row.get("text") for row in history] == ["told", None, None] * 2
    assert not any({"hidden", "curve"} & set(row) for row in history)
