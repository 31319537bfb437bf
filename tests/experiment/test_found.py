import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.evaluators import SequenceEvaluator
from formula_env.experiment.found import FOUND_FILE, HEADER, Finder, FoundFormula, read_found
from formula_env.experiment.found_table import in_order
from formula_env.tasks import make_task

TASK = make_task("equation", largest=9)
TRAINING = ["1+2=3", "4+4=8"]
SAMPLES = [["1+2=3", "2+1=3", "2+2=5", "2+1=3", "7+8=15"], ["7+8=15", "5+5=10", "2+1=3"], ["9+9=18"]]


def finder(folder: Path) -> Finder:
    return Finder(folder, SequenceEvaluator(TASK, TASK.encode(TRAINING)))


def formulae(folder: Path) -> list[tuple[str, int]]:
    return [(row.formula, row.round) for row in read_found(folder)]


def falling(tokens: Any) -> NDArray[np.float64]:
    return -np.arange(len(tokens), dtype=np.float64) - 0.5


EXPECTED = [("2+1=3", 0), ("7+8=15", 0), ("5+5=10", 1), ("9+9=18", 2)]


def test_each_correct_new_formula_is_kept_once_with_its_first_round(tmp_path: Path) -> None:
    writer = finder(tmp_path)
    for round_, sample in enumerate(SAMPLES):
        writer.add(TASK.encode(sample), falling, round_)
    assert formulae(tmp_path) == EXPECTED
    first = read_found(tmp_path)[0]
    assert first == FoundFormula("2+1=3", "1+2=3", 0, -0.5, False)
    assert (tmp_path / FOUND_FILE).read_text().startswith(f"{HEADER}\n")


def test_a_killed_run_loses_and_doubles_no_line(tmp_path: Path) -> None:
    """Killed at any byte behind the last checkpoint, or before the first, it goes on from there."""
    path, writer, saved = tmp_path / FOUND_FILE, finder(tmp_path), [0]
    for round_, sample in enumerate(SAMPLES):
        writer.add(TASK.encode(sample), None, round_)
        saved.append(len(path.read_bytes()))
    content = path.read_bytes()
    for checkpoint in (-1, 0, 1):
        for cut in range(saved[checkpoint + 1], len(content)):
            path.write_bytes(content[:cut])
            assert len(read_found(tmp_path)) <= len(EXPECTED)
            resumed = finder(tmp_path)
            resumed.take_up(checkpoint)
            for round_ in range(checkpoint + 1, 3):
                resumed.add(TASK.encode(SAMPLES[round_]), None, round_)
            assert path.read_bytes() == content


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FormulaError, match="nothing new and correct was found"):
        read_found(tmp_path)
    for text in ("something\n", f"{HEADER}\na,b\n", f"{HEADER}\na,b,x,0,True\n", f'{HEADER}\n"a,b,1,0,True\n'):
        (tmp_path / FOUND_FILE).write_text(text)
        with pytest.raises(FormulaError, match="damaged"):
            read_found(tmp_path)


def test_orders() -> None:
    rows = [
        FoundFormula("aa", "aa", 1, -3.0, False),
        FoundFormula("b", "b", 2, float("nan"), False),
        FoundFormula("ccc", "ccc", 0, -1.0, True),
    ]
    assert [row.formula for row in in_order(rows, "log-prob")] == ["ccc", "aa", "b"]
    assert [row.formula for row in in_order(rows, "length")] == ["b", "aa", "ccc"]
    assert [row.formula for row in in_order(rows, "round")] == ["ccc", "aa", "b"]


def test_a_run_keeps_what_it_finds_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "run")
    task = {"task": "equation", "task.largest": 9, "data.size": 70, "data.distinct": True}
    plain = {"data.equal-forms": False, "preset": None}
    tiny = {"algo.rounds": 90, "algo.learning-rate": 0.02, "eval-every": 30}
    options = [part for name, value in {**task, **plain, **tiny}.items() for part in (f"--{name}", str(value))]
    assert main(["train", "mle", *options, "--out", folder]) == 0
    found = read_found(tmp_path / "run")
    assert found
    assert all(row.round in (0, 30, 60, 90) and row.log_prob < 0 for row in found)
    capsys.readouterr()
    outputs = {}
    for form in ("text", "csv", "latex", "html"):
        assert main(["found", folder, "--top", "3", "--order", "round", "--format", form]) == 0
        outputs[form] = capsys.readouterr().out
    shown = [row.formula for row in found[:3]]
    assert outputs["text"].split() == shown
    assert [row["formula"] for row in csv.DictReader(io.StringIO(outputs["csv"]))] == shown
    assert outputs["latex"].count(r"\\") == len(shown) + 1
    assert outputs["html"].count("<tr>") == len(shown) + 1
    assert all(f"<td>{formula}</td>" in outputs["html"] for formula in shown)
    assert main(["sample", folder, "-n", "30", "--correct", "--unique", "Canonical"]) == 0
    written = capsys.readouterr().out.split()
    assert len(set(TASK.canonical(written))) == len(written) == 30
    assert main(["sample", folder, "-n", "70", "--correct", "--unique"]) == 0
    written = capsys.readouterr().out.split()
    assert len(set(TASK.canonical(written))) < len(set(written)) == 70
    assert main(["sample", folder, "--unique", "sometimes"]) == 2
    path = tmp_path / "run" / FOUND_FILE
    path.write_text(path.read_text().replace(found[0].formula, "1+1=3", 1))
    assert main(["found", folder]) == 2
    assert "was altered since the run wrote it" in capsys.readouterr().err
    assert main(["found", folder, "--top", "0"]) == 2
    assert "top must be at least 1" in capsys.readouterr().err
