"""Two processes that train together, started by torchrun: the same run as one process' with the joint batch."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from tests.experiment.commands import (
    TINY_MLE,
    TINY_SEQGAN,
    TORCHRUN,
    assert_same_run,
    rows_without_time,
    run,
    start,
)

pytestmark = pytest.mark.slow

TINY_VERIFIED_MLE = [*TINY_MLE, "--data.size", "0.2", "--algo.warmup-rounds", "4", "--algo.search-every", "4"]
NOT_EXACT = {"phase", "eval/coverage", "eval/uniqueness", "eval/num_correct", "eval/entropy"}  # of a sample


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "by-two"
    code, out, err = run("train", "seqgan", *TINY_SEQGAN, "--out", folder, processes=2)
    assert code == 0, err
    assert out.count("checkpoints are in") == 1, "only the first process speaks"
    return folder


TINY_UNSEEN = shlex.split(
    "--preset unseen --task.length 6 --algo.rounds 10 --algo.mle-rounds 3 --algo.discriminator-rounds 2 "
    "--algo.batch-size 16 --data.size 500 --eval-every 5 --eval-samples 400"
)

TINY_NCE = shlex.split(
    "--task.length 6 --algo.noise tempered --algo.rounds 10 --algo.batch-size 16 --data.size 500 "
    "--eval-every 5 --eval-samples 400"
)
TINY_GFLOWNET = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.mle-rounds 3 --algo.replay 0.3 --algo.batch-size 16 "
    "--data.size 500 --eval-every 5 --eval-samples 400"
)
TINY_EB_GFN = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.mle-rounds 2 --algo.discriminator-rounds 2 --algo.exploration 0.2 "
    "--algo.batch-size 16 --data.size 500 --eval-every 5 --eval-samples 400"
)
TINY_MALIGAN = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.mixed 0.5 --algo.completions 4 --algo.batch-size 16 --algo.d-steps 2 "
    "--data.size 500 --eval-every 5 --eval-samples 400"
)
TINY_BGAN = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.num-samples 4 --algo.batch-size 16 --algo.mle-rounds 2 "
    "--data.size 500 --eval-every 5 --eval-samples 400"
)
TINY_RANKGAN = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.batch-size 16 --algo.num-references 4 --algo.comparison-size 6 "
    "--algo.num-rollouts 2 --data.size 500 --eval-every 5 --eval-samples 400"
)
TINY_COT = shlex.split(
    "--task.length 6 --algo.rounds 10 --algo.batch-size 16 --algo.m-steps 2 "
    "--data.size 500 --eval-every 5 --eval-samples 400"
)


OTHERS = {
    "unseen": ["seqgan", *TINY_UNSEEN],
    "mle": ["mle", *TINY_MLE],
    "verified-mle": ["verified-mle", *TINY_VERIFIED_MLE],
    "nce": ["nce", *TINY_NCE],
    "gflownet": ["gflownet", *TINY_GFLOWNET],
    "eb-gfn": ["eb-gfn", *TINY_EB_GFN],
    "maligan": ["maligan", *TINY_MALIGAN],
    "bgan": ["bgan", *TINY_BGAN],
    "rankgan": ["rankgan", *TINY_RANKGAN],
    "cot": ["cot", *TINY_COT],
}

SEVERAL = """
import json, sys
from contextlib import contextmanager
from formula_env.cli import main, train
from formula_env.distributed import leave, process_group, wait_for_all

@contextmanager
def joined_already(device):
    yield
    wait_for_all()

with process_group("cpu"):
    train.process_group = joined_already
    code = max(main(arguments) for arguments in json.loads(sys.argv[1]))
