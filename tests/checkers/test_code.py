import shlex
import sys
import time
from pathlib import Path

import pytest

from formula_env.checkers import all_checkers, code, find_checker, find_forms, is_code
from formula_env.checkers.code import CodeChecker
from formula_env.errors import FormulaError

FUNCTIONS = """
import time
import numpy as np

def even(formulae):
    print("what it prints is not an answer")
    return [len(formula) % 2 == 0 for formula in formulae]

def numpy_even(formulae):
    return np.array(even(formulae))

def numbers(formulae):
    return [1] * len(formulae)

def few(formulae):
    return [True]

def nothing(formulae):
    pass

def raises(formulae):
    raise KeyError("no\\nsuch")

def hangs(formulae):
    time.sleep(1000)

def leaves(formulae):
    raise SystemExit(3)
"""
PROGRAM = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    verdicts = [len(formula) % 2 == 0 for formula in request["formulae"]]
    print(json.dumps({"id": request["id"], "verdicts": verdicts}), flush=True)
"""


@pytest.fixture
def functions(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FUNCTIONS)
    return str(path)


@pytest.mark.parametrize("name", ["even", "numpy_even"])
def test_a_function_of_a_file_judges(name: str, functions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "BATCH", 3)
    checker = CodeChecker(f"{functions}:{name}")
    texts = ["1", "12", "", "é=", '"\\']
    assert checker(texts).tolist() == [False, True, True, True, True]
    assert checker(texts).tolist() == [False, True, True, True, True]
    assert checker([]).tolist() == []
    checker.close()


def test_a_function_of_a_module_and_a_program_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_module.py").write_text(FUNCTIONS)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    for spec in ("some_module:even", f"command:{sys.executable} program.py"):
        checker = CodeChecker(spec)
        assert checker(["1" * (i % 7) for i in range(9000)]).tolist() == [i % 7 % 2 == 0 for i in range(9000)]
        checker.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numbers", "must return 2 booleans, got int64 of shape"),
        ("few", "must return 2 booleans, got bool of shape"),
        ("nothing", "must return 2 booleans, got object of shape"),
        ("raises", "raised KeyError: 'no"),
        ("hangs", "gave no answer in 3 seconds"),
        ("leaves", "ended with exit code 3 instead of an answer"),
        ("absent", "raised AttributeError: .* has no attribute 'absent'"),
    ],
)
def test_a_bad_function_is_told_in_one_line(name: str, message: str, functions: str) -> None:
    checker = CodeChecker(f"{functions}:{name}", timeout=3)
    with pytest.raises(FormulaError, match=message) as told:
        checker(["1", "2"])
    assert "\n" not in str(told.value)
    assert functions in str(told.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:f", "raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("no/such/file.py:f", "raised FileNotFoundError"),
        ("command:no-such-program", "can't be started: .*No such file"),
        ("command:", "can't be started"),
        ("command:cat", "must answer with a list of true and false as its verdicts"),
        ("command:echo hello", "answered with something else than a line of JSON"),
        ("command:echo [true]", r"must answer with \{\"id\": 1, \"verdicts\": \[true, …\]\}"),
        ("command:echo '{\"verdicts\": [true, true]}'", r"must answer with \{\"id\": 1"),
        ('command:echo \'{"id": 2, "verdicts": [true, true]}\'', "answered request '2' instead of 1"),
        ('command:echo \'{"id": true, "verdicts": [true, true]}\'', "answered request 'True' instead of 1"),
        ('command:echo \'{"id": "1\\n", "verdicts": [true, true]}\'', "answered request .* instead of 1"),
        ('command:echo \'{"id": 1, "verdicts": [1, 0]}\'', "must answer with a list of true and false"),
        ('command:echo \'{"id": 1, "verdicts": [true]}\'', "gave 1 verdicts on 2 formulae"),
        ('command:echo \'{"id": 1, "error": "no licence"}\'', "no licence"),
        ("command:sh -c 'exec 1>&-; sleep 30'", "closed its output instead of answering"),
        ("command:true", "ended with exit code 0 instead of an answer"),
    ],
)
def test_what_is_no_checker_is_told_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message) as told:
        CodeChecker(spec)(["1", "2"])
    assert "\n" not in str(told.value)


def test_two_lines_at_once_are_no_answer(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "input(); print(2 * '{\"id\": 1, \"verdicts\": [true]}\\n', end='', flush=True); input()"
    )
    with pytest.raises(FormulaError, match="exactly one line"):
        CodeChecker(f"command:{sys.executable} {tmp_path / 'program.py'}")(["1"])


def test_a_line_that_comes_later_is_not_taken_for_the_next_answer(tmp_path: Path) -> None:
    go, done = tmp_path / "go", tmp_path / "done"
    (tmp_path / "program.py").write_text(f"""
