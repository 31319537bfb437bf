"""The examples, run as their readers run them; warnings are errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from formula_env.cli import main
from formula_env.experiment.config import RunConfig

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = EXAMPLES / "notebooks"
EXACT = r"accuracy (0\.\d{4}), JSD (0\.\d{4}) nats, both exact"


def python(*arguments: object, variables: Mapping[str, str] | None = None, **options: Any) -> str:
    """What it prints, both to stdout and to stderr, with more environment variables and options of `run`."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | dict(variables or {}),
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def example(name: str, *arguments: str) -> str:
    return python("-W", "error", EXAMPLES / name, *arguments)


def notebook(name: str) -> str:
    """What the cells print, in the notebook's folder, from standard input: without `__file__`, as in Jupyter."""
    return python("-W", "error", "-", cwd=NOTEBOOKS, input=(NOTEBOOKS / name).read_text())


def test_every_script_is_run_here() -> None:
    scripts = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")} - {"own_task/brackets.py"}
    run = re.findall(r'(example|notebook)\("([\w/]+\.py)"', Path(__file__).read_text())
    assert scripts == {f"notebooks/{name}" if kind == "notebook" else name for kind, name in run}


def test_the_mask_makes_random_formulae_correct_more_often() -> None:
    printed = example("gymnasium_loop.py", "--formulae", "300")
    shares = re.fullmatch(
        r"any symbols: (.+)% of 300 .* such as .*\nlegal symbols: (.+)% of 300 .* such as .*\n", printed
    )
    assert shares is not None, printed
    # Exactly 0.08% (60 of 5^7 sequences), and 31.25% with masks.
    assert float(shares[1]) < 2 < 20 < float(shares[2])


def test_three_lines_learn_from_the_discriminator() -> None:
    printed = example("sb3_three_lines.py", "--steps", "80000")
    found = re.fullmatch(rf"{EXACT}; (\d+) of 70 correct formulae reached\n", printed)
    assert found is not None, printed
    assert float(found[1]) > 0.7 > 70 / 256, "what is correct of random sequences"
    assert float(found[2]) < 0.15
    assert int(found[3]) > 60


@pytest.mark.parametrize(
    "options",
    [
        # Larger steps learn the same in half the time.
        ["--steps", "100000", "--num-envs", "128", "--learning-rate", "6e-3"],
        pytest.param([], marks=pytest.mark.exhaustive),
    ],
    ids=["fast", "default"],
)
def test_a_client_that_has_never_heard_of_gans_learns(options: list[str]) -> None:
    printed = example("cleanrl_style.py", *options)
    found = re.fullmatch(rf"{EXACT}; as varied as (\d+\.\d) of 70 correct formulae\n", printed)
    assert found is not None, printed
    assert float(found[1]) > 0.6
    assert float(found[2]) < 0.2
    assert float(found[3]) > 50


def test_masks_are_found_in_either_place() -> None:
    printed = example("masks.py", "--steps", "32000")
    found = re.fullmatch(
        rf"MaskablePPO: {EXACT}; (\d+) of 12 .*\nPPO that sees the mask: (\d+) of its last 100 .*\n", printed
    )
    assert found is not None, printed
    assert float(found[1]) > 0.8
    assert int(found[4]) > 60


def test_a_task_of_one_s_own_is_learnt() -> None:
    printed = example("own_task/train.py", "--steps", "50000")
    found = re.fullmatch(rf"{EXACT}; (\d+) of 14 correct formulae reached\n", printed)
    assert found is not None, printed
    assert float(found[1]) > 0.5 > 14 / 256, "what is correct of random sequences"


def test_the_brackets_are_the_balanced_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / "own_task")
    from brackets import Brackets  # pyright: ignore[reportMissingImports]

    task = Brackets(8)
    every = ["".join(symbols) for symbols in product("()", repeat=8)]
    assert task.is_correct(task.encode(every)).tolist() == [balanced(formula) for formula in every]
    assert task.legal_symbols(task.encode(every)[:, :7]).all()
    with pytest.raises(ValueError, match="length must be an even number from 2 to 64, got 7"):
        Brackets(7)


