"""The option --proved of `sample` and `found`: only formulae of which there is a proof are printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from formula_env.cli import main
from formula_env.cli.proofs import first_proved
from formula_env.errors import FormulaError
from formula_env.experiment.config import config_from, save_config
from formula_env.experiment.found import FOUND_FILE, FoundFormula, csv_text
from formula_env.tasks import SequenceTask, make_task
from formula_env.tasks.formula_file import FormulaFile
from formula_env.vocabulary import Tokens
from tests.even_ones import EvenOnes
from tests.experiment.commands import complaint
from tests.helpers import every_task, formula_file

TINY = shlex.split(
    "--algo.generator lstm --algo.hidden-dim 16 --algo.rounds 100 --eval-every 100 --eval-samples 50"
)


# --- tasks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", every_task(), ids=lambda task: type(task).__name__)
def test_what_is_proved_is_correct_and_a_task_without_proofs_says_so(task: SequenceTask) -> None:
    tokens = task.sample(20, np.random.default_rng(0))
    if isinstance(task, FormulaFile):  # without a checker
        with pytest.raises(FormulaError, match="leave out --proved"):
            task.is_proved(tokens)
        return
    wrong = tokens.copy()
    wrong[:, 0] = task.vocabulary.pad
    assert task.is_proved(tokens).mean() > 0.8
    assert not task.is_proved(wrong).any()


@pytest.mark.parametrize(
    ("checker", "true", "wrong"),
    [
        ("equation", ["1+1=2", "1+2=3"], ["1+1=3", "2=1+"]),
        ("boolean", ["a|~a", "~a|a"], ["a|a", "a|"]),
        ("calculus", ["d(sin(x))=cos(x)", "sin(x)^2+cos(x)^2=1"], ["d(sin(x))=sin(x)", "d(x"]),
    ],
)
def test_formulae_of_a_file_are_proved_by_the_checker_s_name(
    checker: str, true: list[str], wrong: list[str], tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(true))
    task = make_task("formula-file", path=str(tmp_path / "lines.txt"), checker=checker, held_out_size=0)
    assert task.is_proved(task.encode([*true, *wrong])).tolist() == [True, True, False, False]


# --- commands -------------------------------------------------------------------------------------------------


class Costly(EvenOnes):
    """A task whose proofs are counted; what begins with 1 is proved."""

    tried = 0

    def is_proved(self, tokens: Tokens) -> NDArray[np.bool_]:
        type(self).tried += len(tokens)
        return tokens[:, 0] == 1


def test_no_more_proofs_are_tried_than_are_needed() -> None:
    task = Costly(5)
    begins = np.array([0, 1, 0, 1, 1, 1])
    tokens = np.zeros((6, task.max_length), dtype=np.int64)
    tokens[:, 0] = begins
    for number, rows, tried in ((1, [1], 2), (2, [1, 3], 4), (9, [1, 3, 4, 5], 6)):
        Costly.tried = 0
        assert first_proved(task, tokens, number).tolist() == rows
        assert Costly.tried == tried


def folder_with(found: list[str], folder: Path, task: dict[str, object]) -> Path:
    """A run's folder that holds its settings and what it has found."""
    folder.mkdir()
    save_config(config_from({"algorithm": "mle", "task": task}), folder)
    rows = [FoundFormula(formula, formula, 0, -float(i), False) for i, formula in enumerate(found)]
    (folder / FOUND_FILE).write_text(csv_text(rows, header=True))
    return folder


FOUND = {
    "calculus": ["d(x)=2", "d(x^2)=2*x", "∫(x)=x", "d(sin(x))=cos(x)", "d(exp(x))=exp(x)"],
    "equation": ["1+1=3", "1+1=2", "2+2=5", "7+8=15", "4+4=8"],
}
"""What others' files may claim: the second, fourth and last are true."""


@pytest.mark.parametrize("name", FOUND)
def test_found_prints_the_first_that_are_proved(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(folder_with(FOUND[name], tmp_path / "run", {"name": name}))
    printed = []
    for options in ([], ["--proved"], ["--proved", "--top", "2"]):
        assert main(["found", folder, *options]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    assert printed == [FOUND[name], [FOUND[name][i] for i in (1, 3, 4)], [FOUND[name][i] for i in (1, 3)]]


def test_found_refuses_a_task_without_proofs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = folder_with(["1+1=2"], tmp_path / "run", {"name": "formula-file", "path": formula_file()})
    assert "leave out --proved" in complaint(capfd, "found", str(folder), "--proved")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hardly trained generator of sides made of x, most of whose formulae are wrong."""
    folder = tmp_path_factory.mktemp("proved")
    (folder / "lines.txt").write_text("x=x\nx+x=x+x\n")
    task = ["--task", "formula-file", "--task.path", str(folder / "lines.txt"), "--task.held-out-size", "0"]
    for name, checker in (("run", ["--task.checker", "calculus"]), ("unchecked", [])):
        assert main(["train", "mle", *task, *checker, *TINY, "--preset", "None", "--out", str(folder / name)]) == 0
    return folder / "run"


def test_sample_prints_what_is_proved(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sums of x are all proved, so these are the correct ones: both sides have as many x."""
    printed = []
    for options in ([], ["--correct"], ["--proved"]):
        capsys.readouterr()
        assert main(["sample", str(run), "-n", "30", *options]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    plain, correct, proved = printed
    assert not all(is_identity(formula) for formula in plain)
    assert all(is_identity(formula) for formula in proved)
    assert proved == correct
    assert main(["sample", str(run), "-n", "2", "--proved", "--unique"]) == 0
    assert len(set(capsys.readouterr().out.splitlines())) == 2


def is_identity(formula: str) -> bool:
    match = re.fullmatch(r"(x(?:\+x)*)=(x(?:\+x)*)", formula)
    return match is not None and len(match[1]) == len(match[2])


def test_sample_refuses_a_task_without_proofs(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    message = complaint(capfd, "sample", str(run.parent / "unchecked"), "--proved")
    assert "boolean, calculus, equation" in message
    assert message.endswith("leave out --proved")
