import re
import warnings
from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from formula_env import reading
from formula_env.errors import FormulaError
from formula_env.reading import read_lines
from formula_env.tasks import SequenceTask, formula_file, make_task
from tests.helpers import FILE_ID

SUMS = [f"{a}+{b}={a + b}" for a in range(12) for b in range(12)]


def write(folder: Path, text: str | bytes, name: str = "lines.txt") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def texts_of(task: SequenceTask) -> tuple[list[str], list[str]]:
    """The training and the held-out formulae."""
    training, held_out = task.training_set(), task.held_out()
    assert training is not None
    assert held_out is not None
    return task.decode(training), task.decode(held_out)


@pytest.mark.parametrize(
    "text", ["1+1=2\n\n 1 + 2 = 3 \n1+1=2", "\ufeff1+1=2\r\n1+2=3\r\n1+1=2\r\n\r\n", "1+1=2\r1+2=3\r1+1=2\r"]
)
def test_blanks_marks_and_line_ends_do_not_matter(text: str, tmp_path: Path) -> None:
    task = make_task("formula-file", path=write(tmp_path, text), held_out_size=0)
    assert sorted(texts_of(task)[0]) == ["1+1=2", "1+1=2", "1+2=3"]
    assert task.vocabulary.symbols == ("+", "1", "2", "3", "=")
    assert task.max_length == 6


def test_training_and_held_out_lines_are_all_lines(tmp_path: Path) -> None:
    lines = [*SUMS, *SUMS[:10]]
    path = write(tmp_path, "\n".join(lines))
    task = make_task("formula-file", path=path, held_out_size=0.25)
    training, held_out = texts_of(task)
    assert len(held_out) == len(set(held_out)) == 36
    assert not set(training) & set(held_out)
    assert Counter(training) == Counter({text: n for text, n in Counter(lines).items() if text not in held_out})
    assert texts_of(make_task("formula-file", path=path, held_out_size=36)) == (training, held_out)
    assert texts_of(make_task("formula-file", path=path, held_out_size=36, split_seed=1))[1] != held_out


def test_with_a_checker_the_file_is_a_sample_of_what_is_correct(tmp_path: Path) -> None:
    """So there is no distance from the file's distribution: it would punish new correct formulae."""
    path = write(tmp_path, "\n".join(SUMS))
    assert make_task("formula-file", path=path, checker="equation").target() is None
    assert make_task("formula-file", path=path).target() is not None


def test_the_target_is_the_files_distribution_and_samples_are_training_lines(tmp_path: Path) -> None:
    task = make_task("formula-file", path=write(tmp_path, "a\na\na\nb\nab\n"), held_out_size=0)
    target = task.target()
    assert target is not None
    assert dict(zip(task.decode(target[0]), target[1].tolist(), strict=True)) == {"a": 0.6, "b": 0.2, "ab": 0.2}
    drawn = Counter(task.decode(task.sample(50_000, np.random.default_rng(0))))
    for text, share in {"a": 0.6, "b": 0.2, "ab": 0.2}.items():
        assert drawn[text] / 50_000 == pytest.approx(share, abs=0.01)
    held_out = make_task("formula-file", path=task.options["path"], held_out_size=1)
    assert set(held_out.decode(held_out.sample(1000, np.random.default_rng(0)))) == set(texts_of(held_out)[0])


def test_without_a_checker_the_lines_alone_are_correct(tmp_path: Path) -> None:
    task = make_task("formula-file", path=write(tmp_path, "\n".join(SUMS)))
    assert task.count() == len(SUMS)
    assert sorted(task.decode(task.enumerate())) == sorted(SUMS)
    others = ["1+1=3", "12+1=13", "2=2"]
    assert task.is_correct(task.encode(["1+1=2", *others])).tolist() == [True, False, False, False]


def test_a_checker_judges_what_is_not_in_the_file_and_refuses_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "1+1=2\n1+1=3\n2+1=3\n\nx\n")
    task = make_task("formula-file", path=path, checker="equation", held_out_size=0)
    assert task.count() is None
    assert texts_of(task)[0] == ["1+1=2", "2+1=3"]
    assert [note.partition(" is left out, it is not correct: ")[::2] for note in task.notes[1:]] == [
        ("line 2", "1+1=3"),
        ("line 5", "x"),
    ]
    assert task.is_correct(task.encode(["1+2=3", "1+2=2"])).tolist() == [True, False]
    assert task.canonical(["2+1=3"]) == ["1+2=3"]
    assert task.skeleton(["2+1=3"]) == ["#+#=#"]


