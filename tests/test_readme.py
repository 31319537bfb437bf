"""What the README shows must run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from formula_env.cli import COMMANDS
from formula_env.tasks import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_steps_the_environment() -> None:
    assert re.fullmatch(r"[01]{8} [01] return [+-]\d\.\d\d\n", output_of(example(0)))


def test_the_example_trains_with_stable_baselines() -> None:
    metrics = ast.literal_eval(output_of(example(1)))
    assert metrics["jsd_exact"]
    assert metrics["accuracy"] > 0.7 > 70 / 256, "what is correct of random sequences"


def example(i: int) -> str:
    code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[i]
    assert len(code.strip().splitlines()) <= 15
    return code


def output_of(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def test_the_commands_and_folders_it_names_exist() -> None:
    commands = set(re.findall(r"^formula-env (\w+)", README, flags=re.MULTILINE))
    assert commands == set(COMMANDS)
    assert set(re.findall(r"--task (\S+)", README)) <= {*TASKS}
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", README):
        assert f"\n{target}:" in makefile
    for name in re.findall(r"^  (\w+(?:\.py|/)) ", README, flags=re.MULTILINE):
        assert (ROOT / "formula_env" / name).exists()
