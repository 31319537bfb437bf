"""Studies on a Ray cluster of two machines, one of which is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from formula_env.cli import main
from formula_env.errors import FormulaError
from formula_env.experiment.checkpoint import checkpoints
from formula_env.files import exclusive
from formula_env.studies import ray_engine
from formula_env.studies.records import incomplete
from formula_env.studies.spec import load_study
from tests.experiment.commands import complaint, rows_without_time, runs_in_this_process, start
from tests.studies.test_study import GAN, HEAD, MLE, contents, is_child, write_study
from tests.studies.test_tuning import TINY

pytestmark = pytest.mark.slow

LONG = HEAD + MLE.replace("rounds = 20", "rounds = 600")
"""Long enough for a machine to be lost, or a signal to be sent, behind the first checkpoint."""


SMALL: dict[str, Any] = {"object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that does no work itself."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def machines(cluster: Cluster) -> list[Any]:
    """Two of one CPU each; they stay for the next test, which replaces what was lost."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1, **SMALL)
    cluster.wait_for_nodes()
    return list(cluster.worker_nodes)


def at_work(cluster: Cluster, folder: Path) -> tuple[subprocess.Popen[str], Path, list[Path]]:
    """The process of a study on the cluster, its folder, and its runs' folders, once each has a checkpoint."""
    write_study(folder, LONG)
    process = start("study", folder, "--engine", "ray", "--address", cluster.address)
    runs = [folder / "mle" / f"seed-{seed}" for seed in (0, 1)]
    while not all(map(checkpoints, runs)):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return process, folder, runs


def test_a_lost_machine_loses_no_run_and_changes_no_number(
    cluster: Cluster, machines: list[Any], tmp_path: Path
) -> None:
    process, _, runs = at_work(cluster, tmp_path / "small")
    assert not [run_folder for run_folder in runs if (run_folder / "summary.json").exists()]
    cluster.remove_node(machines[0], allow_graceful=False)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    alone = write_study(tmp_path / "alone" / "small", LONG)
    with runs_in_this_process():
        assert main(["study", str(alone)]) == 0
    starts = [(run_folder / "log.txt").read_text().startswith("training 0/") for run_folder in runs]
    assert sorted(starts) == [False, True], "one of them goes on from a checkpoint"
    for run_folder in runs:
        assert rows_without_time(run_folder) == rows_without_time(alone / "mle" / run_folder.name)


def test_a_stopped_study_saves_its_runs_wherever_they_are(
    cluster: Cluster, machines: list[Any], tmp_path: Path
) -> None:
    process, folder, runs = at_work(cluster, tmp_path / "small")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith(f"go on with: formula-env study {folder}")
    for run_folder in runs:
        assert "saved; go on with: formula-env resume" in (run_folder / "log.txt").read_text()
        assert not (run_folder / "summary.json").exists()


def test_a_task_that_is_asked_to_stop_before_it_begins_starts_nothing(
    cluster: Cluster, machines: list[Any], tmp_path: Path
) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    study = load_study(folder)
    with ray_engine.ray_engine(address=str(cluster.address)) as engine:
        assert engine.jobs == 2
        (run, _), *_ = incomplete(study)
        run.prepare("not begun")
        with exclusive(run.folder):  # whoever is at work there is waited for
            job = engine.start(run)
            job.ask_to_stop(signal.SIGINT)
        job.wait()
        assert job.complaint() == "killed by SIGTERM"
    assert {path.name for path in run.folder.iterdir()} == {"config.yaml"}


