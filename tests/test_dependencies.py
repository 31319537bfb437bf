"""The versions that are declared, pinned and tested are the same."""

import os
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [*DECLARED["project"]["dependencies"], *DECLARED["build-system"]["requires"]]
NOT_DECLARED = {"pyparsing"}
"""What is pinned for the lowest versions of others only."""


def pins(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def bounds(requirements: list[str], operator: str) -> dict[str, str]:
    without_markers = [each.partition(";")[0] for each in requirements]
    pattern = rf"([\w-]+)(?:\[\w+\])?{operator}([\w.]+)(?:,<[\w.]+)?"
    found = [re.fullmatch(pattern, each) for each in without_markers]
    assert all(found), requirements
    return {match[1]: match[2] for match in found if match is not None}


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared() -> None:
    lowest = pins("constraints-lowest.txt")
    assert {name: lowest[name] for name in lowest.keys() - NOT_DECLARED} == bounds(RUNTIME, ">=")


def test_the_newest_versions_that_are_tested_are_pinned() -> None:
    newest = pins("constraints.txt")
    assert newest.keys() >= bounds(RUNTIME, ">=").keys()
    for name, limit in re.findall(r"'([\w-]+)>=[\w.]+,<([\w.]+)'", str(RUNTIME)):
        assert tuple(map(int, newest[name].split("."))) < tuple(map(int, limit.split("."))), name
    tools = bounds(DECLARED["project"]["optional-dependencies"]["dev"], "==")
    assert {name: newest[name] for name in tools} == tools


@pytest.mark.skipif("LOWEST_VERSIONS" not in os.environ, reason="make test-lowest only")
def test_exactly_the_lowest_versions_are_installed() -> None:
    lowest = pins("constraints-lowest.txt")
    assert {name: version(name).partition("+")[0] for name in lowest} == lowest


def test_the_tests_that_are_run_with_the_lowest_versions_exist() -> None:
    tests = re.search(r"^LOWEST_TESTS := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert tests is not None
    for path in tests[1].split():
        assert (ROOT / path).exists(), path
