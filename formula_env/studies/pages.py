"""Figures and README of a study, made from its rows, and compared with the files that exist."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from formula_env.errors import FormulaError
from formula_env.experiment.drawing import FIGURE_SUFFIXES
from formula_env.files import write_atomically
from formula_env.studies.spec import Study
from formula_env.studies.study_figures import draw_study
from formula_env.studies.study_report import README_FILE, study_readme

FIGURES = "figures"


@dataclass(frozen=True)
class Pages:
    """Figures and README as the rows have them now, beside those that lie in the study's folder."""

    study: Study
    contents: dict[Path, bytes]
    """Contents by path within the study's folder."""
    present: dict[Path, bytes]
    """The files that are there, figures that the study no longer has among them."""

    @property
    def replaced(self) -> list[Path]:
        """The files that writing would change or delete."""
        return [path for path, content in self.present.items() if self.contents.get(path) != content]

    def write(self) -> str:
        """Write files that are new or different; returns a line about what there is now.

        Raises FormulaError if a file can't be written.
        """
        (self.study.folder / FIGURES).mkdir(exist_ok=True)
        changed = [path for path, content in self.contents.items() if self.present.get(path) != content]
        for path in changed:
            write_atomically(self.study.folder / path, self.contents[path])
        for path in self.present.keys() - self.contents.keys():
            (self.study.folder / path).unlink()
        return f"{len(self.study.figures)} figures and {README_FILE}, {len(changed)} files of them new"

    def refusal(self) -> str:
        """Reason why pages are not written: the files in the way, and the option that replaces them."""
        names = [str(path) for path in self.replaced]
        others = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return (
            f"{self.study.folder}: {', '.join(names[:3])}{others} would be replaced, which the rows now give "
            f"otherwise; to allow it: formula-env figures {self.study.folder} --replace"
        )


def make_pages(study: Study) -> Pages:
    """Draw all figures and write the README, in memory. Raises FormulaError as `draw_study`."""
    with TemporaryDirectory() as folder:
        draw_study(study, Path(folder))
        contents = {Path(FIGURES) / path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    contents[Path(README_FILE)] = study_readme(study).encode(errors="backslashreplace")
    present = [
        *(path for path in sorted((study.folder / FIGURES).glob("*")) if path.suffix in FIGURE_SUFFIXES),
        *(path for path in [study.folder / README_FILE] if path.exists()),
    ]
    try:
        return Pages(study, contents, {path.relative_to(study.folder): path.read_bytes() for path in present})
    except OSError as error:
        raise FormulaError(f"cannot read {error.filename}: {error.strerror}") from None


def are_present(study: Study) -> bool:
    """Whether every figure and the README exist, of these rows or of others."""
    figures = [
        study.folder / FIGURES / f"{spec.name}{suffix}" for spec in study.figures for suffix in FIGURE_SUFFIXES
    ]
    return all(path.exists() for path in (*figures, study.folder / README_FILE))
