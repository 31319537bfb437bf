"""CleanRL's ppo.py, the file itself: its own defaults but for γ = 1.

CleanRL is a collection of scripts, not a library. They are run as they are, from a checkout that CLEANRL names,
with the environment registered under an id of its own.
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

from benchmarks.clients.evaluation import Logits
from benchmarks.clients.learning import MakeEnv, main, trainer

ENV_ID = "Client/Formula-v0"

NUM_ENVS, NUM_STEPS = 4, 128
"""The script's own defaults. It makes no update at all with fewer symbols than these ask for."""


def learn(make_env: MakeEnv, seed: int, total: int, *, falls: bool = True, **flags: Any) -> Logits:
    """The policy's logits after `total` symbols; other arguments are the script's flags."""
    flags = {"gamma": 1.0, "num_steps": min(NUM_STEPS, total // NUM_ENVS)} | flags
    if not falls:
        flags["no_anneal_lr"] = ""
    return run_script("ppo.py", make_env, seed=seed, total_timesteps=total, **flags)["agent"].actor


def run_script(name: str, make_env: MakeEnv, **flags: Any) -> dict[str, Any]:
    """Run a script of CleanRL in an empty folder; its global variables at the end."""
    checkout = Path(os.environ.get("CLEANRL", "cleanrl")).resolve()
    script = checkout / "cleanrl" / name
    if not script.is_file():
        sys.exit(f"CLEANRL must name a checkout of https://github.com/vwxyzjn/cleanrl; there is no {script}")
    arguments = [str(script), "--no-cuda", "--env-id", ENV_ID]
    for flag, value in flags.items():
        arguments += [f"--{flag.replace('_', '-')}", *([] if value == "" else [str(value)])]
    gym.register(id=ENV_ID, entry_point=lambda **_: make_env(), disable_env_checker=True)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            chdir(folder),
            open(os.devnull, "w") as nowhere,
            redirect_stdout(nowhere),
            patch.object(sys, "argv", arguments),
            patch.object(sys, "path", [*sys.path, str(checkout)]),
        ):
            return runpy.run_path(str(script), run_name="__main__")
    finally:
        del gym.registry[ENV_ID]


train = trainer(learn)

if __name__ == "__main__":
    main("CleanRL PPO", learn)