import pathlib, time
input()
print('{{"id": 1, "verdicts": [true]}}', flush=True)
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
print('{{"id": 1, "verdicts": [true]}}', flush=True)
pathlib.Path({str(done)!r}).touch()
input()
""")
    checker = CodeChecker(f"command:{sys.executable} {tmp_path / 'program.py'}")
    assert checker(["1"]).tolist() == [True]
    go.touch()
    while not done.exists():
        time.sleep(0.01)
    with pytest.raises(FormulaError, match="exactly one line"):
        checker(["2"])


def test_a_late_answer_is_not_taken_for_that_to_the_next_request(tmp_path: Path) -> None:
    """The second request is answered with the answer to the first, once more: only its id shows it."""
    (tmp_path / "program.py").write_text("""
import json
first = json.loads(input())["id"]
for _ in range(2):
    print(json.dumps({"id": first, "verdicts": [True]}), flush=True)
    input()
""")
    checker = CodeChecker(f"command:{sys.executable} {tmp_path / 'program.py'}")
    assert checker(["1"]).tolist() == [True]
    with pytest.raises(FormulaError, match="answered request '1' instead of 2"):
        checker(["2"])


def test_an_answer_without_end_is_given_up() -> None:
    with pytest.raises(FormulaError, match="answered with more than 1,048,576 bytes"):
        CodeChecker("command:cat /dev/zero")(["1"])


def test_an_answer_that_comes_in_bits_must_be_complete_in_time(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
import time
while True:
    print("[", end="", flush=True)
    time.sleep(0.01)
""")
    start = time.monotonic()
    with pytest.raises(FormulaError, match="gave no answer in 2 seconds"):
        CodeChecker(f"command:{sys.executable} {tmp_path / 'program.py'}", timeout=2)(["1"])
    assert time.monotonic() - start < 20


def test_a_hanging_child_of_the_program_is_not_waited_for() -> None:
    start = time.monotonic()
    with pytest.raises(FormulaError, match="gave no answer in 1 seconds"):
        CodeChecker("command:sh -c 'sleep 30; true'", timeout=1)(["1"])
    assert time.monotonic() - start < 20


def test_a_program_that_ended_between_two_requests_is_told() -> None:
    program = """import json; print(json.dumps({"id": json.loads(input())["id"], "verdicts": [True]}))"""
    checker = CodeChecker(f"command:{shlex.join([sys.executable, '-c', program])}")
    assert checker(["1"]).tolist() == [True]
    with pytest.raises(FormulaError, match="ended with exit code 0 instead of an answer"):
        checker(["1"])


def test_names_are_not_code() -> None:
    for name in all_checkers():
        assert not is_code(name)
        assert find_checker(name)(["", "(" * 10**6, "__import__('os')", "9^9^9^9=1"]).tolist() == [False] * 4
        forms = find_forms(name)
        assert forms is not None
        assert forms.canonical("(") == "("
    assert find_forms("mine.py:even") is None
    with pytest.raises(FormulaError, match="unknown checker 'nothing'"):
        find_checker("nothing")
