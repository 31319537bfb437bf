"""Action masks: for an algorithm that asks for them, and for one that looks for them in the observation.

Longer: `python examples/masks.py --steps 500000`
"""

import argparse

import gymnasium as gym
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

from formula_env import MaskInObservation
from formula_env.agents.sb3 import AdversarialCallback, FormulaVecEnv

LENGTH, NUM_ENVS = 5, 64
OPTIONS = {
    "n_steps": LENGTH,
    "batch_size": LENGTH * NUM_ENVS,
    "n_epochs": 4,
    "learning_rate": LinearSchedule(2e-3, 0.0, 1.0),
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "seed": 0,
    "device": "cpu",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60_000, help="symbols to write while learning")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)  # networks this small are fastest with one
    masks_by_method(steps)
    masks_by_observation(steps // 2)  # one environment at a time is slower than a batch


def masks_by_method(steps: int) -> None:
    """MaskablePPO calls `action_masks()`, which all our environments have; a discriminator is its reward."""
    env = FormulaVecEnv("signed-equation", NUM_ENVS, length=LENGTH)
    model = MaskablePPO("MlpPolicy", env, **OPTIONS)
    model.learn(steps, callback=(adversary := AdversarialCallback()))
    found = adversary.evaluate()
    print(f"MaskablePPO: accuracy {found['accuracy']:.4f}, JSD {found['jsd']:.4f} nats, both exact; ", end="")
    print(f"{found['num_correct']} of {found['num_formulae']} correct formulae reached")


def masks_by_observation(steps: int) -> None:
    """PPO gets a dictionary of prefix and mask, and learns by itself what a mask is; the checker is its reward."""

    def make() -> gym.Env:
        env_id = "formula_env:Formula/SignedEquation-v0"
        env = gym.make(env_id, length=LENGTH)
        return MaskInObservation(env, obs_key="prefix", mask_key="mask", dtype="float32")

    model = PPO("MultiInputPolicy", make_vec_env(make, NUM_ENVS, seed=0), **OPTIONS)
    model.learn(steps)
    rewards = [info["r"] for info in model.ep_info_buffer or ()]
    print(f"PPO that sees the mask: {sum(rewards):.0f} of its last {len(rewards)} formulae are correct")


if __name__ == "__main__":
    main()
