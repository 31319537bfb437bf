"""A run gives the same numbers whatever its caller has set, and leaves what it finds as it was."""

import asyncio
import gc
import json
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.config import load_config
from formula_env.experiment.interrupt import stop_requests
from formula_env.experiment.isolation import isolated
from formula_env.experiment.loop import load_algorithm, resume, train
from tests.experiment.commands import TINY_MLE, TINY_SEQGAN, assert_same_run, rows_without_time

pytestmark = pytest.mark.slow

OPTIONS = {"mle": TINY_MLE, "seqgan": [*TINY_SEQGAN, "--algo.rounds", "8"]}


def state_of_the_process() -> dict[str, Any]:
    """What a caller would not like to find changed."""
    return {
        "torch's random numbers": torch.get_rng_state().tolist(),
        "numpy's random numbers": str(np.random.get_state(legacy=False)),
        "numpy's generator": id(np.random.get_bit_generator()),  # type: ignore[attr-defined]
        "Python's random numbers": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "precision": torch.get_float32_matmul_precision(),
        "numpy's errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)],
        "matplotlib": str(dict.items(matplotlib.rcParams)),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "warnings": (list(warnings.filters), warnings.showwarning, warnings.formatwarning),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.stdout.errors, sys.stderr.errors),
        "others": (sys.argv, list(sys.path), locale.setlocale(locale.LC_ALL), gc.isenabled()),
    }


@pytest.fixture(scope="module", params=list(OPTIONS))
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a caller who has set nothing."""
    folder = tmp_path_factory.mktemp("plain") / request.param
    assert main(["train", request.param, *OPTIONS[request.param], "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def few_figures(plain: Path, request: pytest.FixtureRequest) -> None:
    """To draw takes longer than to train: only the runs of one algorithm show that it changes nothing."""
    if plain.name != "mle":
        request.getfixturevalue("no_figures")


@contextmanager
def restored(get: Callable[[], Any], put: Callable[[Any], object], value: Any) -> Iterator[None]:
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextmanager
def another_numpy_generator() -> Iterator[None]:
    numpy_random: Any = np.random
    with restored(numpy_random.get_bit_generator, numpy_random.set_bit_generator, np.random.PCG64(5)):
        yield


@contextmanager
def seeds() -> Iterator[None]:
    torch.manual_seed(17)
    random.seed(17)
    np.random.seed(17)
    np.random.standard_normal()  # keeps a second number for later
    yield


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "seeds": seeds,
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "float64": lambda: restored(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: restored(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "device": lambda: torch.device("meta"),
    "default device": lambda: restored(lambda: None, torch.set_default_device, "meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: restored(lambda: False, torch.use_deterministic_algorithms, True),
    "precision": lambda: restored(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "threads": lambda: restored(torch.get_num_threads, torch.set_num_threads, 2),
    "errstate": lambda: np.errstate(all="raise"),
    "numpy's generator": another_numpy_generator,
    "warnings": lambda: warnings.catch_warnings(action="ignore"),
    "style": lambda: matplotlib.rc_context({"lines.linewidth": 9}),
}


@pytest.mark.usefixtures("few_figures")
@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_the_same_in_any_mode_and_changes_none(plain: Path, mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with MODES[mode]():
        before = state_of_the_process()
        assert main(["train", plain.name, *OPTIONS[plain.name], "--out", str(folder)]) == 0
        assert state_of_the_process() == before
    assert_same_run(plain, folder)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("mode", ["inference mode", "float64", "device", "errstate", "seeds"])
def test_the_functions_for_scripts_work_in_any_mode(plain: Path, mode: str, tmp_path: Path) -> None:
    """Train, resume, and load an algorithm, which is then used in the caller's mode."""
    config = load_config(plain)
    _, algorithm, evaluator = load_algorithm(plain)
    expected = algorithm.sample(50, seed=3)
    log_prob = algorithm.log_prob
    assert log_prob is not None
    expected_metrics = evaluator(expected, log_prob, algorithm.density_ratio)
    with MODES[mode]():
        before = state_of_the_process()
        train(config, tmp_path / "run")
        (tmp_path / "run/summary.json").unlink()
        checkpoints(tmp_path / "run")[-1].unlink()
        resume(tmp_path / "run")
        _, algorithm, evaluator = load_algorithm(plain)
        sampled = algorithm.sample(50, seed=3)
        metrics = evaluator(sampled, algorithm.log_prob, algorithm.density_ratio)
        assert state_of_the_process() == before
    assert_same_run(plain, tmp_path / "run")
    np.testing.assert_array_equal(sampled, expected)
    assert metrics == expected_metrics


