"""Imports point one way: tasks <- floor 1 <- {agents | gan} <- (by name only) experiment <- studies <- cli.

Examples are clients. Only `arguments` knows tyro, and what is read from records never imports the training loop.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("formula_env", "agents", "gan", "examples") for path in (ROOT / folder).rglob("[!.]*.py")
)
GROUND = {
    "formula_env.tasks", "formula_env.checkers", "formula_env.vocabulary", "formula_env.errors",
    "formula_env.suggestions", "formula_env.reading", "formula_env.plugins",
}  # fmt: skip
BELOW_ROLLOUTS = {*GROUND, "formula_env.networks", "formula_env.rollouts"}
WORDS = {"formula_env.metrics", "formula_env.plugins", "formula_env.suggestions"}
"""Modules of text and numbers alone, which import nothing of ours."""
COMMAND_LINE = ("formula_env.cli", "formula_env.arguments", "formula_env.__main__")
AGENTS, GAN = "formula_env.agents", "formula_env.gan"
ROOFS = ("formula_env.experiment", "formula_env.studies", *COMMAND_LINE)
LOOP = "formula_env.experiment.loop"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in ("agents", "gan"):  # links in formula_env point to them
        parts = ("formula_env", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Every module that a file may import, in functions too; `from package import name` may name a module."""
    return imports_in(path.read_text())


def imports_in(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def forbidden(path: Path, module: str) -> bool:
    importer = module_of(path)
    if within(module, "tyro") and importer != "formula_env.arguments":
        return True
    if within(module, "agents", "gan"):
        return True  # another package's name; ours are formula_env.agents and formula_env.gan
    if within(importer, AGENTS, GAN):
        return within(module, GAN if within(importer, AGENTS) else AGENTS, *ROOFS)
    if within(importer, "examples"):
        return within(module, *ROOFS)
    if within(module, AGENTS, GAN):
        return True  # by name only
    if within(importer, *WORDS):
        return within(module, "formula_env", "torch", "numpy")
    if within(importer, *GROUND):
        ours = within(module, "formula_env")
        upwards = within(importer, "formula_env.checkers") and within(module, "formula_env.tasks")
        return upwards or (ours and not within(module, *GROUND)) or within(module, "torch", "gymnasium")
    if within(importer, "formula_env.rollouts"):
        return within(module, "formula_env") and not within(module, *BELOW_ROLLOUTS)
    if importer == "formula_env.episodes":
        return within(module, "formula_env.rewards", "formula_env.credit", "formula_env.vector_env")
    if within(importer, "formula_env.experiment"):
        return within(module, "formula_env.studies", *COMMAND_LINE)
    if within(importer, "formula_env.studies"):
        return within(module, LOOP, *COMMAND_LINE)
    if importer == "formula_env.arguments":
        return within(module, *(roof for roof in ROOFS if roof != importer))
    if importer == "formula_env.__main__":
        return within(module, "formula_env.experiment", "formula_env.studies")
    return not within(importer, "formula_env.cli") and within(module, *ROOFS)


def reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    """All modules that importing this one may import, itself among them."""
    found, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module in imports and module not in found:
            found.add(module)
            waiting += imports[module]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    assert not [module for module in imported(path) if forbidden(path, module)]


def test_studies_never_reach_the_training_loop() -> None:
    imports = {module_of(path): imported(path) for path in FILES}
    of_studies = [module for module in imports if within(module, "formula_env.studies")]
    assert len(of_studies) > 5
    assert not [module for module in of_studies if LOOP in reached(module, imports)]
    assert LOOP in reached("formula_env.cli", imports), "the control: this is how an import of it is found"


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("agents/x.py", "formula_env.gan.softmax"),
        ("agents/x.py", "agents.seqgan"),
        ("agents/x.py", LOOP),
        ("agents/x.py", "formula_env.studies.spec"),
        ("gan/x.py", "formula_env.cli"),
        ("formula_env/tasks/x.py", "formula_env.env"),
        ("formula_env/tasks/x.py", "torch.nn"),
        ("formula_env/checkers/x.py", "torch.nn"),
        ("formula_env/checkers/x.py", "formula_env.env"),
        ("formula_env/checkers/x.py", "formula_env.tasks.base"),
        ("formula_env/metrics.py", "formula_env.errors"),
        ("formula_env/rewards.py", "formula_env.agents.seqgan"),
        ("formula_env/rollouts/x.py", "formula_env.rewards"),
        ("formula_env/episodes.py", "formula_env.credit"),
        ("formula_env/rewards.py", "formula_env.studies.spec"),
        ("formula_env/rewards.py", "formula_env.arguments"),
        ("formula_env/experiment/loop.py", "formula_env.agents.seqgan"),
        ("formula_env/experiment/loop.py", "formula_env.studies.spec"),
        ("formula_env/experiment/loop.py", "formula_env.cli"),
        ("formula_env/experiment/config.py", "tyro"),
        ("formula_env/experiment/config.py", "tyro.conf"),
        ("formula_env/cli/x.py", "tyro.conf"),
        ("formula_env/cli/x.py", "formula_env.agents.seqgan"),
        ("examples/x.py", "agents.sb3"),
        ("formula_env/studies/pool.py", LOOP),
        ("formula_env/studies/pool.py", f"{LOOP}.train"),
        ("formula_env/studies/pool.py", "formula_env.cli"),
        ("formula_env/studies/pool.py", "formula_env.gan.analyses"),
        ("formula_env/arguments.py", "formula_env.experiment.config"),
        ("formula_env/__main__.py", "formula_env.studies.spec"),
        ("examples/x.py", LOOP),
        ("examples/x.py", "formula_env.studies.statistics"),
    ],
)
def test_the_rules_catch_what_they_forbid(path: str, module: str) -> None:
    assert forbidden(ROOT / path, module)


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("examples/x.py", "formula_env.agents.sb3"),
        ("formula_env/tasks/x.py", "formula_env.checkers.equation"),
        ("agents/x.py", "formula_env.vector_env"),
        ("formula_env/cli/x.py", LOOP),
        ("formula_env/cli/x.py", "formula_env.studies.pool"),
        ("formula_env/studies/pool.py", "formula_env.experiment.config"),
        ("formula_env/experiment/loop.py", "formula_env.evaluators"),
        ("formula_env/arguments.py", "tyro"),
        ("formula_env/__main__.py", "formula_env.cli"),
    ],
)
def test_the_rules_allow_the_rest(path: str, module: str) -> None:
    assert not forbidden(ROOT / path, module)


def test_every_form_of_import_is_seen() -> None:
    source = "from formula_env.experiment import loop\ndef f():\n    import tyro.conf as conf"
    assert imports_in(source) == {"formula_env.experiment", LOOP, "tyro.conf"}
