"""Studies: runs over seeds and cells, described by a `study.toml`, whose rows stay in the study's folder.

runs/studies/NAME/
  study.toml             what is run, drawn, claimed and compared
  CELL/seed-S/           a run's folder; its checkpoints are no part of the record
  CELL/seed-S/rows.json  instead, where the cell is an analysis
  figures/  README.md    made from the rows (`experiment.gallery`, `experiment.findings`)
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from formula_env.errors import FormulaError, check_choice, check_file_name, check_seed, check_types
from formula_env.evaluators import DISTRIBUTION_LIMIT
from formula_env.experiment.checkpoint import checkpoints, load_checkpoint
from formula_env.experiment.config import (
    RunConfig,
    config_from,
    first_difference,
    load_config,
    save_config,
)
from formula_env.experiment.record import (
    CONFIG_FILE,
    DISTRIBUTION_FILE,
    METRICS_FILE,
    SAMPLES_FILE,
    SUMMARY_FILE,
    SUMS_FILE,
    check_files,
    check_record,
    checksum,
    read_record,
    read_summary,
    samples_file,
    write_sums,
)
from formula_env.experiment.registry import ANALYSES
from formula_env.experiment.rows import Row, drop_rows_after, parse_rows, read_rows, rows_until
from formula_env.files import exclusive, read_text, write_atomically

STUDY_FILE, ANALYSIS_FILE, LOG_FILE = "study.toml", "rows.json", "log.txt"

NOT_BEGUN, NOT_FINISHED = "not begun", "not finished"
"""Why a run's record may be incomplete without anything being wrong."""


@dataclass(frozen=True)
class Cell:
    """Runs that differ in their seed alone: an algorithm with its settings, or an analysis."""

    name: str
    label: str
    """What figures and tables call it."""
    seeds: tuple[int, ...]
    analysis: str | None
    settings: dict[str, Any]
    """Of a run, as in `config.yaml`."""

    def config(self, seed: int) -> RunConfig[Any, Any]:
        return config_from(self.settings | {"seed": seed})


@dataclass(frozen=True)
class FigureSpec:
    """A figure to be drawn from rows; `experiment.gallery` knows the kinds."""

    name: str
    kind: str
    title: str = ""
    cells: list[str] = field(default_factory=list)
    """Empty: all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the kind."""

    def __post_init__(self) -> None:
        check_types(self)
        check_file_name(figure=self.name)


@dataclass(frozen=True)
class Claim:
    """What the thesis says, and what our rows say of it."""

    thesis: str
    verdict: str
    """One of `VERDICTS`."""
    reason: str
    cell: str
    metrics: list[str]
    """Our numbers; of an analysis, the name of a column."""
    row: dict[str, Any] = field(default_factory=dict)
    """Of an analysis: which row, by the values of its other columns."""
    range: list[float] = field(default_factory=list)
    """The verdict stands as long as the first metric is within this, for every seed."""

    def __post_init__(self) -> None:
        check_types(self)
        check_choice(VERDICTS, verdict=self.verdict)
        numbers = all(isinstance(bound, int | float) for bound in self.range)
        if self.range and (len(self.range) != 2 or not numbers):
            raise FormulaError(f"range must be two numbers, got {self.range}")
        _check_names(metrics=self.metrics)


VERDICTS = ("reproduced", "partly reproduced", "refuted", "does not follow", "beyond the thesis")


@dataclass(frozen=True)
class Comparison:
    """A question of our own that the rows answer: a cell against others at their best, seed by seed."""

    question: str
    cell: str
    """Whose last rows count."""
    baselines: list[str]
    """Cells, of whose rows one counts for each seed: the best."""
    metrics: list[str]
    """Of `HIGHER_IS_BETTER`."""
    goals: dict[str, float] = field(default_factory=dict)
    """What the cell's mean must reach, by metric."""

    def __post_init__(self) -> None:
        check_types(self)
        _check_names(baselines=self.baselines, metrics=self.metrics)
        for metric in self.metrics:
            check_choice(tuple(HIGHER_IS_BETTER), metric=metric)
        for metric, goal in self.goals.items():
            check_choice(self.metrics, goal=metric)
            if type(goal) not in (int, float):
                raise FormulaError(f"the goal of {metric} must be a number, got {goal!r}")
        if self.cell in self.baselines:
            raise FormulaError(f"{self.cell} can't be its own baseline")


