"""Kills, failing writes and damaged files: `make torture`. Nothing may be lost, and nothing wrong may be taken.

Kills: every algorithm is killed at random moments and goes on; the result must be that of an undisturbed run, bit
for bit. Faults: each step of each write of a short run fails once, and the process dies there once. Damage: each
file of a finished run, and of one that was stopped, is flipped or cut at random places; reading must say so.

Commands run in forked processes: a fresh interpreter for each of a thousand would take hours.
"""

import argparse
import errno
import io
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from formula_env import files
from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.registry import ALGORITHMS, algorithm_class
from tests.experiment.commands import TINY_PPO, assert_same_run
from tests.helpers import small_config

RESULT = Path(__file__).parents[1] / "benchmarks" / "torture.json"
RECORD = (
    "config.yaml",
    "metrics.jsonl",
    "summary.json",
    "samples.txt",
    "distribution.csv",
    "model.zip",
    "SHA256SUMS",
)
SHORT = shlex.split("--task.length 6 --algo.rounds 4 --data.size 100 --eval-every 2 --eval-samples 50")


@dataclass
class Tally:
    """What one kind of trial came to."""

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def expect(self, holds: bool, what: str) -> None:
        self.trials += 1
        if not holds:
            self.failures.append(what)


def settings(name: str) -> list[str]:
    """A few seconds' run of an algorithm."""
    options = {**small_config(algorithm_class(name).Config), "rounds": 12}
    flags = [part for key, value in options.items() for part in (f"--algo.{key.replace('_', '-')}", str(value))]
    task = ["--task", "integer-sum"] if name == "vanilla-gan" else ["--task.length", "6"]
    return [*task, *flags, *shlex.split("--data.size 100 --eval-every 3 --eval-samples 50")]


# --- processes ------------------------------------------------------------------------------------------------


def import_everything() -> None:
    """What commands import when they need it, lest every forked process does so again."""
    for name in ALGORITHMS:
        algorithm_class(name)
    for name in ("torch._dynamo", "formula_env.experiment.run_figures", "formula_env.studies.study_report"):
        import_module(name)
    with redirect_stdout(io.StringIO()):
        main(["train", "mle", "--help"])


def fork(arguments: list[str], log: Path, before: Callable[[], Any] = lambda: None) -> int:
    """A command in a process of its own, its output in a log; returns the process' id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        before()
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
    raise AssertionError


def command(arguments: list[str], log: Path, before: Callable[[], Any] = lambda: None) -> tuple[int, str]:
    """The exit code of a command (below 0: the signal that killed it), and what it printed."""
    _, status = os.waitpid(fork(arguments, log, before), 0)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")


def go_on(train: list[str], folder: Path, log: Path) -> tuple[int, str]:
    """What a user does after a crash: resume, or begin again where nothing was begun."""
    begun = (folder / "config.yaml").exists()
    return command(["resume", str(folder)] if begun else [*train, "--out", str(folder)], log)


def is_same(one: Path, two: Path) -> bool:
    try:
        assert_same_run(one, two)
    except (AssertionError, OSError, ValueError):
        return False
    return True


# --- kills ----------------------------------------------------------------------------------------------------


def kills(name: str, times: int, folder: Path, rng: random.Random) -> Tally:
    """Kill an algorithm's run at a random moment, and once more while it goes on."""
    tally, began, log = Tally(), time.monotonic(), folder / "log.txt"
    whole, train = folder / "whole", ["train", name, *settings(name)]
    started = time.monotonic()
    code, told = command([*train, "--out", str(whole)], log)
    usual = time.monotonic() - started
    tally.expect(code == 0, f"{name}: exit code {code}: {told[-300:]}")
    for trial in range(times):
        out = folder / f"killed-{trial}"
        kill_after(rng.uniform(0, usual), fork([*train, "--out", str(out)], log))
        if (out / "config.yaml").exists():
            kill_after(rng.uniform(0, usual), fork(["resume", str(out)], log))
        code, told = go_on(train, out, log)
        same = code == 0 and is_same(whole, out)
        tally.expect(same, f"{name}, trial {trial}: exit code {code}: {told[-300:]}")
    tally.seconds = time.monotonic() - began
    return tally


def kill_after(seconds: float, pid: int) -> None:
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- faults ---------------------------------------------------------------------------------------------------

ERRORS = ("no space", "input/output error", "half a write")


