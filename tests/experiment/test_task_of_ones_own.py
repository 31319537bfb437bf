"""`--task module:Class`: a task that is not packaged, which is code, and when it may run."""

import json
import sys
from pathlib import Path
from shutil import copy

import pytest

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.config import config_from
from formula_env.experiment.registry import algorithm_class
from formula_env.studies.spec import load_study
from formula_env.tasks import task_class
from tests.experiment.commands import complaint, load_checkpoint

BRACKETS = Path(__file__).parents[2] / "examples" / "own_task" / "brackets.py"
TRAIN = [
    "--task.length",
    "4",
    "--algo.rounds",
    "4",
    "--eval-every",
    "2",
    "--eval-samples",
    "50",
    "--data.size",
    "50",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module that notes when it is imported."""
    noted = f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
    text = BRACKETS.read_text() + noted
    (tmp_path / "own_brackets.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_brackets", raising=False)
    return tmp_path


def forget(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, in which nothing of the module was imported."""
    for name in [name for name in sys.modules if "own_brackets" in name]:
        monkeypatch.delitem(sys.modules, name)
    (folder / "imported").unlink(missing_ok=True)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("spec", ["own_brackets:Brackets", "own_brackets.py:Brackets"])
def test_it_is_trained_and_its_run_is_opened_with_consent_alone(
    spec: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = folder / "run"
    assert main(["train", "mle", "--task", spec, *TRAIN, "--out", str(run)]) == 0
    assert json.loads((run / "summary.json").read_text())["num_formulae"] == 2
    capfd.readouterr()
    for command in (["sample", "-n", "2"], ["evaluate"], ["resume"]):
        forget(folder, monkeypatch)
        line = complaint(capfd, command[0], str(run), *command[1:])
        assert f"the task is '{spec}', which is code and would run on your machine" in line
        assert not (folder / "imported").exists(), "nothing of it was imported"
        assert main([command[0], str(run), *command[1:], "--trust-checker"]) == 0
        capfd.readouterr()


@pytest.mark.usefixtures("no_figures")
def test_a_checkpoint_can_not_smuggle_in_another_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Consent is to what `config.yaml` names; the run's checkpoint was made with another task."""
    copy(folder / "own_brackets.py", folder / "other_brackets.py")
    for name in ("own", "other"):
        assert main(["train", "mle", "--task", f"{name}_brackets:Brackets", *TRAIN, "--out", name]) == 0
    newest = sorted((folder / "other").glob("checkpoint-*"))[-1]
    assert "other_brackets" in load_checkpoint(folder / "other")["settings"]
    for old in (folder / "own").glob("checkpoint-*"):
        old.unlink()
    copy(newest, folder / "own" / newest.name)
    capfd.readouterr()
    line = complaint(capfd, "sample", "own", "--trust-checker")
    assert "it must have own_brackets:Brackets" in line


HALF = """
from dataclasses import dataclass
from formula_env import SequenceTask

@dataclass(frozen=True)
class Half(SequenceTask):
    length: int = 4
"""
NAMED = """
from dataclasses import dataclass
from own_brackets import Brackets

@dataclass(frozen=True)
class Named(Brackets):
    name: str = "x"
"""
CHECKED = """
from dataclasses import dataclass
from own_brackets import Brackets

@dataclass(frozen=True)
class Checked(Brackets):
    checker: str = "first:check"

    @staticmethod
    def code_in(options):
        return options["checker"]
"""


@pytest.mark.parametrize("module", ["checked", "checked with care"])
def test_consent_to_a_task_is_none_to_another_checker_of_the_same_task(module: str, folder: Path) -> None:
    """As a checkpoint or a record may name it."""
    (folder / f"{module}.py").write_text(CHECKED)
    spec = f"{module}.py:Checked"
    settings = {"algorithm": "mle", "task": {"name": spec, "length": 4, "checker": "first:check"}}
    code = config_from(settings, True).code
    assert code == f"{spec} with first:check"
    assert config_from(settings, code).task_name == spec
    settings["task"] = {**settings["task"], "checker": "second:check"}
    for consent in (code, spec, "first:check", None, False):
        with pytest.raises(FormulaError, match="code"):
            config_from(settings, consent)


def test_a_study_needs_consent(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = folder / "brackets-study"
    study.mkdir()
    (study / "study.toml").write_text(
        'title = "t"\nthesis = "x"\nseeds = [0]\nabout = "a"\n[variants.one]\nlabel = "l"\nalgorithm = "mle"\n'
        'task = { name = "own_brackets:Brackets", length = 4 }\n'
    )
    assert "--trust-checker" in complaint(capfd, "study", str(study))
    assert not (folder / "imported").exists()
    assert load_study(study, trust_checker=True).variants["one"].config(0).code == "own_brackets:Brackets"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere:Brackets", "task nowhere:Brackets: nowhere can't be imported: No module named 'nowhere'"),
        ("./nowhere.py:Brackets", "there is no file ./nowhere.py"),
        ("own_brackets:Bracket", "own_brackets has no class 'Bracket' that is a task"),
        ("own_brackets:np", "has no class 'np' that is a task"),
        ("json:JSONDecoder", "json has no class 'JSONDecoder' that is a task"),
        ("broken:X", "broken can't be imported: division by zero"),
        (":X", "can't be imported"),
        ("formula_env.tasks.formula_file:FormulaFile", "is one of formula-env's own; ask for it by its name"),
        ("leaves:X", "leaves can't be imported: 3"),
        ("half:Half", "the class Half must define "),
        ("named:Named", "an option can't be called name"),
    ],
)
def test_what_is_no_task_is_refused_in_one_line(
    spec: str, message: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "leaves.py").write_text("raise SystemExit(3)\n")
    (folder / "half.py").write_text(HALF)
    (folder / "named.py").write_text(NAMED)
    assert message in complaint(capfd, "train", "mle", "--task", spec)
    assert not (folder / "runs").exists()


@pytest.mark.usefixtures("folder")
def test_help_names_the_tasks_and_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mle", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Tasks: binary-sum, boolean, " in text
    assert f"Presets of mle: {', '.join(algorithm_class('mle').presets)}." in text
    assert task_class("own_brackets:Brackets").__name__ == "Brackets"
