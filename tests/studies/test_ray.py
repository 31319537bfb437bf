"""Studies on a Ray cluster of two machines, one of which is lost."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from formula_env.cli import main
from formula_env.experiment.checkpoint import checkpoints
from formula_env.files import exclusive
from formula_env.studies import ray_engine
from formula_env.studies.records import incomplete
from formula_env.studies.spec import load_study
from tests.experiment.commands import complaint, rows_without_time, runs_in_this_process, start
from tests.studies.test_study import GAN, HEAD, MLE, write_study

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
def machines(cluster: Cluster) -> Iterator[list[Any]]:
    """Two of one CPU each."""
    nodes = [cluster.add_node(num_cpus=1, **SMALL) for _ in range(2)]
    cluster.wait_for_nodes()
    yield nodes
    for node in nodes:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)


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


def test_an_address_without_a_cluster_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", "127.0.0.1:1")
    assert "no Ray cluster at '127.0.0.1:1'" in line
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
    assert "no Ray cluster at 'auto' ([Errno 111] Connection refused)" in line


def test_a_wrong_address_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--engine", "ray", "--address", "somewhere")
    assert line.endswith("address must be auto or HOST:PORT, got 'somewhere'")


def test_an_address_of_no_cluster_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_study(tmp_path / "small", HEAD + GAN)
    line = complaint(capfd, "study", str(folder), "--address", "auto")
    assert line.endswith("address 'auto' is of a Ray cluster; give --engine ray, too")
