"""One client on every combination of task, reward model and observation; one line of JSON for each.

`python -m benchmarks.clients.matrix tianshou_dqn` needs the client's own packages; `python -m benchmarks.clients`
makes their virtual environments and runs all clients.
"""

import argparse
import json
import time
import traceback
from importlib import import_module
from itertools import product
from typing import Any

from benchmarks.clients.learning import Environment

TASKS: dict[str, dict[str, Any]] = {"BinarySum": {"length": 8}, "SignedEquation": {}}
REWARD_MODELS = ("exact", "discriminator", "constant")
OBSERVATIONS = ("one-hot", "tokens")

STEPS = 256
"""Symbols of each combination."""

EARLY: dict[str, dict[str, Any]] = {"discriminator": {"reward_options": {"update_every": 4}}}
"""So few symbols must be enough for the discriminator to learn."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", help="a script beside this one, such as sb3_ppo")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="some of the tasks")
    parser.add_argument(
        "--observations", nargs="+", choices=OBSERVATIONS, default=OBSERVATIONS, help="some of them"
    )
    parser.add_argument("--control", help="id of another environment, to test the script itself")
    parser.add_argument("--trace", action="store_true", help="print tracebacks")
    args = parser.parse_args()
    learn = import_module(f"benchmarks.clients.{args.client}").learn
    if args.control:
        learn(Environment(args.control), 0, args.steps)
        return
    for task, reward_model, observation in product(args.tasks, REWARD_MODELS, args.observations):
        options = TASKS[task] | {"reward_model": reward_model, "observation": observation}
        options |= EARLY.get(reward_model, {})
        start, error = time.perf_counter(), None
        try:
            learn(Environment(f"formula_env:Formula/{task}-v0", options), 0, args.steps)
        except (Exception, SystemExit) as caught:
            error = f"{type(caught).__name__}: {caught}"
            if args.trace:
                traceback.print_exc()
        row = {"task": task, "reward_model": reward_model, "observation": observation, "error": error}
        print(json.dumps(row | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)


if __name__ == "__main__":
    main()