@dataclass(frozen=True)
class Ablation:
    """What the parts of a method are worth: cells with one thing changed beside the whole, seed by seed.

    The last rows count, on both sides.
    """

    question: str
    cell: str
    """The whole."""
    changed: list[str]
    """Cells that differ from it in one thing, which their label names."""
    metrics: list[str]
    """Of `HIGHER_IS_BETTER`."""

    def __post_init__(self) -> None:
        check_types(self)
        _check_names(changed=self.changed, metrics=self.metrics)
        for metric in self.metrics:
            check_choice(tuple(HIGHER_IS_BETTER), metric=metric)
        if self.cell in self.changed:
            raise FormulaError(f"{self.cell} can't be an ablation of itself")


HIGHER_IS_BETTER = {
    "accuracy": True,
    "coverage": True,
    "novelty": True,
    "jsd": False,
    "nll": False,
    "mse": False,
    "marginal_distance": False,
}
"""The metrics that can be compared, and in which direction."""


@dataclass(frozen=True)
class Run:
    """One cell with one seed."""

    cell: Cell
    seed: int
    folder: Path
    has_bars: bool
    """Whether a figure shows how often it draws each formula."""

    @property
    def name(self) -> str:
        return f"{self.folder.parents[1].name}/{self.cell.name}/seed-{self.seed}"

    def problem(self) -> str | None:
        """Why its record is not complete; None if it is.

        Raises FormulaError if it was recorded with other settings than the study's.
        """
        if self.cell.analysis is not None:
            if read_analysis(self.folder, self.cell.analysis) is not None:
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
            if (summary := read_summary(self.folder)) is None:
                return NOT_FINISHED
            check_record(self.folder)
            rows = read_rows(self.folder)
        except FormulaError as error:
            return str(error)
        if summary["seed"] != self.seed or summary["algorithm"] != self.cell.settings["algorithm"]:
            return f"{SUMMARY_FILE} is of another run"
        if not self._are_whole(rows, summary["rounds"]):
            return f"{METRICS_FILE} lacks rows"
        missing = [name for name in self._files(summary) if not (self.folder / name).exists()]
        return f"{missing[0]} is missing" if missing else None

    def damage(self) -> str | None:
        """What is wrong with rows that are there, and would be lost if it were run again; None if nothing is.

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
        every = self.cell.config(self.seed).eval_every
        return [row["round"] for row in rows] == sorted({*range(rows[0]["round"], last, every), last})

    def _files(self, summary: Row) -> list[str]:
        """What figures and tables may need."""
        kept = [samples_file(r) for r in self.cell.config(self.seed).keep_samples if r <= summary["rounds"]]
        can_have_bars = 0 < summary.get("num_formulae", 0) <= DISTRIBUTION_LIMIT
        return [SAMPLES_FILE, *kept, *([DISTRIBUTION_FILE] if self.has_bars and can_have_bars else [])]

    def _check_settings(self) -> None:
        difference = first_difference(load_config(self.folder), self.cell.config(self.seed))
        if difference is not None:
            name, then, now = difference
            raise FormulaError(
                f"{self.folder} was run with other settings than {STUDY_FILE} has now ({name}: {then!r}, not "
                f"{now!r}); delete it to run it anew"
            )

    def prepare(self, problem: str) -> None:
        """A folder that `resume` goes on with: from the last checkpoint, unless the record is damaged.

        Raises FormulaError if it can't be made, or another process is at work in it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormulaError(f"cannot make the folder {self.folder}: {error.strerror}") from None
        with exclusive(self.folder):
            if problem == NOT_FINISHED and self._can_go_on():
                drop_rows_after(self.folder, load_checkpoint(self.folder)["evaluated_round"])
                return
            results = [self.folder / name for name in (SUMMARY_FILE, SUMS_FILE, METRICS_FILE)]
            for path in (*results, *checkpoints(self.folder)):
                path.unlink(missing_ok=True)
            save_config(self.cell.config(self.seed), self.folder)

    def _can_go_on(self) -> bool:
        """Whether there is a sound checkpoint, and what was written before it is not lost or altered."""
        if not checkpoints(self.folder):
            return False
        try:
            state = load_checkpoint(self.folder)
            text = rows_until(self.folder, state["evaluated_round"])
            check_files(self.folder, state.get("sums", {}), text)
            return self._are_whole(parse_rows(self.folder / METRICS_FILE, text), state["evaluated_round"])
        except FormulaError:  # damaged: not worth more than the time to run it again
            return False

    def start(self) -> subprocess.Popen[bytes]:
        """The run as a process of its own, which no signal meant for this one reaches."""
        with open(self.folder / LOG_FILE, "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "formula_env", "resume", str(self.folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            )  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A `study.toml` and the folder it lies in."""

    folder: Path
    title: str
    about: str
    thesis: str
    """Where in the thesis this is."""
    cells: dict[str, Cell]
    figures: list[FigureSpec]
    claims: list[Claim]
    comparisons: list[Comparison]
    ablations: list[Ablation]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def runs(self) -> list[Run]:
        with_bars = [cell for spec in self.figures if spec.kind == "distribution" for cell in self.cells_of(spec)]
        return [
            Run(cell, seed, self.run_folder(cell, seed), cell in with_bars)
            for cell in self.cells.values()
            for seed in cell.seeds
        ]

    def cells_of(self, spec: FigureSpec) -> list[Cell]:
        """The cells that a figure names, or all that are made of runs."""
        of_runs = [cell for cell in self.cells.values() if cell.analysis is None]
        return [self.cells[name] for name in spec.cells] or of_runs or list(self.cells.values())

    def run_folder(self, cell: Cell, seed: int) -> Path:
        return self.folder / cell.name / f"seed-{seed}"

    def folders(self, cell: Cell) -> list[Path]:
        """Of the cell's runs, by seed."""
        return [self.run_folder(cell, seed) for seed in cell.seeds]


KEYS = ("title", "about", "thesis", "seeds", "defaults", "cells", "figures", "claims", "comparisons", "ablations")
"""Of a `study.toml`."""


def load_study(folder: Path) -> Study:
    """Read a study. Raises FormulaError, naming what is wrong and where, before anything is run."""
    path = folder / STUDY_FILE
    if not path.is_file():
        raise FormulaError(f"{folder} is not a study: it holds no {STUDY_FILE}")
    try:
        return _study(folder, tomllib.loads(read_text(path)))
    except FormulaError as error:
        raise FormulaError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise FormulaError(f"{path} is not TOML: {error}") from None


def _study(folder: Path, document: dict[str, Any]) -> Study:
    _check_keys("", document, KEYS)
    for name in ("title", "about", "thesis"):
        if not isinstance(document.get(name), str):
            raise FormulaError(f"{name} must be there, and text")
    seeds = _seeds("seeds", document.get("seeds", [0, 1, 2, 3, 4]))
    tables = document.get("cells")
    if not isinstance(tables, dict) or not tables:
        raise FormulaError("there must be at least one table [cells.NAME]")
    cells = {name: _cell(name, table, document.get("defaults", {}), seeds) for name, table in tables.items()}
    figures = [_build(f"figures {i}", FigureSpec, table) for i, table in enumerate(_list(document, "figures"))]
    claims = [_build(f"claims {i}", Claim, table) for i, table in enumerate(_list(document, "claims"))]
    for name in [name for figure in figures for name in figure.cells] + [claim.cell for claim in claims]:
        check_choice(tuple(cells), cell=name)
    names = [figure.name for figure in figures]
    if len(set(names)) < len(names):
        raise FormulaError(f"figures must have different names, got {', '.join(names)}")
    for claim in claims:
        if claim.row and cells[claim.cell].analysis is None:
            raise FormulaError(f"a claim's row is for analyses; {claim.cell} is made of runs")
    comparisons = [_build(f"comparisons {i}", Comparison, t) for i, t in enumerate(_list(document, "comparisons"))]
    ablations = [_build(f"ablations {i}", Ablation, t) for i, t in enumerate(_list(document, "ablations"))]
    for i, comparison in enumerate(comparisons):
        _check_side_by_side(f"comparisons {i}", [comparison.cell, *comparison.baselines], cells)
    for i, ablation in enumerate(ablations):
        _check_side_by_side(f"ablations {i}", [ablation.cell, *ablation.changed], cells)
    title, about, thesis = document["title"], document["about"].strip(), document["thesis"]
    return Study(folder, title, about, thesis, cells, figures, claims, comparisons, ablations)


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise FormulaError(f"{name} must be tables [[{name}]]")
    return value


def _cell(name: str, table: Any, defaults: Any, seeds: tuple[int, ...]) -> Cell:
    where = f"cells.{name}"
    if not isinstance(table, dict) or not isinstance(defaults, dict):
        raise FormulaError(f"{where} and defaults must be tables")
    known = ("preset", *(f.name for f in fields(RunConfig) if f.name not in ("task_name", "seed", "out")))
    _check_keys("defaults", defaults, known)
    check_file_name(cell=name)
    label = table.get("label", name)
    if not isinstance(label, str):
        raise FormulaError(f"{where}.label must be text, got {label!r}")
    own = _seeds(f"{where}.seeds", table["seeds"]) if "seeds" in table else seeds
    if "analysis" in table:
        _check_keys(where, table, ("label", "seeds", "analysis"))
        check_choice(tuple(ANALYSES), analysis=table["analysis"])
        return Cell(name, label, own, table["analysis"], {})
    _check_keys(where, table, ("label", "seeds", "analysis", *known))
    settings = {key: value for key, value in table.items() if key not in ("label", "seeds")}
    for key, value in defaults.items():
        is_table = isinstance(value, dict) and isinstance(settings.get(key, {}), dict)
        settings[key] = {**value, **settings.get(key, {})} if is_table else settings.get(key, value)
    cell = Cell(name, label, own, None, settings)
    try:
        for seed in own:
            cell.config(seed)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None
    return cell


def _check_side_by_side(where: str, names: Sequence[str], cells: dict[str, Cell]) -> None:
    """Raise FormulaError for names of cells that are not there, or are no pairs."""
    for name in names:
        check_choice(tuple(cells), cell=name)
    try:
        check_paired([cells[name] for name in names])
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None


PAIRED = ("task", "data", "eval_samples")
"""Settings that runs of the same seed must share to be a pair: then they learn from the same formulae."""


def check_paired(cells: Sequence[Cell]) -> None:
    """Raise FormulaError for cells that can't be compared seed by seed."""
    first = cells[0]
    for cell in cells:
        if cell.analysis is not None:
            raise FormulaError(f"{cell.name} is an analysis; only runs can be compared")
        if set(cell.seeds) != set(first.seeds):
            raise FormulaError(f"{first.name} and {cell.name} must have the same seeds")
        for name in PAIRED:
            one, other = (getattr(each.config(each.seeds[0]), name) for each in (first, cell))
            if one != other:
                raise FormulaError(f"{first.name} and {cell.name} must have the same {name}")
    if len(first.seeds) < 2:
        raise FormulaError(f"{first.name} has one seed; to compare takes at least two")


def _build(where: str, cls: Any, table: Any) -> Any:
    if not isinstance(table, dict):
        raise FormulaError(f"{where} must be a table")
    _check_keys(where, table, tuple(f.name for f in fields(cls)))
    try:
        return cls(**table)
    except (FormulaError, TypeError) as error:
        raise FormulaError(f"{where}: {str(error).removeprefix(f'{cls.__name__}.__init__() ')}") from None


def _check_names(**lists: list[str]) -> None:
    for key, names in lists.items():
        if not names or not all(isinstance(name, str) for name in names):
            raise FormulaError(f"{key} must name at least one, got {names}")


def _check_keys(where: str, table: dict[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            place = f" in {where}" if where else ""
            raise FormulaError(f"unknown key {key!r}{place}; there are: {', '.join(known)}")


def _seeds(where: str, seeds: Any) -> tuple[int, ...]:
    whole = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    if not whole or len(set(seeds)) < len(seeds):
        raise FormulaError(f"{where} must be a list of different whole numbers, got {seeds!r}")
    for seed in seeds:
        check_seed(seed)
    return tuple(seeds)


# --- records --------------------------------------------------------------------------------------------------


def write_analysis(folder: Path, record: dict[str, Any]) -> None:
    """Write an analysis' rows, and their checksum. Raises FormulaError if they can't be written."""
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


def incomplete(study: Study) -> list[tuple[Run, str]]:
    """The runs whose record is not complete, and why."""
    problems = ((run, run.problem()) for run in study.runs())
    return [(run, problem) for run, problem in problems if problem is not None]


def check_undamaged(study: Study) -> None:
    """Raise FormulaError naming a run whose record is damaged, so that running it again would replace rows."""
    found = [(run, damage) for run in study.runs() if (damage := run.damage()) is not None]
    if found:
        run, damage = found[0]
        others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise FormulaError(
            f"{run.name}: {damage}{others}; to run it again and replace what is there: "
            f"formula-env study {study.folder} --replace"
        )


def check_complete(study: Study) -> None:
    """Raise FormulaError naming a run whose record is not complete."""
    missing = incomplete(study)
    if missing:
        run, problem = missing[0]
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise FormulaError(f"{run.name}: {problem}{others}; run: formula-env study {study.folder}")


def copy_study(folder: Path, out: Path) -> Path:
    """The folder in `out` where the study of `folder` is run anew."""
    source, target = folder / STUDY_FILE, out / folder.resolve().name / STUDY_FILE
    if target.exists() and read_text(target) != read_text(source):
        raise FormulaError(
            f"{target.parent} holds another version of this study; give another --out, or delete it"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {target.parent}: {error.strerror}") from None
    write_atomically(target, read_text(source))
    return target.parent
