"""What progress shows: the phase, and the numbers of the last evaluation as the summary has them."""

import io
import json
import re
from pathlib import Path

import pytest

from formula_env.cli import main
from formula_env.experiment.progress import Bar, Schedule
from formula_env.experiment.run_report import print_evaluation, print_summary
from formula_env.experiment.terminal import SafeConsole
from tests.experiment.commands import TINY_SEQGAN

EVALUATION = {"round": 20, "eval/accuracy": 0.98765, "eval/jsd": 0.02134, "eval/jsd_exact": True}


def bar(schedule: Schedule, width: int = 80) -> tuple[Bar, io.StringIO]:
    out = io.StringIO()
    return Bar(schedule, None, SafeConsole(file=out, width=width, force_terminal=True, color_system=None)), out


def last_shown(live: Bar, out: io.StringIO) -> str:
    live._progress.refresh()
    return re.split(r"[\r\n]", out.getvalue().strip())[-1].rpartition("\x1b[2K")[2].strip()


def test_the_bar_names_the_phase_of_every_round_and_ends_with_the_last_evaluation() -> None:
    live, out = bar(Schedule(total=20, pretraining=8, start=0))
    phases = []
    for round_ in range(21):
        live.advance(round_, {"discriminator/loss": 0.7})
        phases.append(last_shown(live, out).split()[0])
    assert phases == ["pretraining"] * 8 + ["training"] * 12 + ["done"]
    live.evaluated(EVALUATION)
    assert "20/20 accuracy 98.77%  JSD 0.0213" in last_shown(live, out)
    live.close()
    assert "20/20 accuracy 98.77%" in out.getvalue().splitlines()[-2], "the last line before the cursor returns"


@pytest.mark.parametrize("width", [80, 100])
def test_the_bar_is_not_cut(width: int) -> None:
    live, out = bar(Schedule(total=25_000, pretraining=0, start=0), width)
    live.evaluated(EVALUATION | {"round": 12_500, "eval/jsd_exact": False})
    live.advance(12_500, {"discriminator/loss": 0.7})
    shown = last_shown(live, out)
    live.close()
    assert shown.startswith("training")
    assert re.search(r"12500/25000 accuracy 98.77%  JSD ~0.0213  loss 0.7000  \d+:\d\d left$", shown)


def test_a_bar_that_is_taken_up_again_shows_the_last_evaluation_at_once() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, width=80, force_terminal=True, color_system=None)
    live = Bar(Schedule(total=20, pretraining=8, start=20), EVALUATION, console)
    assert last_shown(live, out).startswith("done")
    assert "20/20 accuracy 98.77%" in last_shown(live, out)
    live.close()


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "arguments",
    [
        ["seqgan", *TINY_SEQGAN],
        ["mle", "--task.length", "32", "--data.size", "300", "--algo.rounds", "4", "--eval-every", "3"],
        ["vanilla-gan", "--task", "integer-sum", "--algo.rounds", "4", "--eval-every", "3"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_last_line_has_the_numbers_of_the_table_under_it(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", *arguments, "--eval-samples", "300", "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if re.match(r"\w+ \d+/\d+ ", line)]
    assert {line.split()[0] for line in lines[:-1]} == {"training"}
    found = re.match(r"done (\d+)/\1  (\w+) (\S+)  JSD (\S+)", lines[-1])
    assert found
    _, name, first, jsd = found.groups()
    table = shown.out.splitlines()
    trained = 3  # label, random sampler, start, trained
    assert cells(table, name)[trained] == first
    assert cells(table, "JSD (nats)")[trained] == jsd
    for line in table[:-1]:
        assert len(line) <= 80
        assert "…" not in line
    print_summary(json.loads((tmp_path / "run" / "summary.json").read_text()))
    assert capsys.readouterr().out.splitlines() == table[:-1]


def cells(table: list[str], label: str) -> list[str]:
    """The entries of a line of a table, its label first."""
    (line,) = [line for line in table if line.startswith(f"│ {label}")]
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_every_metric_of_an_evaluation_has_a_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (["seqgan", *TINY_SEQGAN], ["vanilla-gan", "--task", "integer-sum", "--algo.rounds", "2"]):
        folder = tmp_path / arguments[0]
        assert main(["train", *arguments, "--out", str(folder)]) == 0
        metrics = {
            name.removeprefix("eval/"): value
            for name, value in json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1]).items()
            if name.startswith("eval/") and name != "eval/collapse"
        }
        capsys.readouterr()
        print_evaluation(metrics)
        table = capsys.readouterr().out.splitlines()
        assert max(map(len, table)) <= 80
        for name in set(metrics) - {"jsd_exact"}:
            assert cells(table, f"{name} ")[2], name
