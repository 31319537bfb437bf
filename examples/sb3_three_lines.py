"""Adversarial training with Stable-Baselines3: an environment, a model, a callback.

Longer: `python examples/sb3_three_lines.py --steps 1000000`
"""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv

OPTIONS = {
    "gamma": 1.0,  # only then is the return the verdict on a formula
    "gae_lambda": 1.0,
    "learning_rate": LinearSchedule(2e-3, 0.0, 1.0),
    "batch_size": 512,  # all symbols of the 64 formulae
    "n_epochs": 4,
}
"""What suits formulae better than PPO's defaults do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150_000, help="symbols to write while learning")
    steps = parser.parse_args().steps

    torch.set_num_threads(1)  # networks this small are fastest with one
    env = FormulaVecEnv("binary-sum", num_envs=64, length=8)
    model = PPO("MlpPolicy", env, n_steps=8, seed=0, device="cpu", **OPTIONS)
    model.learn(steps, callback=(adversary := AdversarialCallback()))

    found = adversary.evaluate()
    print(f"accuracy {found['accuracy']:.4f}, JSD {found['jsd']:.4f} nats, both exact; ", end="")
    print(f"{found['num_correct']} of {found['num_formulae']} correct formulae reached")


if __name__ == "__main__":
    main()