def in_a_thread(work: Callable[[], int]) -> int:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(work()))
    thread.start()
    thread.join()
    (code,) = codes
    return code


def in_an_event_loop(work: Callable[[], int]) -> int:
    async def run() -> int:
        return work()

    return asyncio.run(run())


def in_a_thread_of_an_event_loop(work: Callable[[], int]) -> int:
    async def run() -> int:
        return await asyncio.to_thread(work)

    return asyncio.run(run())


@pytest.mark.usefixtures("few_figures")
@pytest.mark.parametrize("caller", [in_a_thread, in_an_event_loop, in_a_thread_of_an_event_loop])
def test_a_run_is_the_same_wherever_it_is_called(
    plain: Path, caller: Callable[[Callable[[], int]], int], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    before = state_of_the_process()
    assert caller(lambda: main(["train", plain.name, *OPTIONS[plain.name], "--out", str(folder)])) == 0
    assert state_of_the_process() == before
    assert_same_run(plain, folder)


@pytest.mark.usefixtures("few_figures")
def test_of_two_threads_one_runs_at_a_time(plain: Path, tmp_path: Path) -> None:
    config = load_config(plain)
    threads = [threading.Thread(target=train, args=(config, tmp_path / name)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_run(plain, tmp_path / "one")
    assert_same_run(plain, tmp_path / "two")


def test_a_thread_waits_until_another_one_is_no_longer_isolated() -> None:
    entered = threading.Event()

    def enter() -> None:
        with isolated():
            entered.set()

    thread = threading.Thread(target=enter)
    with isolated():
        thread.start()
        assert not entered.wait(0.5)
    thread.join()
    assert entered.is_set()


def test_a_run_that_fails_puts_everything_back(tmp_path: Path) -> None:
    with np.errstate(all="raise"), torch.no_grad():
        before = state_of_the_process()
        assert main(["train", "mle", *TINY_MLE, "--algo.learning-rate", "1e38", "--out", str(tmp_path / "r")]) == 2
        assert state_of_the_process() == before


def test_what_libraries_set_on_import_is_put_back() -> None:
    with warnings.catch_warnings():
        before = dict(os.environ), list(warnings.filters)
        with isolated():
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = "somewhere"
            del os.environ["PATH"]
            warnings.simplefilter("ignore")
        assert (dict(os.environ), list(warnings.filters)) == before


def test_numpy_does_not_raise_what_the_caller_wants_raised() -> None:
    with np.errstate(all="raise"):
        with isolated():
            assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
        assert set(np.geterr().values()) == {"raise"}


def test_ignored_signals_stay_ignored() -> None:
    """As under `nohup`, whose run must outlive its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signum is None
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_that_are_not_pythons_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python shows them as None and can't put them back."""
    found = signal.getsignal
    before = found(signal.SIGTERM)
    monkeypatch.setattr(signal, "getsignal", lambda s: None if s == signal.SIGTERM else found(s))
    with stop_requests():
        assert found(signal.SIGTERM) == before
        assert found(signal.SIGINT) != signal.default_int_handler


def test_a_fresh_process_is_left_as_it_was(tmp_path: Path) -> None:
    """Where the libraries are imported by the run itself."""
    script = (
        "import sys\n"
        "from tests.experiment.test_isolation import state_of_the_process\n"
        "from formula_env.cli import main\n"
        "before = state_of_the_process()\n"
        "assert main(sys.argv[1:]) == 0\n"
        "after = state_of_the_process()\n"
        "print([name for name in before if before[name] != after[name]])\n"
    )
    options = ["--task.length", "4", "--algo.rounds", "2", "--data.size", "20", "--eval-samples", "20", "--json"]
    out = subprocess.run(
        [sys.executable, "-c", script, "train", "ppo", *options, "--out", str(tmp_path / "run")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    summary, changed = out.splitlines()
    assert json.loads(summary)["rounds"] == 2
    assert changed == "[]"
    assert rows_without_time(tmp_path / "run")
