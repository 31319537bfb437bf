"""An exported generator: the same by itself, never executed, refused in one line where it is damaged."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import formula_env
from formula_env import hub
from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.loop import load_algorithm
from formula_env.files import write_atomically
from formula_env.trained import load
from tests.experiment.commands import complaint

pytestmark = pytest.mark.slow

SMALL = ["--algo.rounds", "20", "--eval-every", "20", "--eval-samples", "100", "--algo.hidden-dim", "16"]
RUNS = {
    "mle": ["mle", "--task.length", "6", "--algo.cutoff", "0.2"],
    "transformer": ["mle", "--task.length", "6", "--algo.generator", "transformer", "--algo.dropout", "0.1"],
    "gflownet": ["gflownet", "--task", "signed-equation", "--task.length", "5"],
    "relgan": ["relgan", "--task.length", "4", "--algo.mle-rounds", "2"],
    "equation": ["mle", "--task", "equation", "--preset", "None"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str) -> Path:
        if not (folder / name).exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("formula_env.experiment.run_figures.draw_figures", lambda *_: None)
                assert main(["train", *RUNS[name], *SMALL, "--out", str(folder / name)]) == 0
        return folder / name

    return run


@pytest.fixture
def exported(runs: Callable[[str], Path], tmp_path: Path) -> Path:
    assert main(["export", str(runs("mle")), str(tmp_path / "out")]) == 0
    return tmp_path / "out"


@pytest.mark.parametrize("name", RUNS)
def test_it_writes_and_scores_as_the_run_does(name: str, runs: Callable[[str], Path], tmp_path: Path) -> None:
    assert main(["export", str(runs(name)), str(tmp_path / "out")]) == 0
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    generator = formula_env.load(tmp_path / "out")
    assert torch.equal(before, torch.random.get_rng_state()), "the caller's random numbers are as they were"
    config, algorithm, _ = load_algorithm(runs(name))
    expected = algorithm.sample(50, seed=3)
    formulae = generator.sample(50, seed=3)
    assert formulae == config.task.decode(expected)
    assert algorithm.log_prob is not None
    np.testing.assert_array_equal(generator.log_prob(formulae), algorithm.log_prob(expected))
    assert generator.task == config.task
    result = generator.score(200)
    assert result.num == 200
    assert result.correct.number == sum(config.task.is_correct(algorithm.sample(200, seed=0)))


def test_the_card_has_the_runs_metrics(exported: Path, runs: Callable[[str], Path]) -> None:
    card, summary = (exported / "README.md").read_text(), json.loads((runs("mle") / "summary.json").read_text())
    assert card.startswith(
        "---\nlibrary_name: formula-env\ntags: [formula-env, mle, binary-sum]\n---\n# mle on binary-sum"
    )
    assert f"| accuracy | {summary['accuracy']:.2%} |" in card
    assert f"| JSD (nats) | {summary['jsd']:.4f} |" in card
    assert "  cutoff: 0.2\n" in card


def test_a_folder_that_is_there_is_left_alone(
    exported: Path, runs: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert "is there already" in complaint(capfd, "export", str(runs("mle")), str(exported))
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


@pytest.mark.parametrize("good", [0, 1, 2])
def test_an_export_that_fails_leaves_nothing(
    good: int, runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The disk is full after so many files; later the same command succeeds."""
    written: list[Path] = []

    def write(path: Path, content: str | bytes) -> None:
        if len(written) == good:
            raise FormulaError(f"cannot write {path}: No space left on device")
        written.append(path)
        write_atomically(path, content)

    command = ["export", str(runs("mle")), str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr("formula_env.trained.write_atomically", write)
        assert "No space left on device" in complaint(capfd, *command)
    assert not (tmp_path / "out").exists()
    assert main(command) == 0


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("run", "message"),
    [
        (["vanilla-gan", "--task", "integer-sum"], "vanilla-gan has no generator that can be exported"),
        (["ppo", "--task.length", "4"], "ppo has no generator that can be exported"),
        (
            ["leakgan", "--task.length", "4", "--algo.mle-rounds", "1"],
            "leakgan's generator reads its discriminator",
        ),
    ],
)
def test_what_can_not_stand_alone_is_refused(
    run: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *run, "--algo.rounds", "2", "--eval-samples", "50", "--out", str(tmp_path / "run")]) == 0
    assert message in complaint(capfd, "export", str(tmp_path / "run"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "generator.json"
    about = json.loads(path.read_text())
    edit(about)
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda about: about.update(format=9), "has format 9; formula-env"),
        (lambda about: about.pop("task"), "lacks 'task'"),
        (lambda about: about.update(task=3), "task must be a table of settings, got 3"),
        (lambda about: about["task"].update(name=3), "the task has no name"),
        (lambda about: about["task"].update(name="binary-sums"), "unknown task 'binary-sums'"),
        (lambda about: about["task"].update(length=7), "length"),
        (lambda about: about["task"].update(name="os:system"), "'os:system', which is code and would run here"),
        (lambda about: about["generator"].update(colour="red"), "unknown setting 'colour' of the generator"),
        (lambda about: about["generator"].update(hidden_dim="8"), "hidden_dim must be"),
        (lambda about: about["generator"].update(hidden_dim=8), "is damaged, or of another network: "),
    ],
)
def test_settings_that_were_changed_are_refused(
    edit: Callable[[dict[str, Any]], None], message: str, exported: Path
) -> None:
    change(exported, edit)
    with pytest.raises(FormulaError, match=message) as error:
        load(exported)
    assert "\n" not in str(error.value)


