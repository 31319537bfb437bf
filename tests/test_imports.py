"""Imports point one way: tasks <- floor 1 <- {agents | gan} <- (by name only) experiment. Examples are clients."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("formula_env", "agents", "gan", "examples") for path in (ROOT / folder).rglob("*.py")
)
GROUND = {"formula_env.tasks", "formula_env.vocabulary", "formula_env.errors"}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def forbidden(path: Path, module: str) -> bool:
    place = path.relative_to(ROOT)
    if place.parts[0] in ("agents", "gan"):
        sibling = "gan" if place.parts[0] == "agents" else "agents"
        return within(module, sibling, "formula_env.experiment")
    if place.parts[:2] == ("formula_env", "tasks") or place.name in ("vocabulary.py", "errors.py"):
        ours = within(module, "formula_env", "agents", "gan")
        return (ours and not within(module, *GROUND)) or within(module, "torch", "gymnasium")
    if place.parts[:2] == ("formula_env", "experiment") or place.name == "__main__.py":
        return within(module, "agents", "gan")
    if place.parts[0] == "examples":
        return within(module, "formula_env.experiment")
    return within(module, "agents", "gan", "formula_env.experiment")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    assert not [module for module in imported(path) if forbidden(path, module)]


def test_the_rule_catches_what_it_forbids() -> None:
    assert forbidden(ROOT / "agents/x.py", "gan.softmax")
    assert forbidden(ROOT / "agents/x.py", "formula_env.experiment.loop")
    assert forbidden(ROOT / "formula_env/tasks/x.py", "formula_env.env")
    assert forbidden(ROOT / "formula_env/tasks/x.py", "torch.nn")
    assert forbidden(ROOT / "formula_env/rewards.py", "agents.seqgan")
    assert forbidden(ROOT / "formula_env/experiment/loop.py", "agents.seqgan")
    assert forbidden(ROOT / "examples/x.py", "formula_env.experiment.loop")
    assert not forbidden(ROOT / "examples/x.py", "agents.sb3")
    assert not forbidden(ROOT / "agents/x.py", "formula_env.vector_env")