def balanced(formula: str) -> bool:
    while "()" in formula:
        formula = formula.replace("()", "")
    return not formula


BUILD = "import sys; from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel(sys.argv[1])"


def test_once_installed_the_task_has_a_name_everywhere(tmp_path: Path) -> None:
    """Installed by hand: the metadata that its build writes, and the module, on the path."""
    package = shutil.copytree(EXAMPLES / "own_task", tmp_path / "package")
    subprocess.run([sys.executable, "-c", BUILD, tmp_path], cwd=package, check=True, capture_output=True)
    installed = {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, package, EXAMPLES.parent)))}
    run = tmp_path / "run"
    tiny = ["--task.length=4", "--algo.rounds=2", "--eval-samples=100", "--json"]
    python("-m", "formula_env", "train", "mle", "--task", "brackets", *tiny, "--out", run, variables=installed)
    assert json.loads((run / "summary.json").read_text())["task"] == "brackets"
    make = 'import gymnasium; print(gymnasium.make("formula_env:Formula/Brackets-v0", length=4).unwrapped.task)'
    assert python("-c", make, variables=installed) == "Brackets(length=4)\n"


@pytest.mark.parametrize("last", [False, True])
def test_the_sweep_s_command_is_one_of_ours(last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built by W&B's own functions from the first, or the last, value of each parameter."""
    sweep = yaml.safe_load((EXAMPLES / "sweep.yaml").read_text())
    assert sweep["metric"] == {"name": "eval/jsd", "goal": "minimize"}
    chosen = {name: choose(parameter, last) for name, parameter in sweep["parameters"].items()}
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    command = [
        word
        for part in create_sweep_command(sweep["command"])
        for word in (arguments["args"] if part == "${args}" else [part])
    ]
    assert command[0] == "formula-env"
    configs: list[RunConfig[Any, Any]] = []
    monkeypatch.setattr("formula_env.cli.train.train", lambda config, _: configs.append(config))
    monkeypatch.setattr("formula_env.cli.train._show", lambda *_: None)
    assert main(command[1:]) == 0
    (config,) = configs
    assert config.track
    assert (config.algorithm, config.task_name) == ("ppo", "binary-sum")
    for name, value in chosen.items():
        found: Any = config
        for part in name.replace("-", "_").split("."):
            found = getattr(found, part)
        assert found == value, name


def choose(parameter: dict[str, Any], last: bool) -> Any:
    if "value" in parameter:
        return parameter["value"]
    values = parameter["values"] if "values" in parameter else [parameter["min"], parameter["max"]]
    return values[-1 if last else 0]


def test_the_notebook_of_the_environment() -> None:
    printed = notebook("environment.py")
    assert re.search(r"random writing: 2\d\.\d% correct; 70 of 256 strings are, 27\.3%", printed)
    assert "'accuracy': 1.0, 'coverage': 1.0" in printed


def test_the_notebook_of_stable_baselines3() -> None:
    """It learns: of 64 strings 20 are correct, 31%."""
    first, second = map(float, re.findall(r"accuracy (0\.\d+)", notebook("sb3_discriminator.py")))
    assert 0.31 < first < second
    assert second > 0.6


def test_the_notebook_of_a_file() -> None:
    printed = notebook("your_formulae.py")
    found = re.findall(r"^(\d+)\+(\d+)=(\d+)$", printed, flags=re.MULTILINE)
    assert len(found) == 5
    assert all(int(a) + int(b) == int(c) for a, b, c in found)
    assert "well-formed 3 of 4, correct 2" in printed


def test_the_notebook_of_a_study() -> None:
    printed = notebook("study_rows.py")
    assert re.search(r"SeqGAN +10 seeds, JSD 0\.0095, accuracy 99\.92%", printed)
    assert Path(printed.splitlines()[-1]).stat().st_size > 10_000


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_is_cells_of_text_and_code(path: Path) -> None:
    cells = path.read_text().split("# %%")
    assert cells[0] == ""
    assert cells[1].startswith(" [markdown]\n# # ")
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 2
    for cell in cells[1:]:
        if cell.startswith(" [markdown]"):
            assert all(line.startswith("#") for line in cell.strip().splitlines()[1:])
        else:
            compile(cell, str(path), "exec")
