"""Hooks of `mkdocs`: pages from outside docs/, links that hold on the site as on GitHub, and the API reference."""

import inspect
import posixpath
import re
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
GITHUB = "https://github.com/formula-env/formula-env"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the root that are pages, and their place in the site."""

MODULES = (
    "", "env", "vector_env", "wrappers", "rewards", "self_training", "credit", "observations", "episodes",
    "tasks", "tasks.base", "tasks.automaton", "checkers", "vocabulary", "evaluators", "metrics", "scoring",
    "trained", "hub", "agents.sb3", "algorithm", "turns", "adversary", "sampling", "conditional",
    "rollouts.estimators", "rollouts.monte_carlo", "networks", "networks.policy", "networks.generators",
    "networks.decoding", "networks.discriminators", "search_space", "allocator", "errors",
)  # fmt: skip
"""Modules of the API reference, by their name in `formula_env`; the first is `formula_env` itself."""


ALGORITHMS = tuple(
    f"{folder}.{path.stem}"
    for folder in ("agents", "gan")
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.stem not in ("__init__", "analyses")
)
"""Modules of the algorithms, and of what some of them share."""


def on_config(config: Any) -> Any:
    """Put the studies, the algorithms and the reference into the navigation."""
    studies = [path.parent.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("runs/studies/*/README.md"))]
    config.nav += [
        {"Studies": [{posixpath.basename(study): f"{study}/README.md"} for study in studies]},
        {"Algorithms": [{module.partition(".")[2]: reference(module)} for module in ALGORITHMS]},
        {"Reference": [{module or "formula_env": reference(module)} for module in MODULES]},
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root, the studies with their figures, and a page for each algorithm and module."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    for folder in sorted(path.parent for path in ROOT.glob("runs/studies/*/README.md")):
        for path in (folder / "README.md", *sorted(folder.glob("figures/*.png"))):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted(ROOT.glob("benchmarks/*.png")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for module in (*ALGORITHMS, *MODULES):
        name = f"formula_env.{module}".rstrip(".")
        check_docstrings(import_module(name))
        content = f"# {module or name}\n\n::: {name}\n"
        files.append(File.generated(config, reference(module), content=content))
    return files


def reference(module: str) -> str:
    """Place in the site of the page about a module of `formula_env`; the name of `formula_env` itself is empty."""
    return f"reference/{module or 'formula_env'}.md"


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Links within the repository as links within the site, or to GitHub for what the site has not."""
    source = repository_path(page.file.src_uri)
    known = {repository_path(file.src_uri) for file in files}

    def rewritten(match: re.Match[str]) -> str:
        return f"{match[1]}{site_link(match[2], source, known)}{match[3]}"

    inline = re.sub(r"(\]\()([^)\s]+)(\))", rewritten, markdown)
    return re.sub(r"(?m)^(\[[^\]]+\]:\s+)(\S+)()$", rewritten, inline)


def site_link(target: str, source: str, known: set[str]) -> str:
    """A link from a page of the repository, as the site has it.

    Args:
        target: as it stands in the page.
        source: path of the page in the repository.
        known: paths in the repository of all that the site has.
    """
    address, mark, anchor = target.partition("#")
    for prefix in (f"{GITHUB}/blob/main/", "https://raw.githubusercontent.com/formula-env/formula-env/main/"):
        if address.startswith(prefix):
            path = address.removeprefix(prefix)
            break
    else:
        if "://" in address or not address or address.startswith("mailto:"):
            return target
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), address))
    if path not in known and not (ROOT / path).exists():
        return target  # which mkdocs complains about
    if path not in known:
        return f"{GITHUB}/blob/main/{path}{mark}{anchor}"
    here = posixpath.dirname(site_path(source)) or "."
    return f"{posixpath.relpath(site_path(path), here)}{mark}{anchor}"


def site_path(path: str) -> str:
    """Place in the site of a file of the repository."""
    return PAGES.get(path, path.removeprefix("docs/"))


def repository_path(uri: str) -> str:
    """Path in the repository of a file of the site."""
    root = {target: source for source, target in PAGES.items()}
    if uri in root:
        return root[uri]
    return uri if uri.startswith(("runs/", "benchmarks/", "reference/")) else f"docs/{uri}"


METHODS = (FunctionType, property, cached_property, classmethod, staticmethod)


def check_docstrings(module: ModuleType) -> None:
    """Raise ValueError if the module, or a public function, class or method of it, has no docstring.

    Public is what the module lists in `__all__`, or defines without a leading underscore. A method that overrides
    one with a docstring, of this package or of another, needs none.
    """
    if not module.__doc__:
        raise ValueError(f"{module.__name__} has no docstring")
    for value in public(module):
        place = f"{value.__module__}.{value.__name__}"
        if not value.__doc__ or value.__doc__.startswith(f"{value.__name__}("):  # made by @dataclass
            raise ValueError(f"{place} has no docstring")
        for name in undocumented_methods(value) if inspect.isclass(value) else ():
            raise ValueError(f"{place}.{name} has no docstring")


def public(module: ModuleType) -> list[Any]:
    """Public functions and classes of a module."""
    exported = [getattr(module, name) for name in getattr(module, "__all__", ())]
    own = [value for name, value in vars(module).items() if not name.startswith("_")]
    return [
        value
        for value in exported + [value for value in own if getattr(value, "__module__", "") == module.__name__]
        if inspect.isclass(value) or inspect.isfunction(value)
    ]


def undocumented_methods(cls: type) -> list[str]:
    """Names of the public methods and properties that a class defines, and neither it nor a base documents."""
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_") and isinstance(value, METHODS)
        if not any(vars(base)[name].__doc__ for base in cls.__mro__ if name in vars(base))
    ]