@pytest.mark.parametrize("tokens", ["sin( x ) = + 2", "regex:sin\\(|."])
def test_symbols_may_be_longer_than_a_character(tokens: str, tmp_path: Path) -> None:
    task = make_task("formula-file", path=write(tmp_path, "sin(x)=2\nx+x\n"), tokens=tokens, held_out_size=0)
    assert task.vocabulary.symbols == (")", "+", "2", "=", "sin(", "x")
    assert task.max_length == 6
    assert sorted(texts_of(task)[0]) == ["sin(x)=2", "x+x"]


def test_tokens_that_are_read_otherwise_are_not_correct(tmp_path: Path) -> None:
    """`a`, `b` print as the one symbol `ab`: a formula has one spelling."""
    task = make_task("formula-file", path=write(tmp_path, "ab\na\nb\n"), tokens="ab a b", held_out_size=0)
    a, ab, b, eos, pad = range(5)
    rows = np.array([[ab, eos], [a, eos], [b, pad]])
    assert task.max_length == 2
    assert task.is_correct(rows).tolist() == [True, True, False]
    longer = make_task("formula-file", path=write(tmp_path, "ab\nabb\n"), tokens="ab a b", held_out_size=0)
    ab, b, eos, pad = range(4)
    assert longer.is_correct(np.array([[ab, eos, pad], [ab, b, eos]])).all()


def test_tokens_whose_text_can_not_be_read_are_not_correct(tmp_path: Path) -> None:
    """`a`, `bc` print as `abc`, of which the longest symbol `ab` leaves `c`, which is no symbol."""
    path = write(tmp_path, "aa\nab\nbc\n")
    task = make_task("formula-file", path=path, tokens="ab a bc", held_out_size=0)
    a, _, bc, eos, _ = range(5)
    assert task.is_correct(np.array([[a, bc, eos], [a, a, eos]])).tolist() == [False, True]


def test_a_column_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,formula\n1,"1+1=2"\n2,"f(1,2)"\n\n', "table.csv")
    task = make_task("formula-file", path=path, column="formula", held_out_size=0)
    assert sorted(texts_of(task)[0]) == ["1+1=2", "f(1,2)"]


def test_a_file_is_encoded_in_pieces_as_its_lines_are_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formula_file, "BLOCK", 3)
    lines = ["1", "1+1+1+1+1=5", "é=é", "12", "2+2=4", "𝜋", "1+1=2"]
    task = make_task("formula-file", path=write(tmp_path, "\n".join(lines)), held_out_size=0)
    one_by_one = [task.vocabulary.encode(line, task.max_length).tolist() for line in lines]
    assert task.enumerate().tolist() == sorted(one_by_one)


def test_formulae_of_a_file_are_tokens_as_of_other_tasks(tmp_path: Path) -> None:
    task = make_task("formula-file", path=write(tmp_path, "\n".join(SUMS)))
    training, held_out, target = task.training_set(), task.held_out(), task.target()
    assert training is not None
    assert held_out is not None
    assert target is not None
    for tokens in (training, held_out, target[0], task.enumerate(), task.sample(3, np.random.default_rng(0))):
        assert tokens.dtype == np.int64


