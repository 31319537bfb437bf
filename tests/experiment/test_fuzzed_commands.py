"""Random command lines: each is obeyed or answered by one printable line, and none ends in a traceback."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from formula_env.arguments import options_of
from formula_env.cli import COMMANDS, main
from formula_env.cli.evaluate import EvaluateOptions
from formula_env.cli.listing import ListOptions
from formula_env.cli.sample import SampleOptions
from formula_env.cli.studies import FiguresOptions, ReportOptions, StudyOptions
from formula_env.cli.train import ResumeOptions, TrainOptions
from formula_env.experiment.registry import ALGORITHMS, algorithm_class
from formula_env.experiment.run_folder import RunFolder
from formula_env.studies import pool
from formula_env.tasks import CONTINUOUS_TASKS, TASKS, task_class
from tests.experiment.commands import TINY_MLE

SEED, COUNT = 0, int(os.environ.get("FUZZED_COMMANDS", "300"))

NASTY = [
    "", " ", "-", "--", "=", "0", "-0", "-0.0", "1", "2", "-1", "3.5", "64.0", "1e3", "1e400", "-1e400", "nan",
    "inf", "-inf", "1e-320", "1e30", "１２", "٣", "1_000", "0x10", "1" + "0" * 30, "9" * 5000, "4294967296",
    "None", "True", "false", "[]", "[1, 2", "[1, 2]", "[nan]", "()", "{", "{}", "{'rounds': 3}",
    "{1: {2: {3: 4}}}", "{" * 300, "()" * 999, "\x1b[31mred", "\x07\x08", "\u202eabc", "a\nb\rc",
    "\udcff\udc80", "\x9b1m", "💥", "a b", "a=b", "x" * 300, "/", "..", "cpu", "cuda", "cuda:99", "cpu:7",
    "meta", "mps", "q", "tokens", "exact", "thesis", "binary-sum", "integer-sum", "signed-equation",
]  # fmt: skip

STUDY = """
title = "Limits"
thesis = "none"
about = "An analysis."
[variants.limits]
analysis = "switch-probability"
seeds = [0]
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_folders(tmp_path_factory.mktemp("fuzz"))


def make_folders(root: Path) -> dict[str, Path]:
    """A run, a study, and folders that are neither."""
    assert main(["train", "mle", *TINY_MLE, "--out", str(root / "run")]) == 0
    (root / "study").mkdir()
    (root / "study" / "study.toml").write_text(STUDY)
    assert main(["study", str(root / "study")]) == 0
    names = {
        "run": root / "run",
        "study": root / "study",
        "none": root / "none",
        "file": root / "run" / "config.yaml",
    }
    for name, text in BAD_CONFIGS.items():
        folder = root / name
        shutil.copytree(root / "run", folder)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        names[name] = folder
    for name, text in BAD_STUDIES.items():
        names[name] = root / name
        names[name].mkdir()
        (names[name] / "study.toml").write_text(text, encoding="utf-8")
    return names


SETTINGS = "algorithm: mle\ntask: {name: binary-sum, length: 6}\nalgo: {rounds: 20}\ndata: {size: 500}\n"
BAD_CONFIGS = {
    "yaml-escape": SETTINGS.replace("mle", '"m\\e[31mle"'),
    "yaml-deep": "[" * 5000,
    "yaml-digits": SETTINGS + f"seed: {'9' * 5000}\n",
    "yaml-infinite": SETTINGS.replace("500", ".inf"),
    "yaml-list": SETTINGS.replace("{size: 500}", "[1]"),
    "yaml-key": SETTINGS + "? [1, 2]\n: 3\n",
    "yaml-number": SETTINGS.replace("binary-sum", "3"),
    "yaml-list-name": SETTINGS.replace("algorithm: mle", "algorithm: [mle]"),
    "yaml-table-name": SETTINGS.replace("binary-sum", "{a: 1}"),
    "yaml-date": SETTINGS + "seed: 2001-01-01\ndevice: 3\n",
    "yaml-group": SETTINGS + 'wandb_group: "\\e]0;title\\a"\n',
    "yaml-threads": SETTINGS + "threads: 1.5\n",
    "yaml-samples": SETTINGS + "eval_samples: 1000000000000000000000\n",
    "yaml-loop": "a: &a [*a]\n",
}
BAD_STUDIES = {
    "toml-escape": STUDY.replace("Limits", "L\\u001b[31m").replace("switch", "sw\\u001b[2J"),
    "toml-digits": STUDY.replace("[0]", f"[{'9' * 5000}]"),
    "toml-deep": "a = " + "[" * 5000,
    "toml-name": STUDY.replace("variants.limits", 'variants."../../up\\u202e"'),
    "toml-label": STUDY.replace("seeds", "label = 3\nseeds"),
    "toml-analysis": STUDY.replace('"switch-probability"', "[1]"),
    "toml-algorithm": STUDY.replace('analysis = "switch-probability"', "algorithm = [3]\ntask = {name = [1]}"),
    "toml-figure": STUDY + "[[figures]]\nname = '../x'\nkind = 'curves'\n",
    "toml-claim": STUDY
    + "[[claims]]\nthesis='a'\nverdict='refuted'\nreason='b'\nvariant='limits'\nmetrics=['exact']\n"
    "range=[nan, inf]\nrow={vocab_size=[1]}\n",
}


