"""TensorBoard: what was written is read back; what fails costs a notice, never the run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from formula_env.experiment.run_folder import RunFolder
from tests.experiment.commands import TINY_MLE, TINY_PPO, assert_same_run

pytestmark = pytest.mark.slow


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    events.Reload()
    return events


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curve(events: EventAccumulator, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(name)]


@pytest.mark.parametrize(("algorithm", "options"), [("mle", TINY_MLE), ("ppo", TINY_PPO)])
def test_a_run_holds_what_was_logged(algorithm: str, options: list[str], tmp_path: Path) -> None:
    """Metrics, those of Stable-Baselines3 among them; sampled formulae as text; settings; figures."""
    folder = tmp_path / "run"
    assert main(["train", algorithm, *options, "--tensorboard", "--out", str(folder)]) == 0
    events, written = read(folder), rows(folder)
    known = set(events.Tags()["scalars"])
    for name in ("eval/accuracy", "eval/jsd", "eval/jsd_exact", "seconds", "env_steps"):
        expected = [(row["round"], float(row[name])) for row in written]
        found = [(step, value) for step, value in curve(events, name) if step in dict(expected)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert dict(found) == pytest.approx(dict(expected), rel=1e-6), name
    assert "round" not in known
    if algorithm == "ppo":
        assert "rollout/ep_rew_mean" in known
    (told,) = events.Tensors("formulae/text_summary")
    assert told.step == written[-1]["round"]
    text = told.tensor_proto.string_val[0].decode()
    first = (folder / "samples.txt").read_text().split("\t")[0]
    assert f"| `{first}` |" in text
    assert (
        "algorithm: " + algorithm in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    )
    figures = sorted((folder / "figures").glob("*.png"))
    assert figures
    for path in figures:
        (shown,) = events.Images(f"figures/{path.stem}")
        (tmp_path / "shown.png").write_bytes(shown.encoded_image_string)
        found, drawn = np.asarray(Image.open(tmp_path / "shown.png")), imread(path)[..., :3]
        assert np.abs(found / 255 - drawn).max() < 0.01


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untracked") / "run"
    assert main(["train", "mle", *TINY_MLE, "--out", str(folder)]) == 0
    return folder


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_was_killed_goes_on_without_showing_a_round_twice(untracked: Path, tmp_path: Path) -> None:
    """It has logged rounds after its last checkpoint, which come again when it is resumed."""
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--tensorboard", "--out", str(folder)]) == 0
    (folder / "summary.json").unlink()
    checkpoints(folder)[-1].unlink()
    assert main(["resume", str(folder)]) == 0
    assert len(list((folder / "tensorboard").iterdir())) == 2
    steps = [step for step, _ in curve(read(folder), "train/nll")]
    assert steps == sorted(set(steps))
    assert_same_run(untracked, folder)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("good", [3, 40, 10_000])
def test_a_full_disk_costs_a_notice_and_not_the_run(
    good: int, untracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the first so many events nothing can be written."""
    write, calls = RecordWriter.write, []

    def write_or_fail(self: RecordWriter, data: bytes) -> None:
        calls.append(data)
        if len(calls) > good:
            raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", write_or_fail)
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--tensorboard", "--out", str(folder)]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("TensorBoard")]
    notice = "TensorBoard: No space left on device; the run goes on without it"
    assert said == [notice] * (good < len(calls))
    assert_same_run(untracked, folder)


def test_a_figure_that_can_not_be_read_costs_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(folder: RunFolder, summary: dict[str, Any]) -> None:
        (folder.path / "figures").mkdir()
        (folder.path / "figures" / "torn.png").write_bytes(b"\x89PNG")

    monkeypatch.setattr("formula_env.experiment.run_figures.draw_figures", draw)
    folder = tmp_path / "run"
    assert main(["train", "mle", *TINY_MLE, "--tensorboard", "--out", str(folder)]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("TensorBoard")]
    assert len(said) == 1
    assert said[0].endswith("; the run goes on without it")


def lose_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)


def refuse_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the right to write there, which root always has."""
    mkdir = Path.mkdir

    def mkdir_or_fail(self: Path, *arguments: Any, **options: Any) -> None:
        if self.name == "tensorboard":
            raise PermissionError(13, "Permission denied")
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir_or_fail)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lose_the_package, "its package is missing; install it by pip install 'formula-env[tensorboard]'"),
        (refuse_the_folder, "can't be written: Permission denied; mend that, or leave out --tensorboard"),
    ],
)
def test_what_it_lacks_costs_a_notice_and_not_the_run(
    break_it: Callable[[pytest.MonkeyPatch], None], message: str, untracked: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of a new run as well as of one that is resumed."""
    folder = tmp_path / "run"
    break_it(monkeypatch)
    for command in (["train", "mle", *TINY_MLE, "--tensorboard", "--out"], ["resume"]):
        assert main([*command, str(folder)]) == 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("TensorBoard")]
        assert message in line
        assert line.endswith("; the run goes on untracked")
        assert_same_run(untracked, folder)
        (folder / "summary.json").unlink()
        checkpoints(folder)[-1].unlink()
