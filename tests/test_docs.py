"""README.md, CONTRIBUTING.md and docs/*.md: snippets and commands run, links exist, tables are complete.

Numbers are compared with the recorded studies in `tests/test_recorded_studies.py`.
"""

import ast
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from shutil import copytree, ignore_patterns

import gymnasium as gym
import pytest
import yaml

from formula_env import FormulaVectorEnv
from formula_env.cli import COMMANDS, main
from formula_env.env_options import FILTER_OPTIONS, REWARD_OPTIONS, SOFT_OPTIONS
from formula_env.experiment.registry import ALGORITHMS
from formula_env.tasks import CONTINUOUS_TASKS, TASKS, make_task
from tests.experiment.commands import runs_in_this_process

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
IMAGES = f"{REPOSITORY.replace('github.com', 'raw.githubusercontent.com')}/main/"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples/README.md", *DOCS]
QUICK_START = ROOT / "docs/quick-start.md"
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, flags=re.MULTILINE))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in all_blocks(page) if name == language]


def all_blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each block, in the page's order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


# --- Python snippets ------------------------------------------------------------------------------------------

SNIPPETS = [
    pytest.param(code, id=f"{page.relative_to(ROOT)}-{i}")
    for page in PAGES
    for i, code in enumerate(blocks(page, "python"))
    if page != QUICK_START  # has a test of its own, below
    if page != ROOT / "README.md" or i > 1  # the first two have tests of their own, below
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_every_snippet_runs(code: str, tmp_path: Path) -> None:
    output_of(code, tmp_path)


def test_the_first_example_steps_the_environment(tmp_path: Path) -> None:
    step = blocks(ROOT / "README.md", "python")[0]
    assert re.fullmatch(r"[01]{8} [01] return [+-]\d\.\d\d\n", output_of(step, tmp_path))


def test_the_second_example_learns_in_nine_lines(tmp_path: Path) -> None:
    train = blocks(ROOT / "README.md", "python")[1]
    assert len([line for line in train.splitlines() if line]) <= 9
    metrics = ast.literal_eval(output_of(train, tmp_path))
    assert metrics["jsd_exact"]
    assert metrics["accuracy"] > 0.7 > 70 / 256, "what is correct of random sequences"


def test_the_design_s_algorithm_trains_as_another_package(tmp_path: Path) -> None:
    """Its snippet as a module, its entry point as an installed package has it."""
    (code,) = blocks(ROOT / "docs/design.md", "python")
    entry_points = tomllib.loads(blocks(ROOT / "docs/design.md", "toml")[1])["project"]["entry-points"]
    ((group, names),) = entry_points.items()
    ((name, place),) = names.items()
    package, _, module = place.partition(":")[0].partition(".")
    (tmp_path / package).mkdir()
    (tmp_path / package / f"{module}.py").write_text(code)
    metadata = tmp_path / f"{package}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {place}\n")
    options = ["--task.length", "4", "--algo.rounds", "4", "--eval-samples", "100", "--json", "--out", "run"]
    arguments = ["-m", "formula_env", "train", name, *options]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["accuracy"] == 1.0