leave(code)
"""


def several_by_two(commands: list[list[str]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Commands one after the other in the same two processes, for to start them takes longer than to train."""
    (folder / "several.py").write_text(SEVERAL)
    return subprocess.run(
        [sys.executable, *TORCHRUN, "2", str(folder / "several.py"), json.dumps(commands)],
        capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


@pytest.mark.usefixtures("no_figures")
def test_two_processes_train_as_one_does_up_to_rounding(by_two: Path, tmp_path: Path) -> None:
    assert main(["train", "seqgan", *TINY_SEQGAN, "--out", str(tmp_path / "one")]) == 0
    assert_equal_up_to_rounding(tmp_path / "one", by_two)


@pytest.mark.usefixtures("no_figures")
def test_two_processes_train_every_other_algorithm_as_one_does_up_to_rounding(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    done = several_by_two([["train", *run, "--out", str(two / name)] for name, run in OTHERS.items()], tmp_path)
    assert done.returncode == 0, done.stderr
    for name, arguments in OTHERS.items():
        assert main(["train", *arguments, "--out", str(one / name)]) == 0
        assert_equal_up_to_rounding(one / name, two / name)


def assert_equal_up_to_rounding(one: Path, two: Path) -> None:
    ours, theirs = rows_without_time(one), rows_without_time(two)
    assert [row["round"] for row in ours] == [row["round"] for row in theirs]
    for i, (row, other) in enumerate(zip(ours, theirs, strict=True)):
        # Rounding grows from round to round; a wrong mean over the processes is off by far more at once.
        rel, abs_ = (1e-4, 1e-5) if i < 2 else (2e-2, 2e-3)
        for name in row.keys() - NOT_EXACT:
            assert other[name] == pytest.approx(row[name], rel=rel, abs=abs_), (one.name, i, name)
    assert [row["phase"] for row in ours] == [row["phase"] for row in theirs]


def test_two_processes_stopped_and_resumed_go_on_bit_for_bit(by_two: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    process = start("train", "seqgan", *TINY_SEQGAN, "--out", folder, processes=2)
    while not checkpoints(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "and saved; go on with: formula-env resume" in err
    assert not (folder / "summary.json").exists()
    code, _, err = run("resume", folder, processes=2)
    assert code == 0, err
    assert_same_run(by_two, folder)


@pytest.mark.usefixtures("no_figures")
def test_what_two_have_begun_one_can_finish(by_two: Path, tmp_path: Path) -> None:
    folder = tmp_path / "handed-over"
    shutil.copytree(by_two, folder)
    (folder / "summary.json").unlink()
    checkpoints(folder)[-1].unlink()
    assert main(["resume", str(folder)]) == 0
    ends = [json.loads((run_ / "summary.json").read_text()) for run_ in (by_two, folder)]
    assert ends[0]["rounds"] == ends[1]["rounds"]
    assert ends[1]["jsd"] == pytest.approx(ends[0]["jsd"], rel=1e-2)


@pytest.mark.parametrize(("processes", "output"), [("1", "work, then the interpreter's end"), ("2", "work")])
def test_one_of_several_processes_leaves_at_once_with_all_it_said(processes: str, output: str) -> None:
    """Before the interpreter is taken down, where gloo's threads could abort it."""
    script = """
import atexit, sys
from formula_env.distributed import leave
atexit.register(print, ", then the interpreter's end", end="")
print("work", end="")
leave(7)
sys.exit(7)
"""
    environment = {**os.environ, "WORLD_SIZE": processes}
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stdout) == (7, output)


def test_batches_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    odd, alone = tmp_path / "odd", tmp_path / "alone"
    of_15 = ["train", "mle", *TINY_MLE, "--algo.batch-size", "15", "--out", str(odd)]
    done = several_by_two([of_15, ["train", "softmax-gan", "--algo.rounds", "5", "--out", str(alone)]], tmp_path)
    assert done.returncode != 0
    assert "formula-env: batch_size 15 can't be shared evenly by 2 processes; use a multiple of 2" in done.stderr
    assert "trains in one process; start it without torchrun" in done.stderr
    assert not odd.exists()
    assert not alone.exists()


def test_a_taken_folder_is_refused_by_all_in_one_line(by_two: Path) -> None:
    code, _, err = run("train", "mle", *TINY_MLE, "--out", by_two, processes=2)
    assert code != 0
    assert err.count("formula-env:") == 1
    assert f"formula-env: {by_two} holds a run already; continue it with: formula-env resume {by_two}" in err