BAD: list[tuple[str | bytes, dict[str, object], str]] = [
    ("", {}, "holds no formula; write one on each line"),
    (" \n\r\n", {}, "holds no formula"),
    (b"1+1=2\n\x00\x01", {}, "line 2: a NUL byte; the file must be UTF-8 text"),
    (b"1+1=2\r1\r\n\n\x00", {}, "line 4: a NUL byte"),
    ("1+1=2\n1+1=2".encode("utf-16"), {}, "line 1: a NUL byte"),
    (b"1+1=2\nx\xe9\n", {}, "line 2: not UTF-8; save the file as UTF-8"),
    ("1\n\n" + "1" * 1001, {}, "line 3: 1,001 characters; a formula has at most 1,000"),
    ("1\n2\x07", {}, "line 2: '2\\\\x07' holds control characters"),
    ("\n".join(chr(20_000 + i) for i in range(10_001)), {}, "10,001 different symbols; at most 10,000"),
    ("1+1=3\n2", {"checker": "equation"}, "no line passes the checker 'equation'; the first is '1\\+1=3'"),
    ("1", {"checker": "equatoin"}, "unknown checker 'equatoin'; perhaps you meant equation"),
    ("1\n12\n", {"tokens": "1 3"}, "line 2: '2' in '12' is none of the tokens"),
    ("1", {"tokens": "regex:("}, "is no regular expression"),
    ("abc", {"tokens": "regex:abc|ab|c"}, ""),
    ("abc\nab\nc", {"tokens": "regex:ab(?=c)|."}, "not into the longest symbols"),
    ("a,b\n1,2\n3\n", {"column": "b"}, "line 3: no column 'b', only 1 cells"),
    ("a,b\n1,2\n", {"column": "c"}, "no column 'c'; its first line names a, b"),
    ('a\n"1', {"column": "a"}, "no CSV"),
    ("1\n2\n", {"held_out_size": 2}, "2 of 2 different formulae leave none to train on"),
    ("1\n2\n", {"held_out_size": 1.5}, "held_out_size must be a number of formulae or a share below 1.0"),
    ("1\n2\n", {"held_out_size": -1}, "held_out_size must be"),
    ("1\n2\n", {"sha256": "0" * 64}, "has changed since it was first read"),
]


@pytest.mark.parametrize(("text", "options", "message"), BAD)
def test_bad_files_are_refused_in_one_line(
    text: str | bytes, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    if not message:
        make_task("formula-file", path=path, held_out_size=0, **options)
        return
    with pytest.raises(FormulaError, match=message) as told:
        make_task("formula-file", path=path, **{"held_out_size": 0, **options})
    assert "\n" not in str(told.value)


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormulaError, match="needs a file; name one with --task"):
        make_task("formula-file")
    with pytest.raises(FormulaError, match="does not exist"):
        make_task("formula-file", path=str(tmp_path / "none"))
    with pytest.raises(FormulaError, match="is no file"):
        make_task("formula-file", path="/dev/zero")
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(FormulaError, match="split it"):
        make_task("formula-file", path=write(tmp_path, "1" * 11))
    monkeypatch.setattr(formula_file, "MAX_TOKENS", 10)
    with pytest.raises(FormulaError, match=r"3 different formulae of up to 3 symbols are more than 10 tokens"):
        make_task("formula-file", path=write(tmp_path, "111\n2\n3"))


def test_the_hash_is_an_option_so_that_another_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(SUMS))
    task = make_task("formula-file", path=path)
    assert type(task)(**task.options) == task
    write(tmp_path, "\n".join(SUMS[1:]))
    with pytest.raises(FormulaError, match="has changed since it was first read"):
        type(task)(**task.options)


def test_a_relative_path_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is recorded together with its file can be read on another machine."""
    write(tmp_path, "1\n2")
    monkeypatch.chdir(tmp_path)
    task = make_task("formula-file", path="lines.txt", held_out_size=0)
    assert task.options["path"] == "lines.txt"
    monkeypatch.chdir("/")
    with pytest.raises(FormulaError, match=r"^lines\.txt does not exist$"):
        type(task)(**task.options)


def test_it_is_a_gymnasium_environment(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(SUMS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(FILE_ID, path=path, checker="equation").unwrapped)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(data)
    try:
        lines = read_lines(path)
    except FormulaError:
        return
    assert len(lines.texts) == len(lines.numbers) > 0
    rows = re.split("\r\n|\r|\n", data.decode("utf-8-sig"))
    assert ["".join(rows[number - 1].split()) for number in lines.numbers] == lines.texts
    task = make_task("formula-file", path=str(path), held_out_size=0)
    assert sorted(texts_of(task)[0]) == sorted(lines.texts)


@given(st.text(alphabet='ab,"\n\r', max_size=40))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode())
    try:
        lines = read_lines(path, column="a")
    except FormulaError:
        return
    assert all(lines.texts)
