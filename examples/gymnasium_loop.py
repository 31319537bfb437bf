"""A plain Gymnasium loop: any symbols at random, then only legal ones.

Longer: `python examples/gymnasium_loop.py --formulae 5000`
"""

import argparse
from typing import Any

import gymnasium as gym


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formulae", type=int, default=1000, help="to write in each of the two ways")
    parser.add_argument("--length", type=int, default=7, help="symbols of a formula")
    arguments = parser.parse_args()

    env = gym.make("formula_env:Formula/SignedEquation-v0", length=arguments.length)
    env.action_space.seed(0)
    env.reset(seed=0)
    for masked in (False, True):
        finished = [write(env, masked) for _ in range(arguments.formulae)]
        correct = [formula for formula, is_correct in finished if is_correct]
        share = len(correct) / len(finished)
        symbols = "legal symbols" if masked else "any symbols"
        print(f"{symbols}: {share:.2%} of {len(finished)} formulae are correct, such as {correct[:3]}")


def write(env: gym.Env[Any, Any], masked: bool) -> tuple[str, bool]:
    """One random formula, and whether it is correct."""
    _, info = env.reset()
    terminated = False
    while not terminated:
        action = env.action_space.sample(mask=info["action_mask"] if masked else None)
        _, _, terminated, _, info = env.step(action)
    return env.get_wrapper_attr("formula"), bool(info["is_correct"])


if __name__ == "__main__":
    main()
