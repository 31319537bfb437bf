"""Commands in fresh processes, with a user's threads, folders, streams and warnings instead of the tests'."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from formula_env.cli import main
from tests.experiment.commands import assert_same_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TINY = shlex.split("--task.length 4 --algo.rounds 4 --data.size 20 --eval-samples 20 --eval-every 2")
COMMAND = [sys.executable, "-m", "formula_env"]
BARE = {"PYTHONPATH": str(ROOT)}
"""No HOME, no PATH, no OMP_NUM_THREADS, and warnings as Python shows them."""

ENVIRONMENTS = {
    "no home to write to": {"HOME": "/dev/null/home", "MPLCONFIGDIR": "/dev/null/matplotlib"},
    "ASCII": {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "LC_ALL": "C"},
    "notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
}
AT_ONCE = {name: value for variables in ENVIRONMENTS.values() for name, value in variables.items()}
ONE_BY_ONE = [pytest.param(each, id=name, marks=pytest.mark.exhaustive) for name, each in ENVIRONMENTS.items()]


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Where nothing can be written, not even by root."""
    return subprocess.run(
        command,
        env={**BARE, **environment},
        cwd="/proc",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained in the tests' own process."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "mle", *TINY, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    "environment", [pytest.param({}, id="bare"), pytest.param(AT_ONCE, id="all at once"), *ONE_BY_ONE]
)
def test_training_works_alike_and_warns_of_nothing(
    environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = run([*COMMAND, "train", "mle", *TINY, "--out", str(out)], environment)
    assert done.returncode == 0, done.stderr
    assert b"Warning" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert_same_run(folder, out)


ALL_COMMANDS = """
import sys
from formula_env.__main__ import main

commands = [
    "--help", "train mle --help", "train seqgan --help", "resume --help", "evaluate --help", "sample --help",
    "study --help", "figures --help", "report --help", "list --help", "list tasks", "list algorithms",
    "list tasks --json", "report RUN", "evaluate RUN --samples 10",
    "sample RUN -n 3", "sample RUN -n 3 --format csv", "sample RUN -n 3 --format latex", "resume RUN",
]
run = sys.argv[1]
for command in commands:
    print(f"$ {command}", flush=True)
    sys.argv = ["formula-env", *command.replace("RUN", run).split()]
    if code := main():
        sys.exit(f"{command}: {code}")
"""


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        ([], {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "LC_ALL": "C"}),
        ([], {"PYTHONIOENCODING": "latin-1:strict", "COLUMNS": "0", "TERM": "dumb"}),
        (["-OO"], {"COLUMNS": "1"}),
    ],
)
def test_every_command_prints(flags: list[str], environment: dict[str, str], folder: Path) -> None:
    done = run([sys.executable, *flags, "-c", ALL_COMMANDS, str(folder)], environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    parts = done.stdout.decode("latin-1").split("$ ")[1:]
    assert len(parts) == 19
    assert all(len(part.splitlines()) > 1 for part in parts), "each prints something"


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", line], env={**os.environ, **BARE}, capture_output=True, check=False)


@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", "2>/dev/full", "2>&1 | head -1 >/dev/null; exit ${PIPESTATUS[0]}"]
)
def test_training_ends_whatever_its_streams_are(closed: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = shell(f"{shlex.join([*COMMAND, 'train', 'mle', *TINY, '--out', str(out)])} {closed}")
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, out)


def test_output_that_can_not_be_written_is_said() -> None:
    done = shell(f"{shlex.join([*COMMAND, 'list', 'tasks'])} >/dev/full")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert b"No space left on device" in line


def test_a_run_outlives_its_terminal(folder: Path, tmp_path: Path) -> None:
    """A bar on a terminal without Unicode, which is closed while the run goes on."""
    ours, theirs = pty.openpty()
    out = tmp_path / "run"
    environment = {**BARE, "PYTHONIOENCODING": "ascii:strict", "TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, "train", "mle", *TINY, "--out", str(out)],
        stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    assert os.read(ours, 1), "the bar is drawn"
    os.close(ours)
    assert process.wait() == 0
    assert_same_run(folder, out)


def test_control_characters_of_an_argument_are_escaped() -> None:
    done = run([*COMMAND, "train", "\x1b[31mred"], {})
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert b"\\x1b[31mred" in done.stderr
