"""Accuracy of a saved model while it continues to learn, with its saved discriminator or a new one.

`python -m benchmarks.continuing --algorithm ppo --seeds 0 1 2 3 4` prints a line of JSON for each seed: the exact
accuracy on binary-sum of length 4 when the model was saved, and the lowest and the mean one while it went on for
half as long, in each of the ways `KINDS`. Accuracy is the probability of a correct formula, exploration included.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule

from formula_env import make_task
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv, RelabelledReplayBuffer, policy_of
from formula_env.agents.sb3.algorithms import GREEDY_DISCRIMINATOR
from formula_env.sampling import log_prob

LENGTH, NUM_ENVS = 4, 64
TASK = make_task("binary-sum", length=LENGTH)
FORMULAE = torch.from_numpy(TASK.enumerate())
EVERY = 4 * LENGTH * NUM_ENVS
"""Symbols from one evaluation to the next."""

TOTAL = {"ppo": 25 * EVERY, "dqn": 100 * EVERY}
"""Symbols until a model is saved; it goes on for half as many."""

KINDS = ("not interrupted", "saved", "new", "without a warm-up")
"""How a model goes on: as it is, or saved and loaded with its adversary, or with a new one, warmed up or not."""


def make_env() -> FormulaVecEnv:
    return FormulaVecEnv("binary-sum", NUM_ENVS, length=LENGTH)


def make_model(algorithm: str, seed: int) -> BaseAlgorithm:
    common: dict[str, Any] = {"gamma": 1.0, "seed": seed, "device": "cpu"}
    if algorithm == "ppo":
        rate = LinearSchedule(4e-3, 0.0, 1.0)
        batch = {"n_steps": LENGTH, "batch_size": LENGTH * NUM_ENVS, "n_epochs": 4}
        return PPO("MlpPolicy", make_env(), learning_rate=rate, gae_lambda=1.0, **batch, **common)
    return DQN(
        "MlpPolicy", make_env(), learning_rate=1e-3, buffer_size=20_000, learning_starts=2_000, batch_size=256,
        train_freq=1, target_update_interval=2_000, exploration_fraction=0.3,
        replay_buffer_class=RelabelledReplayBuffer, **common,
    )  # fmt: skip


def adversary(algorithm: str, seed: int, **options: Any) -> AdversarialCallback:
    kind = {} if algorithm == "ppo" else {"discriminator": GREEDY_DISCRIMINATOR}
    return AdversarialCallback(seed=seed, **kind, **options)


def accuracy(model: BaseAlgorithm) -> float:
    return float(log_prob(policy_of(model, TASK), TASK.vocabulary, FORMULAE).exp().sum())


class Watch(BaseCallback):
    """The accuracies of a model while it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY == 0:
            self.seen.append(accuracy(self.model))
        return True


def measure(algorithm: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, first = make_model(algorithm, seed), adversary(algorithm, seed)
        model.learn(TOTAL[algorithm], first)
        model.save(folder / "model")
        first.save(folder / "adversary.pt")
        if isinstance(model, DQN):
            model.save_replay_buffer(folder / "buffer")
        found = {"algorithm": algorithm, "seed": seed, "before": round(accuracy(model), 4)}
        return found | {kind: _later(kind, algorithm, seed, folder, model, first) for kind in KINDS}


def _later(
    kind: str, algorithm: str, seed: int, folder: Path, model: BaseAlgorithm, first: AdversarialCallback
) -> list[float]:
    """The lowest and the mean accuracy while the model goes on."""
    if kind != "not interrupted":
        model = type(model).load(folder / "model", make_env(), device="cpu")
        if isinstance(model, DQN):
            model.load_replay_buffer(folder / "buffer")
    if kind == "not interrupted":
        ours = first
    elif kind == "saved":
        ours = AdversarialCallback.load(folder / "adversary.pt")
    else:
        ours = adversary(algorithm, seed + 100, **({} if kind == "new" else {"warmup_steps": 0}))
    watch = Watch()
    model.learn(TOTAL[algorithm] // 2, [ours, watch], reset_num_timesteps=False)
    return [round(min(watch.seen), 4), round(fmean(watch.seen), 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algorithm", choices=TOTAL, default="ppo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    for seed in args.seeds:
        print(json.dumps(measure(args.algorithm, seed)), flush=True)


if __name__ == "__main__":
    main()
