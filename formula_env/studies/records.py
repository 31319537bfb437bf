"""The records of a study: which are complete, which are damaged, and how a missing one is made."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from formula_env.errors import FormulaError
from formula_env.evaluators import DISTRIBUTION_LIMIT
from formula_env.experiment.config import first_difference, load_config, save_config
from formula_env.experiment.record import (
    CONFIG_FILE,
    DISTRIBUTION_FILE,
    METRICS_FILE,
    SUMMARY_FILE,
    SUMS_FILE,
    checksum,
    read_record,
    write_sums,
)
from formula_env.experiment.registry import analysis
from formula_env.experiment.rows import Row, parse_rows
from formula_env.experiment.run_folder import RunFolder
from formula_env.files import exclusive, read_text, write_atomically
from formula_env.studies.spec import (
    BEST_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    TUNING_FOLDER,
    Study,
    Variant,
    study_command,
)

ANALYSIS_FILE = "rows.json"

NOT_BEGUN, NOT_FINISHED = "not begun", "not finished"
"""Why a run's record may be incomplete without anything being wrong."""


@dataclass(frozen=True)
class Run:
    """A run of a study: one variant with one seed."""

    variant: Variant
    seed: int
    run_folder: RunFolder
    has_bars: bool
    """Whether a figure shows how often it draws each formula."""

    @property
    def folder(self) -> Path:
        return self.run_folder.path

    @property
    def name(self) -> str:
        return "/".join(self.folder.parts[-3:])

    def problem(self) -> str | None:
        """Why the record of the run is not complete; None if it is.

        Raises FormulaError if it was recorded with other settings than the study's.
        """
        if self.variant.analysis is not None:
            if read_analysis(self.folder, self.variant.analysis) is not None:
                return None
            return (
                f"{ANALYSIS_FILE} is damaged, or of another analysis"
                if (self.folder / ANALYSIS_FILE).exists()
                else NOT_BEGUN
            )
        if not (self.folder / CONFIG_FILE).exists():
            return NOT_BEGUN
        self._check_settings()
        try:
            if (summary := self.run_folder.summary()) is None:
                return NOT_FINISHED
            self.run_folder.check()
            rows = self.run_folder.rows()
        except FormulaError as error:
            return str(error)
        if summary["seed"] != self.seed or summary["algorithm"] != self.variant.settings["algorithm"]:
            return f"{SUMMARY_FILE} is of another run"
        if not self._are_whole(rows, summary["rounds"]):
            return f"{METRICS_FILE} lacks rows"
        missing = [name for name in self._files(summary) if not (self.folder / name).exists()]
        return f"{missing[0]} is missing" if missing else None

    def damage(self) -> str | None:
        """The problem of existing rows that another run would overwrite; None if there is none.

        Raises FormulaError as `problem`.
        """
        problem = self.problem()
        if problem == NOT_FINISHED and not self._can_go_on() and self._has_rows():
            return f"{NOT_FINISHED}, and there is no checkpoint that fits its rows"
        return None if problem in (NOT_BEGUN, NOT_FINISHED) else problem

    def _has_rows(self) -> bool:
        """Whether there are more than the first, which may be written just before the first checkpoint is."""
        path = self.folder / METRICS_FILE
        return path.exists() and path.read_bytes().count(b"\n") > 1

    def _are_whole(self, rows: list[Row], last: int) -> bool:
        """Whether there is a row of the start, one each `eval_every` rounds, and one of the last round."""
        if not rows or rows[0].get("phase") != "start":
            return False
        every = self.variant.config(self.seed).eval_every
        return [row["round"] for row in rows] == sorted({*range(rows[0]["round"], last, every), last})

    def _files(self, summary: Row) -> list[str]:
        """The files that figures and tables may need."""
        rounds = [r for r in self.variant.config(self.seed).keep_samples if r <= summary["rounds"]]
        samples = [self.run_folder.samples_path(r).name for r in (None, *rounds)]
        can_have_bars = 0 < summary.get("num_formulae", 0) <= DISTRIBUTION_LIMIT
        return [*samples, *([DISTRIBUTION_FILE] if self.has_bars and can_have_bars else [])]

    def _check_settings(self) -> None:
        wanted = self.variant.config(self.seed)
        difference = first_difference(load_config(self.folder, trust_checker=wanted.code), wanted)
        if difference is not None:
            name, then, now = difference
            raise FormulaError(
                f"{self.folder} was run with other settings than {STUDY_FILE} has now ({name}: {then!r}, not "
                f"{now!r}); delete it to run it anew"
            )

    def prepare(self, problem: str) -> None:
        """Prepare the run's folder for `resume`, which continues from the last sound checkpoint.

        Raises FormulaError if it can't be made, or another process is at work in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormulaError(f"cannot make the folder {self.folder}: {error.strerror}") from None
        with exclusive(self.folder):
            if problem == NOT_FINISHED and self._can_go_on():
                self.run_folder.drop_rows_after(self.run_folder.load_checkpoint()["evaluated_round"])
                return
            self.run_folder.clear()
            save_config(self.variant.config(self.seed), self.folder)

    def _can_go_on(self) -> bool:
        """Whether there is a sound checkpoint, and what was written before it is not lost or altered."""
        if not self.run_folder.checkpoints():
            return False
        try:
            state = self.run_folder.load_checkpoint()
            text = self.run_folder.rows_until(state["evaluated_round"])
            self.run_folder.check_written(state["sums"], text)
            return self._are_whole(parse_rows(self.folder / METRICS_FILE, text), state["evaluated_round"])
        except FormulaError:  # damaged: not worth more than the time to run it again
            return False

    @property
    def consent(self) -> list[str]:
        """The arguments that consent to running the run's checker."""
        return ["--trust-checker"] if self.variant.trust_checker else []


