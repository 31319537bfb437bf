"""CleanRL's ppo.py, the file itself: its own defaults but for γ = 1.

CleanRL is a collection of scripts, not a library. Its `ppo.py` is run as it is, with the environment registered
under an id of its own. The path of that file is taken from CLEANRL_PPO.
"""

import os
import runpy
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym

from benchmarks.clients.evaluation import evaluate
from benchmarks.clients.learning import TOTAL, MakeEnv, environment, main

ENV_ID = "Client/Formula-v0"


def train(
    seed: int,
    env_kwargs: dict[str, Any],
    make_env: MakeEnv | None = None,
    total: int = TOTAL,
    **flags: Any,
) -> dict[str, float]:
    """Train for `total` symbols; metrics of the policy at the end. Other arguments are the script's flags."""
    found = run_script(script(), make_env or environment(env_kwargs), seed, total, **{"gamma": 1.0} | flags)
    return evaluate(found["agent"].actor, env_kwargs)


def script() -> Path:
    """The path of CleanRL's ppo.py."""
    path = Path(os.environ.get("CLEANRL_PPO", "ppo.py"))
    if not path.is_file():
        sys.exit(f"CLEANRL_PPO must be the path of CleanRL's cleanrl/ppo.py; there is no file {path}")
    return path.resolve()


def run_script(path: Path, make_env: MakeEnv, seed: int, total: int, **flags: Any) -> dict[str, Any]:
    """Run a script of CleanRL from an empty folder; its global variables at the end."""
    gym.register(id=ENV_ID, entry_point=lambda: make_env())
    options = {"env_id": ENV_ID, "seed": seed, "total_timesteps": total} | flags
    arguments = [str(path)]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            chdir(folder),
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere),
            patch.object(sys, "argv", [*arguments, "--no-cuda"]),
        ):
            return runpy.run_path(str(path), run_name="__main__")
    finally:
        del gym.registry[ENV_ID]


if __name__ == "__main__":
    main(train)