def test_a_search_on_a_cluster_has_the_numbers_of_one_machine(
    cluster: Cluster, machines: list[Any], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    search = [*TINY, "--trials", "1"]
    with runs_in_this_process():
        assert main([*search, "--out", str(here)]) == 0
    assert main([*search, "--engine", "ray", "--address", str(cluster.address), "--out", str(there)]) == 0
    assert "finished" in (there / "trials.csv").read_text()
    assert (there / "trials.csv").read_text() == (here / "trials.csv").read_text()
    runs = [folder / "trial-0001" / "seed-101" for folder in (here, there)]
    assert rows_without_time(runs[0]) == rows_without_time(runs[1])


def test_only_runs_that_are_missing_go_to_the_cluster_and_one_that_is_lost_too_often_fails(
    cluster: Cluster, machines: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The first seed was run here; the process of the second is killed as often as it is started."""
    attempts = tmp_path / "attempts"

    @ray.remote(num_cpus=1, max_retries=1)
    def die(folder: str, *_: object) -> None:
        with open(attempts, "a") as file:
            file.write(f"{Path(folder).name} ")
        os.kill(os.getpid(), signal.SIGKILL)

    folder = write_study(tmp_path / "small", HEAD.replace("[0, 1]", "[0]") + MLE)
    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    before = contents(folder / "mle" / "seed-0")
    (folder / "study.toml").write_text(HEAD + MLE)
    on_cluster = ["study", str(folder), "--engine", "ray", "--address", str(cluster.address)]
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "_work", die)
        patch.setattr(ray_engine, "RETRIES", 1)
        assert main(on_cluster) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 2 runs failed, first small/mle/seed-1: its process or its machine was lost 2 times: " in line
    assert attempts.read_text().split() == ["seed-1", "seed-1"]
    assert contents(folder / "mle" / "seed-0") == before

    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    capsys.readouterr()
    assert main(on_cluster) == 0
    assert "complete; nothing was run or changed" in capsys.readouterr().out


IMPATIENT = """
import sys
from formula_env.cli import main
from formula_env.studies import ray_engine

ray_engine.LOST_SECONDS = 1.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_head_that_dies_ends_the_study_in_one_line_and_the_run_is_saved(tmp_path: Path) -> None:
    text = LONG.replace("[0, 1]", "[0]").replace("rounds = 600", "rounds = 6000")
    folder = write_study(tmp_path / "small", text)
    run_folder = folder / "mle" / "seed-0"
    command = [sys.executable, "-c", IMPATIENT, "study", str(folder), "--engine", "ray", "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not checkpoints(run_folder):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        os.kill(head_of(process.pid), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    (line,) = err.splitlines()
    assert "was lost: no answer for 1 s; the runs are kept up to their last checkpoints" in line
    assert not (run_folder / "summary.json").exists()
    assert "saved; go on with: formula-env resume" in (run_folder / "log.txt").read_text()


def head_of(driver: int) -> int:
    """The process of the head (Ray's GCS server) of the cluster that another process has started."""
    children = [path for path in Path("/proc").glob("[0-9]*") if is_child(path, driver)]
    (head,) = [path for path in children if (path / "comm").read_text().strip() == "gcs_server"]
    return int(head.name)


def test_no_run_is_started_while_the_head_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own calls would block then, and end this process after a minute."""
    monkeypatch.setattr(ray_engine, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(ray_engine, "LOST_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        engine = ray_engine.RayEngine(ray_engine.Head(f"127.0.0.1:{server.getsockname()[1]}"), jobs=3)
        assert engine.jobs == 3
    assert engine.jobs == 0
    time.sleep(0.2)
    with pytest.raises(FormulaError, match="was lost: no answer for 0 s"):
        _ = engine.jobs


def test_a_probe_ends_with_ray_s_reason() -> None:
    probe = [sys.executable, "-m", "formula_env.studies.ray_probe", "nonsense", "60"]
    result = subprocess.run(probe, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "Invalid address format: nonsense\n")


def test_a_port_that_is_not_ray_s_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_engine, "PROBE_SECONDS", 3)
    folder = write_study(tmp_path / "small", HEAD + GAN)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", address)
    assert f"no Ray cluster answers at {address!r} (a process listens there, but did not answer" in line
    assert line.endswith("start one with: ray start --head")
    assert [path.name for path in folder.iterdir()] == ["study.toml"]


def test_an_address_without_a_cluster_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", "127.0.0.1:1")
    assert "no Ray cluster answers at '127.0.0.1:1'" in line
    assert line.endswith("start one with: ray start --head")
    assert [path.name for path in folder.iterdir()] == ["study.toml"]


def test_a_cluster_that_is_gone_is_not_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray leaves the address of a cluster that was killed where it looks for the current one."""
    note = tmp_path / "ray_current_cluster"
    note.write_text("127.0.0.1:1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_engine, "CURRENT_CLUSTER", note)
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", "auto")
    assert "no Ray cluster answers at 'auto' ([Errno 111] Connection refused)" in line


def test_a_wrong_address_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", "somewhere")
    assert line.endswith("address must be auto or HOST:PORT, got 'somewhere'")


def test_an_address_of_no_cluster_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--address", "auto")
    assert line.endswith("address 'auto' is of a Ray cluster; give --engine ray, too")