class Faults:
    """Counts the steps of all writes, and lets one of them fail."""

    def __init__(self, step: int, fault: str) -> None:
        self.step, self.fault, self.count = step, fault, 0
        self.sync, self.replace, self.fdopen, self.mkstemp = os.fsync, os.replace, os.fdopen, tempfile.mkstemp

    def check(self, half: Callable[[], Any] = lambda: None) -> None:
        self.count += 1
        if self.count - 1 != self.step:
            return
        if self.fault in ("half a write", "death"):
            half()
        if self.fault == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        number = errno.EIO if self.fault == "input/output error" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any, **options: Any) -> Any:
            self.check()
            return function(*arguments, **options)

        return checked

    def opened(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Files whose `write` may fail half-way."""

        def open_(*arguments: Any, **options: Any) -> Any:
            file = function(*arguments, **options)
            write = file.write

            def write_(data: bytes) -> int:
                self.check(lambda: (write(data[: len(data) // 2]), file.flush()))
                return write(data)

            wrapped = mock.MagicMock(wraps=file)
            wrapped.__enter__.return_value = wrapped
            wrapped.__exit__.side_effect = lambda *_: file.close()
            wrapped.write.side_effect = write_
            return wrapped

        return open_

    def install(self) -> None:
        """For good: the process is a forked one."""
        for module, name in ((os, "fsync"), (os, "replace"), (tempfile, "mkstemp")):
            setattr(module, name, self.before(getattr(module, name)))
        os.fdopen = self.opened(os.fdopen)
        files.open = self.opened(open)  # type: ignore[attr-defined]


def count_steps(train: list[str], folder: Path) -> int:
    """How many steps the writes of a run have."""
    faults, report = Faults(-1, ""), folder / "steps.txt"
    pid = os.fork()
    if not pid:
        try:
            faults.install()
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            main([*train, "--out", str(folder / "counted")])
            report.write_text(str(faults.count))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return int(report.read_text())


def write_faults(folder: Path, stride: int = 1) -> Tally:
    """An error, their kinds in turn, and the death of the process at each step of each write of a short run.

    With a `stride`, only every such trial.
    """
    tally, began, log = Tally(), time.monotonic(), folder / "log.txt"
    train, whole = ["train", "mle", *SHORT], folder / "whole"
    command([*train, "--out", str(whole)], log)
    steps = range(count_steps(train, folder))
    trials = [(step, fault) for step in steps for fault in (ERRORS[step % len(ERRORS)], "death")]
    for step, fault in trials[::stride]:
        out = folder / "faulty"
        code, told = command([*train, "--out", str(out)], log, Faults(step, fault).install)
        complaints = [line for line in told.splitlines() if line.startswith("formula-env: cannot write")]
        said = code == 2 and len(complaints) == 1 and "Traceback" not in told
        died = fault == "death" and code == -signal.SIGKILL
        saved = [path.read_bytes() for path in checkpoints(out)]
        code_after, told_after = go_on(train, out, log)
        fits = (said or died) and code_after == 0 and is_same(whole, out)
        tally.expect(
            fits, f"{fault} at step {step}, {len(saved)} checkpoints: {told[-200:]}; then {told_after[-200:]}"
        )
        shutil.rmtree(out, ignore_errors=True)
    tally.seconds = time.monotonic() - began
    return tally


# --- damage ---------------------------------------------------------------------------------------------------


def damaged(content: bytes, places: int, rng: random.Random) -> Iterator[bytes]:
    """The content with one bit flipped, and cut, in each of so many equal regions."""
    for region in range(places):
        first, last = region * len(content) // places, (region + 1) * len(content) // places
        if first == last:
            continue
        at = rng.randrange(first, last)
        yield content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        yield content[:at]


def damage(folder: Path, places: int, rng: random.Random) -> dict[str, Tally]:
    """Damage each file of a finished and of a stopped run."""
    log, finished, stopped = folder / "log.txt", folder / "finished", folder / "stopped"
    command(["train", "ppo", *TINY_PPO, "--out", str(finished)], log)
    shutil.copytree(finished, stopped)
    for name in ("summary.json", "SHA256SUMS", checkpoints(stopped)[-1].name):
        (stopped / name).unlink()
    return {
        "damaged checkpoint": damaged_checkpoints(finished, 10 * places, rng, log),
        "damaged record or export": damaged_records(finished, places, rng, log),
        "damaged while going on": damaged_while_going_on(stopped, places, rng, log),
    }


def each_damage(path: Path, places: int, rng: random.Random) -> Iterator[None]:
    """The file damaged in one way after the other, and whole again at the end."""
    content = path.read_bytes()
    for other in damaged(content, places, rng):
        path.write_bytes(other)
        yield
    path.write_bytes(content)


def damaged_checkpoints(run: Path, places: int, rng: random.Random, log: Path) -> Tally:
    """The newest is named, and the one before it taken."""
    tally, began = Tally(), time.monotonic()
    older, newest = checkpoints(run)
    arguments = ["sample", str(run), "-n", "5"]
    content = newest.read_bytes()
    newest.unlink()
    _, expected = command(arguments, log)
    newest.write_bytes(content)
    for _ in each_damage(newest, places, rng):
        code, told = command(arguments, log)
        named = f"formula-env: {newest}" in told and told.count("formula-env: ") == 1 and older.name in told
        tally.expect(code == 0 and named and expected in told, f"{newest.name}: {told[-300:]}")
    tally.seconds = time.monotonic() - began
    return tally


def damaged_records(run: Path, places: int, rng: random.Random, log: Path) -> Tally:
    """Every file of a finished run's record is refused in one line."""
    tally, began = Tally(), time.monotonic()
    for name in RECORD:
        for _ in each_damage(run / name, places, rng):
            code, told = command(["report", str(run)], log)
            refused = code == 2 and len(told.splitlines()) == 1 and "formula-env: " in told
            tally.expect(refused, f"{name}: exit code {code}: {told[-300:]}")
    tally.seconds = time.monotonic() - began
    return tally


def damaged_while_going_on(run: Path, places: int, rng: random.Random, log: Path) -> Tally:
    """Rows and settings of a run that goes on are as its checkpoint knows them, or refused."""
    tally, began = Tally(), time.monotonic()
    for name in ("config.yaml", "metrics.jsonl"):
        whole = (run / name).read_bytes()
        for other in damaged(whole, places, rng):
            copy = run.with_name("copy")
            shutil.copytree(run, copy)
            (copy / name).write_bytes(other)
            code, told = command(["resume", str(copy)], log)
            noticed = code == 2 and len(told.splitlines()) == 1
            finished = run.with_name("finished")
            harmless = code == 0 and is_same(finished, copy)  # rows behind the checkpoint, a comment, the device
            tally.expect(noticed or harmless, f"{name}: exit code {code}: {told[-300:]}")
            shutil.rmtree(copy)
    tally.seconds = time.monotonic() - began
    return tally


# --- all ------------------------------------------------------------------------------------------------------


def torture(times: int, stride: int, places: int, seed: int) -> dict[str, Tally]:
    """All trials, on two cores; the table is printed as they are done."""
    torch.set_num_threads(1)
    import_everything()
    parts = [("faults", stride), ("damage", places), *((name, times) for name in ALGORITHMS)]
    tallies: dict[str, Tally] = {}
    with get_context("fork").Pool(2) as pool:
        for done in pool.imap_unordered(partial(part, seed=seed), parts, chunksize=1):
            tallies |= done
            for kind, tally in done.items():
                show(kind, tally)
    return dict(sorted(tallies.items()))


def part(name_and_size: tuple[str, int], seed: int) -> dict[str, Tally]:
    """The trials of one kind, in a folder of their own."""
    name, size = name_and_size
    rng = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory() as folder:
        if name == "faults":
            return {"failing write": write_faults(Path(folder), size)}
        if name == "damage":
            return damage(Path(folder), size, rng)
        return {f"kill {name}": kills(name, size, Path(folder), rng)}


def show(kind: str, tally: Tally) -> None:
    print(f"{kind:<28}{tally.trials:>6} trials{len(tally.failures):>5} failed{tally.seconds:>8.0f} s", flush=True)
    for failure in tally.failures[:5]:
        print(f"    {failure}", flush=True)


def commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=RESULT.parent
    )
    return told.stdout.strip() or "unknown"


def write_result(tallies: dict[str, Tally], seed: int, seconds: float) -> None:
    document = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "seed": seed,
        "seconds": round(seconds),
        "trials": {
            kind: {"trials": tally.trials, "failed": len(tally.failures)} for kind, tally in tallies.items()
        },
    }
    files.write_atomically(RESULT, json.dumps(document, indent=1) + "\n")


def run_all() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=1, help="runs to kill of each algorithm")
    parser.add_argument(
        "--stride", type=int, default=7, help="1: every step of every write fails; 5: every fifth trial"
    )
    parser.add_argument("--places", type=int, default=8, help="regions of each file that are damaged")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="seed of all random places and moments")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    began = time.monotonic()
    tallies = torture(options.times, options.stride, options.places, options.seed)
    write_result(tallies, options.seed, time.monotonic() - began)
    failed = sum(len(tally.failures) for tally in tallies.values())
    print(f"{sum(tally.trials for tally in tallies.values())} trials, {failed} failed; written to {RESULT}")
    return 1 if failed else 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(run_all())