def random_command(rng: random.Random, folders: dict[str, Path], out: Callable[[], str]) -> list[str]:
    command = rng.choice([*COMMANDS, *COMMANDS, "train", "train", rng.choice(NASTY)])
    folder = str(rng.choice([*folders.values(), Path("nowhere")]))
    if command == "train":
        algorithm, task = rng.choice(sorted(ALGORITHMS)), rng.choice([*TASKS, *CONTINUOUS_TASKS])
        names = sorted(options_of(TrainOptions[task_class(task), algorithm_class(algorithm).Config]))
        start = [command, algorithm, *(["--task", task] if rng.random() < 0.7 else []), "--out", out()]
    else:
        options = {
            "evaluate": EvaluateOptions, "sample": SampleOptions, "resume": ResumeOptions,
            "study": StudyOptions, "figures": FiguresOptions, "report": ReportOptions,
            "list": ListOptions,
        }.get(command, SampleOptions)  # fmt: skip
        names = sorted(options_of(options))
        start = [command, *([rng.choice(["tasks", "algorithms"])] if command == "list" else [folder])]
    arguments: list[str] = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        name, value = rng.choice(names), rng.choice(NASTY)
        if rng.random() < 0.2:
            name = rng.choice([name[1:], name.replace("-", "_"), name.rpartition(".")[2], f"no-{name}", value])
        arguments += rng.choice(
            [[f"--{name}={value}"], [f"--{name}", value], [f"--{name}"], [f"{name}={value}"], [value]]
        )
    if rng.random() < 0.1:
        rng.shuffle(arguments)
    return [*start, *arguments] if rng.random() < 0.95 else [*arguments, *start]


def outcome(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:  # help
        return int(stop.code or 0)


@pytest.mark.slow
def test_random_command_lines(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = RunFolder(folders["run"]).summary()
    monkeypatch.setattr("formula_env.cli.train.train", lambda config, folder: summary)
    monkeypatch.setattr(pool, "run_studies", lambda studies, engine: None)
    for name, limit in (
        ("evaluate.MAX_SAMPLES", 2_000),
        ("sample.MAX_SAMPLES", 2_000),
        ("sample.MAX_DRAWS", 10_000),
    ):
        monkeypatch.setattr(f"formula_env.cli.{name}", limit)  # so that the few commands that are obeyed are fast
    monkeypatch.chdir(tmp_path)
    rng = random.Random(SEED)
    count = 0

    def out() -> str:
        nonlocal count
        count += 1
        return str(tmp_path / f"out-{count}")

    refused = 0
    for _ in range(COUNT):
        arguments = random_command(rng, folders, out)
        try:
            code = outcome(arguments)
        except BaseException as error:
            raise AssertionError(f"{arguments}") from error
        told, err = capsys.readouterr()
        assert code in (0, 2), arguments
        for text in (told, err):
            assert all(line.isprintable() for line in text.replace("\t", "").split("\n")), (arguments, text)
        if code == 2:
            refused += 1
            assert len(err.splitlines()) == 1, (arguments, err)
    assert COUNT / 4 < refused < COUNT
