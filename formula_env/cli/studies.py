"""The commands `study`, `figures` and `report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from formula_env.arguments import Positional, parse
from formula_env.cli.messages import say
from formula_env.errors import FormulaError
from formula_env.experiment.run_folder import RunFolder
from formula_env.experiment.run_report import print_summary
from formula_env.experiment.terminal import SafeConsole, printable
from formula_env.files import write_atomically
from formula_env.studies.engines import EngineName, engine_for

if TYPE_CHECKING:
    from formula_env.studies.spec import Study


@dataclass(frozen=True)
class StudyOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders with a study.toml."""
    out: Path | None = None
    """Folder for a fresh copy of the studies; default: the records are completed in place."""
    jobs: int | None = None
    """Number of runs side by side; default: as many as there are CPUs."""
    engine: EngineName = "local"
    """Place where the runs are at work: processes of this machine, or tasks of a Ray cluster."""
    address: str = ""
    """Address of the Ray cluster; auto: that of this machine; default: a new cluster, of this machine alone."""
    replace: bool = False
    """Replacement of damaged records, and of figures and READMEs that the rows contradict."""
    trust_checker: bool = False
    """Consent to running the checkers of the studies, or their tasks, where those are code."""


def run_study(arguments: list[str]) -> None:
    """Run the missing runs of a study, in parallel: formula-env study runs/studies/NAME"""
    from formula_env.studies.pages import are_present
    from formula_env.studies.pool import run_studies
    from formula_env.studies.records import check_undamaged, copy_study, incomplete
    from formula_env.studies.spec import load_study
    from formula_env.studies.study_figures import check_figures

    options = parse(StudyOptions, "study", arguments)
    loaded = [load_study(folder, options.trust_checker) for folder in _some(options.folders, "study")]
    with engine_for(options.engine, options.jobs, options.address) as engine:
        if options.out is not None:
            _check_lenders_are_copied(loaded)
            copies = [copy_study(study.folder, options.out) for study in loaded]
            loaded = [load_study(copy, options.trust_checker) for copy in copies]
        for study in loaded:
            check_figures(study)
            if not options.replace:
                check_undamaged(study)
        # Whether runs of other studies have changed shows when the pages are made.
        to_draw = [
            study
            for study in loaded
            if options.replace or incomplete(study) or study.lenders or not are_present(study)
        ]
        run_studies(loaded, engine)
    for study in loaded:
        if study in to_draw:
            _draw_study(study, options.replace, must_write=False)
        else:
            print(printable(f"{study.folder}: complete; nothing was run or changed"))


def _check_lenders_are_copied(studies: "list[Study]") -> None:
    copied = {study.folder.resolve() for study in studies}
    for study in studies:
        for lender in study.lenders:
            if lender.resolve() not in copied:
                raise FormulaError(f"{study.folder} has runs from {lender}; give that study, too, to run it anew")


@dataclass(frozen=True)
class FiguresOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders with a study.toml."""
    replace: bool = False
    """Replacement of figures and READMEs that the rows contradict."""
    trust_checker: bool = False
    """Consent to running the checkers of the studies, or their tasks, where those are code."""


def run_figures(arguments: list[str]) -> None:
    """Draw a study's figures, and write its README, from its rows."""
    from formula_env.studies.spec import load_study

    options = parse(FiguresOptions, "figures", arguments)
    for folder in _some(options.folders, "figures"):
        _draw_study(load_study(folder, options.trust_checker), options.replace, must_write=True)


def _draw_study(study: "Study", replace: bool, must_write: bool) -> None:
    """Write figures and README, if no file is in the way or all may be replaced.

    Where they `must_write`, it is an error otherwise; a study's runs are done in any case.
    """
    from formula_env.studies.pages import make_pages
    from formula_env.studies.study_report import shaken

    pages = make_pages(study)
    if pages.replaced and not replace:
        if must_write:
            raise FormulaError(pages.refusal())
        say(pages.refusal())
    else:
        print(printable(f"{study.folder}: {pages.write()}"))
    for claim in shaken(study):
        say(f"{study.name}: these rows don't support {claim.verdict!r} of: {claim.thesis}")


@dataclass(frozen=True)
class ReportOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders of runs or of studies; with --html of runs, with --markdown of studies."""
    html: Path | None = None
    """Page to write about the runs: curves, distribution, samples and settings in one file that works offline."""
    markdown: bool = False
    """Output of Markdown tables: of the studies' claims, of their comparisons, and of what learns from what."""
    trust_checker: bool = False
    """Consent to running the checkers of the studies, or their tasks, where those are code."""


def run_report(arguments: list[str]) -> None:
    """Print the results of runs or studies."""
    from formula_env.studies.records import check_complete
    from formula_env.studies.sources import sources_table
    from formula_env.studies.spec import STUDY_FILE, load_study
    from formula_env.studies.study_report import comparisons_table, print_study, studies_table

    options = parse(ReportOptions, "report", arguments)
    folders = _some(options.folders, "report")
    if options.html is not None and options.markdown:
        raise FormulaError("--html and --markdown are two outputs; give one of them")
    if options.html is not None:
        _write_page(folders, options.html, options.trust_checker)
        return
    if options.markdown:
        studies = [load_study(folder, options.trust_checker) for folder in folders]
        for study in studies:
            check_complete(study)
        tables = [studies_table(studies), comparisons_table(studies), sources_table(studies)]
        print("\n\n".join("\n".join(map(printable, table.splitlines())) for table in tables if table))
        return
    for folder in folders:
        if (folder / STUDY_FILE).exists():
            print_study(load_study(folder, options.trust_checker), SafeConsole())
        elif (summary := RunFolder(folder).summary()) is not None:
            RunFolder(folder).check()
            _print_finished(summary, folder)
        else:
            raise FormulaError(f"{folder} holds no finished run and no {STUDY_FILE}")


def _write_page(folders: list[Path], path: Path, trust_checker: bool) -> None:
    from formula_env.experiment.run_page import load_run, run_page
    from formula_env.studies.spec import STUDY_FILE

    if studies := [folder for folder in folders if (folder / STUDY_FILE).exists()]:
        raise FormulaError(
            f"{studies[0]} is a study, and --html shows runs; give folders of runs, such as "
            f"{studies[0] / 'VARIANT' / 'seed-0'}"
        )
    if path.exists():
        raise FormulaError(f"{path} is there already; delete it, or give another file")
    write_atomically(path, run_page([load_run(folder, trust_checker) for folder in folders]))
    print(printable(f"{path}"))


def _print_finished(summary: dict[str, Any], folder: Path) -> None:
    try:
        print_summary(summary)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormulaError(f"the summary in {folder} is damaged: {error!r}") from None


def _some(folders: tuple[Path, ...], command: str) -> list[Path]:
    if not folders:
        raise FormulaError(f"{command} needs a folder, such as: formula-env {command} runs/studies/seqgan")
    return list({folder.resolve(): folder for folder in folders}.values())
