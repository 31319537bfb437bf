"""The command line, run in this process or as one of its own."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from formula_env.cli import main
from formula_env.experiment import run_figures
from formula_env.experiment.checkpoint import checkpoints, load_checkpoint
from formula_env.experiment.config import first_difference, parse_settings
from formula_env.experiment.costs import MEASURED
from formula_env.studies import engines, pool
from formula_env.studies.processes import LOG_FILE

TINY_SEQGAN = shlex.split(
    "--preset thesis --task.length 6 --algo.rounds 40 --algo.mle-rounds 3 --algo.discriminator-rounds 3 "
    "--algo.batch-size 16 --algo.num-rollouts 4 --algo.d-steps 2 --data.size 500 --eval-every 8 --eval-samples 400"
)
TINY_MLE = shlex.split("--task.length 6 --algo.rounds 20 --data.size 500 --eval-every 5 --eval-samples 400")
TINY_PPO = shlex.split(
    "--task.length 6 --algo.rounds 40 --algo.num-envs 16 --algo.n-epochs 1 --algo.discriminator-batch-size 16 "
    "--data.size 500 --eval-every 8 --eval-samples 400"
)

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def complaint(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command line refuses these arguments."""
    capfd.readouterr()
    assert main([*arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def start(*arguments: object, processes: int = 1, **options: Any) -> subprocess.Popen[str]:
    """`python -m formula_env …` as a process, with an environment free of anybody's W&B login.

    With several `processes`, the one is torchrun, which starts them.
    """
    launcher = [] if processes == 1 else [*TORCHRUN, str(processes)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"PYTHONWARNINGS": "ignore", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "formula_env", *map(str, arguments)],
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


class Ended:
    """Stands for the process of a study's run that is over already."""

    def __init__(self, returncode: int) -> None:
        self.returncode = returncode

    def poll(self) -> int:
        return self.returncode

    def wait(self) -> int:
        return self.returncode


def start_here(folder: Path, consent: Sequence[str] = (), directory: str | None = None) -> Ended:
    """What `start_process` does, in this process and at once."""
    with open(folder / LOG_FILE, "w") as log, redirect_stdout(log), redirect_stderr(log):
        return Ended(main(["resume", str(folder), *consent]))


@contextmanager
def runs_in_this_process() -> Iterator[None]:
    """Let the runs of studies and of searches start no process and draw no figures of their own.

    To import torch, or to draw, takes longer than a tiny run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "start_process", start_here)
        patch.setattr(run_figures, "draw_figures", lambda *_: None)
        patch.setattr(pool, "POLL_SECONDS", 0.0)
        yield


def rows_without_time(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


TIMED = (*MEASURED, "metrics.jsonl")
"""Entries of a checkpoint that depend on time: its costs, and the checksum of rows that hold costs."""


def same_state(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return set(one) == set(two) and all(same_state(one[k], two[k]) for k in one if k not in TIMED)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same_state, one, two))
    return one == two


def assert_same_run(one: Path, two: Path) -> None:
    """Equal metrics to the last digit, weights, optimisers and random states to the last bit, and samples.

    Settings that don't decide the numbers, such as tracking, may differ.
    """
    assert rows_without_time(one) == rows_without_time(two)
    assert checkpoints(one)[-1].name == checkpoints(two)[-1].name
    states = [load_checkpoint(folder) for folder in (one, two)]
    assert first_difference(*(parse_settings(state.pop("settings")) for state in states)) is None
    assert same_state(*states)
    assert (one / "samples.txt").read_bytes() == (two / "samples.txt").read_bytes()
    bars = [folder / "distribution.csv" for folder in (one, two)]  # only of tasks whose formulae can be listed
    assert bars[0].exists() == bars[1].exists()
    assert not bars[0].exists() or bars[0].read_bytes() == bars[1].read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, two)]
    for summary in summaries:
        for name in MEASURED:
            del summary[name]
    assert summaries[0] == summaries[1]