def runs_of(study: Study) -> list[Run]:
    """The runs of a study's own: those that it has from other studies are left out."""
    return [run for run in _all_runs(study) if run.variant.records is None]


def _all_runs(study: Study) -> list[Run]:
    with_bars = [
        variant for spec in study.figures if spec.kind == "distribution" for variant in study.variants_of(spec)
    ]
    return [
        Run(variant, seed, study.run_folder(variant, seed), variant in with_bars)
        for variant in study.variants.values()
        for seed in variant.seeds
    ]


def incomplete(study: Study) -> list[tuple[Run, str]]:
    """The runs of its own whose record is not complete, and why."""
    return _with_problems(runs_of(study))


def _with_problems(runs: list[Run]) -> list[tuple[Run, str]]:
    problems = ((run, run.problem()) for run in runs)
    return [(run, problem) for run, problem in problems if problem is not None]


def check_undamaged(study: Study) -> None:
    """Raise FormulaError naming a run whose record is damaged, so that running it again would replace rows."""
    damaged = [(run, damage) for run in runs_of(study) if (damage := run.damage()) is not None]
    if damaged:
        run, damage = damaged[0]
        others = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        raise FormulaError(
            f"{run.name}: {damage}{others}; to run it again and replace what is there: "
            f"{study_command([study])} --replace"
        )


def check_complete(study: Study) -> None:
    """Raise FormulaError naming a run, of its own or of another study, whose record is not complete."""
    missing = _with_problems(_all_runs(study))
    if missing:
        run, problem = missing[0]
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        lender = run.folder.parents[1] if run.variant.records is not None else study.folder
        raise FormulaError(f"{run.name}: {problem}{others}; run: {study_command([replace(study, folder=lender)])}")


def copy_study(folder: Path, out: Path) -> Path:
    """The folder in `out` where the study of `folder` is run anew."""
    copy = out / folder.resolve().name
    searches = [
        path for name in (BEST_FILE, TRIALS_FILE) for path in sorted(folder.glob(f"{TUNING_FOLDER}/*/{name}"))
    ]
    targets = {path: copy / path.relative_to(folder) for path in (folder / STUDY_FILE, *searches)}
    for source, target in targets.items():
        if target.exists() and read_text(target) != read_text(source):
            raise FormulaError(f"{copy} holds another version of this study; give another --out, or delete it")
    for source, target in targets.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormulaError(f"cannot make the folder {target.parent}: {error.strerror}") from None
        write_atomically(target, read_text(source))
    return copy


# --- analyses -------------------------------------------------------------------------------------------------


def compute(run: Run) -> None:
    """Do an analysis and record its rows."""
    name = str(run.variant.analysis)
    run.folder.mkdir(parents=True, exist_ok=True)
    write_analysis(run.folder, name, run.seed, analysis(name)(run.seed))


def write_analysis(folder: Path, name: str, seed: int, rows: list[Row]) -> None:
    """Write an analysis' rows, and their checksum. Raises FormulaError if they can't be written."""
    record = {"analysis": name, "seed": seed, "rows": rows}
    document = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / SUMS_FILE).unlink(missing_ok=True)
    write_atomically(folder / ANALYSIS_FILE, document)
    write_sums(folder, {ANALYSIS_FILE: checksum(document.encode())})


def read_analysis(folder: Path, name: str) -> list[Row] | None:
    """The rows of the analysis of this name; None where there are none, or they are damaged."""
    try:
        record = json.loads(read_record(folder / ANALYSIS_FILE))
        rows = record["rows"] if record["analysis"] == name else None
    except (ValueError, KeyError, TypeError, RecursionError):  # a FormulaError is a ValueError
        return None
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None