def output_of(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- shell commands -------------------------------------------------------------------------------------------

STUDY = """
title = "A small study"
thesis = "nowhere"
about = "One algorithm."
seeds = [0]
[variants.mle]
label = "likelihood"
algorithm = "mle"
eval_every = 2
eval_samples = 200
task = { name = "binary-sum", length = 4 }
data = { size = 100 }
algo = { rounds = 4, hidden_dim = 8 }
"""

SMALL = {"--algo.rounds": "4", "--data.size": "500", "--eval-every": "2", "--eval-samples": "200"}
SMALL_START = {"--algo.mle-rounds": "3", "--algo.discriminator-rounds": "3"}


NOT_RUN = "not run by the tests"
"""Comment of a command that is only checked: at the end of its line, or on a line above it in the block."""


def commands(block: str) -> list[tuple[list[str], bool]]:
    """The words of each shell command of a block, without comments, and whether the tests run it."""
    found, above = [], False
    for line in block.splitlines():
        words, is_marked = shlex.split(line, comments=True), NOT_RUN in line.partition("#")[2]
        above = above or (is_marked and not words)
        if words:
            found.append((words, not (is_marked or above)))
    return found


@pytest.fixture(scope="module")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study that takes the place of the recorded ones."""
    folder = tmp_path_factory.mktemp("docs") / "small"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY)
    with runs_in_this_process():
        assert main(["study", str(folder)]) == 0
    return folder


@pytest.fixture
def clone(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a page's commands run: each recorded study is a small one there."""
    for study in (ROOT / "runs/studies").iterdir():
        copytree(small_study, tmp_path / "runs/studies" / study.name, ignore=ignore_patterns("README.md"))
    (tmp_path / "my_formulas.txt").write_text("11=11\n11=11\n")
    (tmp_path / "my_checker.py").write_text(blocks(ROOT / "docs/your-formulae.md", "python")[0])
    (tmp_path / "others.txt").write_text("1+1=2\n1+1=3\nanything\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "sh") and page != QUICK_START], ids=lambda page: page.name
)
def test_every_command_runs_or_is_marked(page: Path, clone: Path) -> None:
    """In the page's order, with training cut short."""
    with runs_in_this_process():
        for block in blocks(page, "sh"):
            run_block(block, clone)


SHORTER = {"60_000": "2_000", "--algo.rounds 500": "--algo.rounds 4", "seeds = [0, 1]": "seeds = [0]"}
"""Budgets of the quick start, and those that its test has; the updates of its study are few, too."""


def test_the_quick_start_runs_in_order(clone: Path) -> None:
    """Snippets and commands in one folder, with small budgets."""
    printed: list[str] = []
    text = QUICK_START.read_text()
    assert all(text.count(budget) == 1 for budget in SHORTER)
    with runs_in_this_process():
        for language, block in all_blocks(QUICK_START):
            code = re.sub("|".join(map(re.escape, SHORTER)), lambda found: SHORTER[found[0]], block)
            match language:
                case "python":
                    printed.append(output_of(code, clone))
                case "toml":
                    (clone / "my_study").mkdir()
                    (clone / "my_study/study.toml").write_text(re.sub(r"rounds = \d+", "rounds = 4", code))
                case _:
                    run_block(code, clone)
    agent, generator = printed
    assert re.fullmatch(r"([01]{8} (correct|wrong)\n){5}", agent)
    assert re.fullmatch(r"\[('[01]{8}'(, )?){3}\]\n0\.\d+\n", generator)
    assert "<svg" in (clone / "page.html").read_text()
    for study in ("my_study", "on-ray/my_study"):
        assert "| 500 updates | 1 |" in (clone / study / "README.md").read_text()
        assert (clone / study / "figures/learning.png").exists()


def test_a_command_that_no_rule_runs_must_be_marked(clone: Path) -> None:
    with pytest.raises(AssertionError, match="mark it"):
        run_block("make test\n", clone)
    run_block("make test    # all of it (not run by the tests)\n", clone)
    run_block("# not run by the tests\nmake test\n", clone)
    with pytest.raises(AssertionError, match="could be run"):
        run_block("formula-env list algorithms    # not run by the tests\n", clone)
    with pytest.raises(AssertionError):
        run_block("make nothing    # not run by the tests\n", clone)


def run_block(block: str, clone: Path) -> None:
    for words, is_run in commands(block):
        if is_run:
            run_command(words, clone)
        else:
            check_command(words)


def run_command(words: list[str], clone: Path) -> None:
    match words:
        case ["formula-env", "train", *rest] if "--help" not in rest:
            assert main(["train", *shortened(rest)]) == 0, words
        case ["formula-env", "tune", *rest]:
            assert main(["tune", *rest, "--algo.rounds", "4", "--eval-samples", "50", "--trials", "1"]) == 0, words
        case ["formula-env", "study", *rest] if "ray" in rest:  # on a new cluster of this machine
            alone = rest[:-2] if rest[-2:] == ["--address", "auto"] else rest
            assert main(["study", *alone, "--jobs", "1"]) == 0, words
        case ["formula-env", "sample", folder, "-n", _, *rest] if "--novel" in rest:
            # A generator that is hardly trained finds one new formula, 1=1, by chance.
            assert main(["sample", folder, "-n", "1", *rest]) == 0, words
        case ["formula-env", *rest]:
            assert main(rest) == 0, words
        case ["sha256sum", *_]:
            subprocess.run(words, check=True, capture_output=True, cwd=clone / "runs/studies/seqgan/mle/seed-0")
        case _:
            raise AssertionError(f"no rule runs it: add one to run_command, or mark it '{NOT_RUN}': {words}")


def check_command(words: list[str]) -> None:
    """A command that is not run names targets, modules, files and options that exist."""
    match words:
        case ["ray", "start", *rest]:
            done = subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= set(done.stdout.split())
        case ["torchrun", "--nproc-per-node", number, "-m", "formula_env", "train", *rest]:
            assert int(number) > 1
            assert main(["train", *shortened(rest)]) == 0, words
        case ["python", "-m", module, *rest]:
            check_module(module, rest)
        case ["make", target]:
            assert target in TARGETS
        case ["git", "clone", address]:
            assert address == REPOSITORY
        case ["pip", "install", target] if target.startswith("."):
            assert target[2:-1] in PROJECT["optional-dependencies"]
        case ["pip", "install", target, *_]:
            assert target in (f"git+{REPOSITORY}", "jupytext")
        case ["jupytext", "--to", "notebook", notebook]:
            assert (ROOT / notebook).exists()
        case ["jupyter", "notebook", notebook]:
            assert (ROOT / notebook).with_suffix(".py").exists()
        case ["cd", folder]:
            assert folder == REPOSITORY.rpartition("/")[2]
        case _:
            raise AssertionError(f"no rule checks it, or it could be run: {words}")


def shortened(arguments: list[str]) -> list[str]:
    """The arguments of `train` with as few rounds as possible; a file brings a training set of its own."""
    has_start = "thesis" in arguments or {"seqgan", "formula-file"} <= set(arguments)
    small = SMALL | (SMALL_START if has_start else {})
    if "formula-file" in arguments:
        del small["--data.size"]
    return [*arguments, *(word for option in small.items() if option[0] not in arguments for word in option)]


def check_module(module: str, arguments: Sequence[str] = ()) -> None:
    """It can be imported, and its help names the options."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    importlib.import_module(f"{module}.__main__" if spec.submodule_search_locations else module)
    options = {word for word in arguments if word.startswith("--")}
    if options:
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert options <= set(re.findall(r"--[\w-]+", done.stdout))


@pytest.mark.parametrize("module", sorted(set(re.findall(r"/python -m ((?:benchmarks|tests)[.\w]+)", MAKEFILE))))
def test_what_the_make_targets_run_can_be_imported(module: str) -> None:
    check_module(module)


@every_page
def test_names_within_sentences_can_be_imported(page: Path) -> None:
    """Also calls: `formula_env.score(…)` must work after `import formula_env` alone."""
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        for name, call in re.findall(r"(?<![\w./-])(formula_env(?:\.[a-zA-Z_]\w*)+)(\()?", span):
            if name == "formula_env.algorithms":
                continue  # a group of entry points
            pkgutil.resolve_name(name)
            assert not call or name.count(".") == 1, f"show the import of {name}"


@every_page
def test_every_block_has_a_language_that_is_tested(page: Path) -> None:
    languages = re.findall(r"^```([^\n]*)\n.*?^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert set(languages) <= {"python", "sh", "text", "toml"}
    assert not re.search(r"\n\n    \S", prose(page)), "an indented block"
    for code in blocks(page, "toml"):
        tomllib.loads(code)


@every_page
def test_commands_within_sentences_exist(page: Path) -> None:
    inline = re.findall(r"`([^`\n]+)`", prose(page))
    for words in (span.split() for span in inline if span.startswith(("make ", "formula-env "))):
        assert words[1] in (TARGETS if words[0] == "make" else COMMANDS) or words[1] == "…", words
        if words[:2] == ["formula-env", "train"] and len(words) > 2 and words[2] not in ("…", "repeat"):
            assert words[2] in ALGORITHMS


FOREIGN_OPTIONS = {"--ignore-missing", "--gym-packages", "--env-kwargs", "--record", "--steps",
                   "--algorithm", "--seeds"}  # fmt: skip
"""Options of other programs, and of scripts in `examples` and `benchmarks`."""


def test_options_within_sentences_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for arguments in (
        *([name] for name in COMMANDS if name != "train"),
        *(["train", name] for name in ("seqgan", "ppo")),
        ["train", "vanilla-gan", "--task", "integer-sum"],
        ["train", "mle", "--task", "equation"],
        ["train", "mle", "--task", "boolean"],
        ["train", "mle", "--task", "calculus"],
        ["train", "mle", "--task", "formula-file"],
    ):
        assert main([*arguments, "--help"]) == 0
    known = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out)) | FOREIGN_OPTIONS
    shown = {
        option
        for page in PAGES
        for span in re.findall(r"`([^`\n]+)`", prose(page))
        for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", span)
    }
    assert "--algo.discriminator.reward-transform" in shown
    assert shown <= known


# --- pages ----------------------------------------------------------------------------------------------------


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 140


@every_page
def test_a_page_begins_with_what_it_is_for(page: Path) -> None:
    title, _, first, *_ = page.read_text().split("\n", 3)
    assert title.startswith("# ")
    assert re.match(r"(This page|These scripts|formula-env is) ", first)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    inline = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", text)
    references = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", text, flags=re.MULTILINE))
    for target in (*inline, *references.values()):
        path, _, anchor = local(page, target).partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target
    if references:
        used = {name.lower() for name in re.findall(r"\[([^\]]+)\](?![(:])", text)}
        assert used == set(references)


def local(page: Path, target: str) -> str:
    """The path, relative to the page, that a link into the project leads to."""
    for start in (IMAGES, f"{REPOSITORY}/blob/main/"):
        if target.startswith(start):
            return os.path.relpath(ROOT / target.removeprefix(start), page.parent)
    assert "://" not in target, f"not within the project: {target}"
    return target


def anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_whole_on_pypi() -> None:
    """There, links and images must be absolute."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert len(images) == 2
    assert all(image.startswith(IMAGES) for image in images)
    others = re.findall(r"(?<!!)\[[^\]]+\](?:\(|: )([^)\s]+)", README)
    assert all(target.startswith(f"{REPOSITORY}/blob/main/") for target in others)


def test_the_readme_leads_to_every_page() -> None:
    assert {page for page in DOCS if f"/blob/main/docs/{page.name}" in README} == set(DOCS)


# --- tables ---------------------------------------------------------------------------------------------------


def named(page: str, heading: str | None = None) -> set[str]:
    """What stands between backticks in the first column of a page's tables; of one section where given."""
    text = (ROOT / "docs" / page).read_text()
    if heading is not None:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    columns = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    return {name for column in columns for name in re.findall(r"`([^`]+)`", column)}


def test_the_command_line_s_page_is_whole() -> None:
    text = (ROOT / "docs/command-line.md").read_text()
    assert set(re.findall(r"^formula-env (\w+)", text, flags=re.MULTILINE)) == set(COMMANDS)
    assert named("command-line.md", "Algorithms") == set(ALGORITHMS)
    tasks = text.split("\n## Tasks\n")[1].split("\n## ")[0]
    assert {*TASKS, *CONTINUOUS_TASKS} <= set(re.findall(r"`([^`]+)`", tasks))


def test_the_environment_s_page_names_every_environment() -> None:
    named_there = set(re.findall(r"`(Formula/\w+-v0)`", (ROOT / "docs/environment.md").read_text()))
    assert named_there == {name.partition(":")[2] for name in gym.registry if name.startswith("formula_env:")}


def test_the_environment_s_page_names_every_option() -> None:
    options = {name for name in signature(FormulaVectorEnv).parameters if name != "task_options"}
    assert named("environment.md", "Options") == options | {*REWARD_OPTIONS, *SOFT_OPTIONS, *FILTER_OPTIONS}


def test_the_identities_on_the_results_page_are_proved() -> None:
    text = (ROOT / "docs/results.md").read_text()
    (block,) = re.findall(r"<!-- proved -->\n```text\n(.*?)```\n<!-- /proved -->", text, flags=re.DOTALL)
    task = make_task("calculus")
    identities = block.split()
    assert len(set(task.canonical(identities))) == len(identities) == 20
    assert task.is_proved(task.encode(identities)).all()


def test_every_metric_is_defined() -> None:
    defined = named("metrics.md")
    for path in (ROOT / "runs/studies").glob("*/*/seed-0/metrics.jsonl"):
        for line in (path.read_text().splitlines()[0], path.read_text().splitlines()[-1]):
            for name in json.loads(line):
                group, _, rest = name.rpartition("/")
                if group in ("train", "rollout") and name not in defined:
                    continue  # Stable-Baselines3's own
                assert name in defined or rest in defined, name


def test_the_layout_names_files_that_exist() -> None:
    layout = blocks(ROOT / "docs/design.md", "text")[0]
    inner = re.findall(r"^  (\w+(?:\.py|/)) ", layout, flags=re.MULTILINE)
    outer = re.findall(r"^((?:\w+/)+)", layout + blocks(ROOT / "README.md", "text")[0], flags=re.MULTILINE)
    assert len(inner) > 10
    assert all((ROOT / "formula_env" / name).exists() for name in inner)
    assert all((ROOT / name).exists() for name in outer)


def test_every_example_is_described() -> None:
    described = set(re.findall(r"\]\(([\w.]+)", (ROOT / "examples/README.md").read_text()))
    there = {path.name for path in (ROOT / "examples").iterdir()} - {"README.md", "__pycache__", "__init__.py"}
    assert described == there


# --- the project's other texts --------------------------------------------------------------------------------


def test_the_citation_names_this_version_and_the_thesis() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["repository-code"] == REPOSITORY
    (thesis,) = citation["references"]
    for part in (thesis["title"], str(thesis["year"]), thesis["authors"][0]["family-names"]):
        assert part in README


def test_hosted_ci_calls_the_make_targets_of_ours_and_others() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    lines = [line.split() for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("make ")]
    ours = [f"make {word}" for line in lines for word in line[1:] if not word.startswith("--")]
    assert sorted(steps) == sorted([*ours, "make docs", "make dist", "make clients"])
    assert all(step.split()[1] in TARGETS for step in steps)
    versions = jobs["test"]["strategy"]["matrix"]["python-version"]
    classified = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: Python :: 3." in line]
    assert versions == classified
    assert f">={versions[0]}" == PROJECT["requires-python"]
