"""The command line, run in this process or as one of its own."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

TINY_SEQGAN = shlex.split(
    "--task.length 6 --algo.rounds 40 --algo.mle-rounds 3 --algo.discriminator-rounds 3 --algo.batch-size 16 "
    "--algo.num-rollouts 4 --algo.d-steps 2 --data.size 500 --eval-every 8 --eval-samples 400"
)
TINY_MLE = shlex.split("--task.length 6 --algo.rounds 20 --data.size 500 --eval-every 5 --eval-samples 400")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`python -m formula_env …` as a process, with an environment free of anybody's W&B login."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "formula_env", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def rows_without_time(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