def test_weights_that_were_damaged_are_refused(exported: Path) -> None:
    path = exported / "generator.safetensors"
    whole = path.read_bytes()
    odd = b'{"x":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}}'
    for content in (
        b"",
        len(odd).to_bytes(8, "little") + odd + b"x",
        whole[:-5],
        b"\x80\x04}." + whole,
        b"x" * len(whole),
    ):
        path.write_bytes(content)
        with pytest.raises(FormulaError, match="is damaged"):
            load(exported)
    path.write_bytes(whole)
    weights = load_file(path)
    weights["output.weight"][0, 0] = float("nan")
    save_file(weights, path)
    with pytest.raises(FormulaError, match="not finite"):
        load(exported)
    path.unlink()
    with pytest.raises(FormulaError, match="cannot read"):
        load(exported)
    with pytest.raises(FormulaError, match=r"holds no generator\.json"):
        load(exported / "nowhere")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda generator: generator.sample(0), "n must be at least 1"),
        (lambda generator: generator.sample(1, -1), "seed must be"),
        (lambda generator: generator.log_prob(["01x"]), "x"),
        (lambda generator: generator.log_prob(["0101"]), "'0101' has 4 symbols; the generator writes exactly 6"),
    ],
)
def test_wrong_arguments_are_refused(call: Callable[[Any], Any], message: str, exported: Path) -> None:
    with pytest.raises(FormulaError, match=message):
        call(load(exported))


class Hub:
    """A stub of what is used of `huggingface_hub`, which stores repositories in a folder; nothing was uploaded to
    the real Hub."""

    def __init__(self, store: Path) -> None:
        self.store, self.private = store, True

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        if "/" not in repo_id:
            raise ValueError("Repo id must be in the form 'namespace/repo_name'")
        self.private = private
        (self.store / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str, allow_patterns: list[str]) -> None:
        for name in allow_patterns:
            (self.store / repo_id / name).write_bytes((Path(folder_path) / name).read_bytes())

    def snapshot_download(self, repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        if not (self.store / repo_id).exists():
            raise OSError("404 Client Error.\nRepository Not Found")
        assert set(allow_patterns) == {"generator.safetensors", "generator.json", "README.md"}
        return str(self.store / repo_id)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    there = Hub(tmp_path / "hub")
    names = ("create_repo", "upload_folder", "snapshot_download")
    monkeypatch.setitem(
        sys.modules, "huggingface_hub", SimpleNamespace(**{name: getattr(there, name) for name in names})
    )
    return there


def test_a_generator_goes_to_the_hub_and_comes_back(
    stub: Hub, runs: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(runs("mle")), str(tmp_path / "out"), "--hub", "me/sums"]) == 0
    assert "https://huggingface.co/me/sums" in capfd.readouterr().out
    assert stub.private
    assert load(hub.download("me/sums")).sample(5) == load(tmp_path / "out").sample(5)


@pytest.mark.usefixtures("stub")
def test_what_the_hub_refuses_is_one_line(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormulaError, match=r"^Hugging Face Hub, me/none: 404 Client Error. Repository Not Found$"):
        hub.download("me/none")

    class Unreachable(Exception):
        """An error of the network's own kind."""

    def connect(*_: object, **__: object) -> None:
        raise Unreachable("no route to host")

    monkeypatch.setattr(sys.modules["huggingface_hub"], "create_repo", connect)
    with pytest.raises(FormulaError, match="no route to host"):
        hub.upload(exported, "me/sums")
    monkeypatch.undo()


def test_an_upload_that_failed_can_be_repeated(
    stub: Hub, runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """By the call that the error names."""

    def fail(**_: object) -> None:
        raise OSError("connection lost")

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["huggingface_hub"], "upload_folder", fail)
        assert main(["export", str(runs("mle")), str(out), "--hub", "me/sums"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("formula-env: Hugging Face Hub, me/sums: connection lost; the export itself is whole")
    assert line.endswith(f"to upload it in Python: formula_env.hub.upload('{out}', 'me/sums')")
    assert hub.upload(str(out), "me/sums") == "https://huggingface.co/me/sums"
    assert load(hub.download("me/sums")).sample(5) == load(out).sample(5)


def test_names_that_the_hub_refuses_are_one_line(stub: Hub, exported: Path, tmp_path: Path) -> None:
    assert stub.private
    with pytest.raises(FormulaError, match="Repo id must be in the form"):
        hub.upload(exported, "sums")
    with pytest.raises(FormulaError, match=r"holds no generator\.safetensors"):
        hub.upload(tmp_path, "me/sums")


def test_without_the_package_it_is_named(
    exported: Path, runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FormulaError, match=r"pip install 'formula-env\[hub\]'"):
        hub.upload(exported, "me/sums")
    assert "pip install" in complaint(capfd, "export", str(runs("mle")), str(tmp_path / "new"), "--hub", "me/sums")
    assert not (tmp_path / "new").exists(), "nothing was written that could not be uploaded"
