"""A task and an algorithm of another package pass every contract by being registered, with no change here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ENTRY_POINTS = """
[formula_env.tasks]
palindrome = tests.external.palindromes:Palindrome

[formula_env.algorithms]
bigram = tests.external.bigrams:Bigram
"""
CONTRACTS = ["tasks/test_contract.py", "test_algorithm_contract.py", "test_env.py", "test_env_contract.py"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process in which the package counts as installed."""
    site = tmp_path_factory.mktemp("site")
    installed = site / "palindromes-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: palindromes\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRY_POINTS)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}


def test_all_contract_tests_hold_for_them(environment: dict[str, str]) -> None:
    options = ["-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "Palindrome or bigram"]
    files = [str(HERE / name) for name in CONTRACTS]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env=environment, capture_output=True, text=True, check=False, cwd=HERE.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    for name in CONTRACTS:
        assert name in done.stdout, f"{name} takes up neither"


def test_the_command_line_trains_them(environment: dict[str, str], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "formula_env",
        "train",
        "bigram",
        "--task",
        "palindrome",
        "--task.length",
        "4",
    ]
    options = ["--data.size", "3", "--algo.rounds", "4", "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"algorithm": "bigram"' in done.stdout
