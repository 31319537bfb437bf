"""The wheel installs one top-level package, beside another package named `agents`, and trains from there."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def pip(*arguments: str | Path) -> None:
    done = subprocess.run([*PIP, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files behind, which the source tree must not hold
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in tracked.split("\0"):
        if name.startswith(("formula_env/", "agents/", "gan/", "tests/test_env", *BUILT_FROM)):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                target.symlink_to((ROOT / name).readlink())
            else:
                target.write_bytes((ROOT / name).read_bytes())
    # The wheel is built from the source distribution, so that lacks nothing.
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


BUILT_FROM = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")


def test_the_source_distribution_holds_no_part_of_the_tests(wheel: Path) -> None:
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert any(name.endswith("formula_env/env.py") for name in names)
    assert not [name for name in names if "/tests" in name]


def test_it_holds_one_top_level_package_and_every_module(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"formula_env"}
    inner = {path.relative_to(ROOT) for path in (ROOT / "formula_env").rglob("[!.]*.py")}
    linked = {
        Path("formula_env", path.relative_to(ROOT))
        for folder in ("agents", "gan")
        for path in (ROOT / folder).rglob("[!.]*.py")
    }
    assert {Path(name) for name in names if name.endswith(".py")} == inner | linked
    assert {"formula_env/py.typed", "formula_env/experiment/thesis.toml"} <= set(names)


def test_it_trains_beside_another_package_named_agents(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip("install", "--no-deps", "--target", site, wheel, "openai-agents==0.24.0")
    code = """
import importlib.util, pathlib, sys
import formula_env.agents.mle
from formula_env.cli import main
spec = importlib.util.find_spec("agents")
assert spec.origin.startswith(sys.argv[1])
assert formula_env.__file__.startswith(sys.argv[1])
assert pathlib.Path(spec.origin).with_name("run.py").exists(), "the other package is whole"
sys.exit(main(["train", "mle", "--task.length", "4", "--algo.rounds", "3", "--data.size", "20", "--out", "run"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code, str(site)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/summary.json").exists()
