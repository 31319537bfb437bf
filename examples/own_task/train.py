"""Train on the task beside this file; it needn't be installed for that.

Longer: `python examples/own_task/train.py --length 12 --steps 1000000`
"""

import argparse

import torch
from brackets import Brackets
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150_000, help="symbols to write while learning")
    parser.add_argument("--length", type=int, default=8, help="symbols of a formula")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # networks this small are fastest with one
    env = FormulaVecEnv(Brackets(arguments.length), num_envs=64)
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=arguments.length,
        batch_size=arguments.length * 64,
        n_epochs=4,
        learning_rate=LinearSchedule(2e-3, 0.0, 1.0),
        gamma=1.0,
        gae_lambda=1.0,
        seed=0,
        device="cpu",
    )
    model.learn(arguments.steps, callback=(adversary := AdversarialCallback()))

    found = adversary.evaluate()
    print(f"accuracy {found['accuracy']:.4f}, JSD {found['jsd']:.4f} nats, both exact; ", end="")
    print(f"{found['num_correct']} of {found['num_formulae']} correct formulae reached")


if __name__ == "__main__":
    main()
