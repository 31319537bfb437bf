"""RL Zoo's command line, `python -m rl_zoo3.train`, in a process of its own; γ = 1."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clients.learning import Environment


def learn(environment: Environment, seed: int, total: int, algorithm: str = "ppo") -> None:
    package, _, name = environment.env_id.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yml")
        settings = {"policy": "MlpPolicy", "n_timesteps": total, "gamma": 1.0, "n_envs": 2}
        settings |= {"n_steps": 128} if algorithm == "ppo" else {"learning_starts": 100}
        config.write_text(json.dumps({name: settings}))  # JSON is YAML
        flags = f"--algo {algorithm} --env {name} --seed {seed} --conf-file {config} -f {folder} --eval-freq -1"
        command = [sys.executable, "-m", "rl_zoo3.train", *flags.split()]
        if package:
            command += ["--gym-packages", package]
        if environment.options:
            command += ["--env-kwargs", *(f"{key}:{value!r}" for key, value in environment.options.items())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
