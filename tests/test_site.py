"""The site of the documentation: built strictly, no link leads nowhere, nothing is loaded from elsewhere."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from tests.shared import made_once

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def build_whole(folder: Path) -> None:
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "site", build_whole)


class Page(HTMLParser):
    """The links, loaded files and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(values["href"])


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 50
    checked = 0
    for path, page in pages.items():
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.relative_to(site)}: {link}"
            checked += 1
    assert checked > 2_000


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not [source for source in Page(path).loaded if urlsplit(source).netloc], path


def test_the_site_has_the_studies_and_the_reference(site: Path) -> None:
    assert (
        "Adversarial training beside maximum likelihood"
        in (site / "runs/studies/beats-mle/index.html").read_text()
    )
    assert 'id="formula_env.trained.load"' in (site / "reference/trained/index.html").read_text()
    assert "JSD" in (site / "index.html").read_text()


def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with open(tmp_path / "docs" / "speed.md", "a") as page:
        page.write("\n[x](nowhere.md)\n")
    with open(tmp_path / "docs" / "safety.md", "a") as page:
        page.write("\n[x](metrics.md#no-such-part)\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nhooks: [{ROOT / 'docs' / 'site.py'}]\n")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert re.search(r"WARNING.*speed\.md.*nowhere\.md", told)
    assert re.search(r"WARNING.*safety\.md.*#no-such-part", told)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KNOWN = {"README.md", "docs/metrics.md", "docs/speed.md", "runs/studies/seqgan/README.md"}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("docs/speed.md", "metrics.md#progress", "metrics.md#progress"),
        ("docs/speed.md", "../runs/studies/seqgan/README.md", "runs/studies/seqgan/README.md"),
        ("docs/speed.md", "../Makefile", "https://github.com/formula-env/formula-env/blob/main/Makefile"),
        ("runs/studies/seqgan/README.md", "../../../docs/metrics.md", "../../../metrics.md"),
        ("README.md", "https://github.com/formula-env/formula-env/blob/main/docs/metrics.md", "metrics.md"),
        ("docs/speed.md", "https://example.org/x.md", "https://example.org/x.md"),
        ("docs/speed.md", "#memory", "#memory"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    hooks: ModuleType, source: str, target: str, expected: str
) -> None:
    assert hooks.site_link(target, source, KNOWN) == expected


DOCUMENTED = '"""A module."""\nimport abc\n\ndef told():\n    """A function."""\n\ndef _private():\n    pass\n'
METHOD = '''
class Base:
    """A class."""
    def known(self):
        """A method."""

class Thing(Base):
    """A class."""
    def known(self):
        pass
    def _private(self):
        pass
'''


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        (DOCUMENTED + METHOD, None),
        ("def told():\n    pass\n", "thing has no docstring"),
        (DOCUMENTED + "def untold():\n    pass\n", r"thing\.untold has no docstring"),
        (DOCUMENTED + "class Untold:\n    pass\n", r"thing\.Untold has no docstring"),
        (DOCUMENTED + METHOD + "    def more(self):\n        pass\n", r"thing\.Thing\.more has no docstring"),
        (
            DOCUMENTED + METHOD + "    @property\n    def more(self):\n        return 1\n",
            r"thing\.Thing\.more has no docstring",
        ),
        (
            DOCUMENTED + "from dataclasses import dataclass\n\n@dataclass\nclass Untold:\n    x: int\n",
            r"thing\.Untold has no docstring",
        ),
    ],
    ids=["none", "module", "function", "class", "method", "property", "dataclass"],
)
def test_what_has_no_docstring_fails_the_build(
    hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, lacking: str | None
) -> None:
    (tmp_path / "thing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "thing", raising=False)
    module = import_module("thing")
    if lacking is None:
        hooks.check_docstrings(module)
    else:
        with pytest.raises(ValueError, match=lacking):
            hooks.check_docstrings(module)


@pytest.mark.parametrize("module", ["", "agents.sb3", "allocator", "checkers", "tasks"])
def test_the_reference_has_all_that_a_package_exports(site: Path, hooks: ModuleType, module: str) -> None:
    package = import_module(f"formula_env.{module}".rstrip("."))
    anchors = Page(site / hooks.reference(module).replace(".md", "/index.html")).anchors
    exported = getattr(package, "__all__", ["keep_freed_memory"])
    assert {f"{package.__name__}.{name}" for name in exported} <= anchors


def test_the_reference_describes_the_methods_of_the_environment(site: Path) -> None:
    anchors = Page(site / "reference/env/index.html").anchors
    methods = ("reset", "step", "render", "action_masks")
    assert {f"formula_env.env.FormulaEnv.{method}" for method in methods} <= anchors
