"""Studies: runs over seeds and variants, described by a `study.toml`, whose rows stay in the study's folder.

runs/studies/NAME/
  study.toml                what is run, drawn, claimed and compared
  VARIANT/seed-S/           a run's folder; its checkpoints are no part of the record (see `records`)
  VARIANT/seed-S/rows.json  instead, where the variant is an analysis
  tuning/NAME/              a search for settings: `best.yaml` and `trials.csv` of `formula-env tune`
  figures/  README.md       made from the rows (see `study_figures` and `study_report`)
"""

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from formula_env.errors import FormulaError, check_choice, check_file_name, check_pair, check_seed, check_types
from formula_env.experiment.config import RunConfig, config_from, load_preset, merge
from formula_env.experiment.registry import ANALYSES
from formula_env.experiment.run_folder import RunFolder
from formula_env.files import read_text
from formula_env.metrics import COMPARABLE, METRICS, is_known
from formula_env.studies.tables import build, check_keys
from formula_env.suggestions import unknown
from formula_env.tasks import SequenceTask

STUDY_FILE = "study.toml"
TUNING_FOLDER, TRIALS_FILE, BEST_FILE = "tuning", "trials.csv", "best.yaml"


Source = Literal["examples", "both", "checker"]
SOURCES = get_args(Source)
"""What an algorithm learns from: examples, the checker, or both."""


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed alone: an algorithm with its settings, or an analysis."""

    name: str
    label: str
    """Name in figures and tables."""
    seeds: tuple[int, ...]
    analysis: str | None
    settings: dict[str, Any]
    """Settings of a run, as in `config.yaml`."""
    trust_checker: bool = False
    """Consent to running the checker of its task, where that is code."""
    trials: int | None = None
    """Trials of the search that gave its settings; None: there was none."""
    source: Source | None = None
    """What it learns from; None: it is in no table of sources."""
    records: Path | None = None
    """Folder of its runs where another study has run them; None: that of its own study."""

    def config(self, seed: int) -> RunConfig[Any, Any]:
        """The settings of its run with this seed; raises FormulaError where they are wrong, or run code without
        consent."""
        return config_from(self.settings | {"seed": seed}, self.trust_checker)

    @property
    def num_examples(self) -> int:
        """Number of formulae in the training set of its first run."""
        config = self.config(self.seeds[0])
        brings_its_own = isinstance(config.task, SequenceTask) and config.task.training_set() is not None
        if isinstance(config.data.size, int) and not brings_its_own:
            return config.data.size  # to draw them takes long in some tasks
        return len(config.data.training_set(config.task, config.seed))


@dataclass(frozen=True)
class FigureSpec:
    """A figure to be drawn from rows, of a kind in `formula_env.studies.study_figures`."""

    name: str
    kind: str
    title: str = ""
    variants: list[str] = field(default_factory=list)
    """Names of the variants to draw; by default all."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of this kind of figure."""

    def __post_init__(self) -> None:
        check_types(self)
        check_file_name(figure=self.name)


@dataclass(frozen=True)
class Claim:
    """A claim of the thesis, and the range of our numbers that supports the verdict on it."""

    thesis: str
    verdict: str
    """Verdict, one of `VERDICTS`."""
    reason: str
    variant: str
    metrics: list[str]
    """Our numbers; of an analysis, the name of a column."""
    row: dict[str, Any] = field(default_factory=dict)
    """Values of other columns that select the row of an analysis."""
    range: list[float] = field(default_factory=list)
    """The verdict stands as long as the first metric is within this, for every seed."""

    def __post_init__(self) -> None:
        check_types(self)
        check_choice(VERDICTS, verdict=self.verdict)
        check_pair(range=self.range)
        if sorted(self.range) != self.range:
            raise FormulaError(f"range must go from the lower to the higher number, got {self.range}")
        _check_names(metrics=self.metrics)


VERDICTS = ("reproduced", "partly reproduced", "refuted", "does not follow", "beyond the thesis")


@dataclass(frozen=True)
class Comparison:
    """A question of our own that the rows answer: a variant against others at their best, seed by seed."""

    question: str
    variant: str
    """Whose last rows count."""
    baselines: list[str]
    """Variants, of whose rows one counts for each seed: the best."""
    metrics: list[str]
    """Metrics to compare, of `metrics.COMPARABLE`."""
    picked: bool = True
    """Whether all rows of the baselines' runs may be the best, or only the last ones."""
    goals: dict[str, float] = field(default_factory=dict)
    """Goals: values that the variant's mean must reach, by metric."""

    def __post_init__(self) -> None:
        check_types(self)
        _check_names(baselines=self.baselines, metrics=self.metrics)
        for metric in self.metrics:
            check_choice(COMPARABLE, metric=metric)
        for metric, goal in self.goals.items():
            check_choice(self.metrics, goal=metric)
            if type(goal) not in (int, float):
                raise FormulaError(f"the goal of {metric} must be a number, got {goal!r}")
        if self.variant in self.baselines:
            raise FormulaError(f"{self.variant} can't be its own baseline")


@dataclass(frozen=True)
class Ablation:
    """An ablation, the worth of a method's parts: variants with one thing changed beside the whole, seed by seed.

    The last rows count, on both sides.
    """

    question: str
    variant: str
    """The whole."""
    changed: list[str]
    """Variants that differ from it in one thing, which their label names."""
    metrics: list[str]
    """Metrics to compare, of `metrics.COMPARABLE`."""

    def __post_init__(self) -> None:
        check_types(self)
        _check_names(changed=self.changed, metrics=self.metrics)
        for metric in self.metrics:
            check_choice(COMPARABLE, metric=metric)
        if self.variant in self.changed:
            raise FormulaError(f"{self.variant} can't be an ablation of itself")


@dataclass(frozen=True)
class Study:
    """A `study.toml` and the folder it lies in."""

    folder: Path
    title: str
    about: str
    thesis: str
    """Place in the thesis."""
    variants: dict[str, Variant]
    figures: list[FigureSpec]
    claims: list[Claim]
    comparisons: list[Comparison]
    ablations: list[Ablation]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def variants_of(self, spec: FigureSpec) -> list[Variant]:
        """The variants that a figure names, or all that are made of runs."""
        of_runs = [variant for variant in self.variants.values() if variant.analysis is None]
        return [self.variants[name] for name in spec.variants] or of_runs or list(self.variants.values())

    def run_folder(self, variant: Variant, seed: int) -> RunFolder:
        return RunFolder((variant.records or self.folder / variant.name) / f"seed-{seed}")

    @property
    def lenders(self) -> list[Path]:
        """Folders of the other studies that it has runs from."""
        records = (variant.records for variant in self.variants.values())
        return list(dict.fromkeys(folder.parent for folder in records if folder is not None))

    def folders(self, variant: Variant) -> list[RunFolder]:
        """Folders of the variant's runs, by seed."""
        return [self.run_folder(variant, seed) for seed in variant.seeds]


def study_command(studies: Sequence[Study]) -> str:
    """The command that runs what is missing of studies, with the consent that they were loaded with."""
    trusted = any(variant.trust_checker for study in studies for variant in study.variants.values())
    folders = (str(study.folder) for study in studies)
    return " ".join(["formula-env study", *folders, *(["--trust-checker"] if trusted else [])])


KEYS = (
    "title",
    "about",
    "thesis",
    "seeds",
    "defaults",
    "variants",
    "figures",
    "claims",
    "comparisons",
    "ablations",
)
"""Keys of a `study.toml`."""


def load_study(folder: Path, trust_checker: bool = False) -> Study:
    """Read a study. Raises FormulaError, naming what is wrong and where, before anything is run.

    Args:
        folder: with a `study.toml`.
        trust_checker: consent to running the checkers that its tasks name, where these are code.
    """
    _check_is_study(folder)
    with _naming(folder / STUDY_FILE):
        return _study(folder, _document(folder), trust_checker)


def _check_is_study(folder: Path) -> None:
    if not (folder / STUDY_FILE).is_file():
        raise FormulaError(f"{folder} is not a study: it holds no {STUDY_FILE}")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let what is wrong in a file name it."""
    try:
        yield
    except FormulaError as error:
        raise FormulaError(f"{path}: {error}") from None


def _document(folder: Path) -> dict[str, Any]:
    """What a `study.toml` holds, keys checked."""
    path = folder / STUDY_FILE
    try:
        document = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise FormulaError(f"it is not TOML: {error}") from None
    check_keys("", document, KEYS)
    for name in ("title", "about", "thesis"):
        if not isinstance(document.get(name), str):
            raise FormulaError(f"{name} must be there, and text")
    if not isinstance(document.get("variants"), dict) or not document["variants"]:
        raise FormulaError("there must be at least one table [variants.NAME]")
    return document


def _study(folder: Path, document: dict[str, Any], trust_checker: bool) -> Study:
    variants = {name: _variant(folder, document, name, trust_checker) for name in document["variants"]}
    figures = [build(f"figures {i}", FigureSpec, table) for i, table in enumerate(_list(document, "figures"))]
    claims = [build(f"claims {i}", Claim, table) for i, table in enumerate(_list(document, "claims"))]
    for name in [name for figure in figures for name in figure.variants] + [claim.variant for claim in claims]:
        check_choice(tuple(variants), variant=name)
    names = [figure.name for figure in figures]
    if len(set(names)) < len(names):
        raise FormulaError(f"figures must have different names, got {', '.join(names)}")
    for i, claim in enumerate(claims):
        if variants[claim.variant].analysis is None:
            _check_claim_on_runs(f"claims {i}", claim)
    comparisons = [build(f"comparisons {i}", Comparison, t) for i, t in enumerate(_list(document, "comparisons"))]
    ablations = [build(f"ablations {i}", Ablation, t) for i, t in enumerate(_list(document, "ablations"))]
    for i, comparison in enumerate(comparisons):
        _check_side_by_side(f"comparisons {i}", [comparison.variant, *comparison.baselines], variants)
    for i, ablation in enumerate(ablations):
        _check_side_by_side(f"ablations {i}", [ablation.variant, *ablation.changed], variants)
    title, about, thesis = document["title"], document["about"].strip(), document["thesis"]
    return Study(folder, title, about, thesis, variants, figures, claims, comparisons, ablations)


def _check_claim_on_runs(where: str, claim: Claim) -> None:
    """Raise FormulaError for a claim on runs that selects a row, or names a metric that no run has."""
    if claim.row:
        raise FormulaError(f"a claim's row is for analyses; {claim.variant} is made of runs")
    for name in claim.metrics:
        if not is_known(name):
            raise FormulaError(unknown("metric", name, METRICS, where))


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise FormulaError(f"{name} must be tables [[{name}]]")
    return value


def _variant(folder: Path, document: dict[str, Any], name: str, trust_checker: bool) -> Variant:
    where = f"variants.{name}"
    table, defaults = document["variants"][name], document.get("defaults", {})
    if not isinstance(table, dict) or not isinstance(defaults, dict):
        raise FormulaError(f"{where} and defaults must be tables")
    known = ("preset", *(f.name for f in fields(RunConfig) if f.name not in ("task_name", "seed", "out")))
    check_keys("defaults", defaults, known)
    check_file_name(variant=name)
    label = table.get("label", name)
    if not isinstance(label, str):
        raise FormulaError(f"{where}.label must be text, got {label!r}")
    if "from" in table:
        check_keys(where, table, ("label", "seeds", "from"))
        return _borrowed(folder, name, table, trust_checker)
    own = _seeds("seeds", document.get("seeds", [0, 1, 2, 3, 4]))
    if "seeds" in table:
        own = _seeds(f"{where}.seeds", table["seeds"])
    if "analysis" in table:
        check_keys(where, table, ("label", "seeds", "analysis"))
        check_choice(tuple(ANALYSES), analysis=table["analysis"])
        return Variant(name, label, own, table["analysis"], {})
    check_keys(where, table, ("label", "seeds", "analysis", "tuning", "source", *known))
    if "source" in table:
        check_choice(SOURCES, **{f"{where}.source": table["source"]})
    of_variant = ("label", "seeds", "tuning", "source")
    settings = {key: value for key, value in table.items() if key not in of_variant}
    for key, value in defaults.items():
        is_table = isinstance(value, dict) and isinstance(settings.get(key, {}), dict)
        settings[key] = {**value, **settings.get(key, {})} if is_table else settings.get(key, value)
    try:
        trials = _take_tuned(folder / TUNING_FOLDER, table["tuning"], settings) if "tuning" in table else None
        variant = Variant(name, label, own, None, settings, trust_checker, trials, table.get("source"))
        for seed in own:
            variant.config(seed)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None
    return variant


def _borrowed(folder: Path, name: str, table: dict[str, Any], trust_checker: bool) -> Variant:
    """A variant whose runs are those of a variant of a neighbouring study: from = "STUDY/VARIANT"."""
    where, origin = f"variants.{name}.from", table["from"]
    if not isinstance(origin, str) or origin.count("/") != 1:
        raise FormulaError(f'{where} must be "STUDY/VARIANT", got {origin!r}')
    study_name, variant_name = origin.split("/")
    check_file_name(study=study_name)
    if study_name == folder.resolve().name:
        raise FormulaError(f"{where} must name another study than this one")
    lender = folder.resolve().parent / study_name
    _check_is_study(lender)
    with _naming(lender / STUDY_FILE):
        document = _document(lender)
        check_choice(tuple(document["variants"]), variant=variant_name)
        lent = document["variants"][variant_name]
        if isinstance(lent, dict) and "from" in lent:
            raise FormulaError(f"variants.{variant_name} is from another study itself; name that one")
        variant = _variant(lender, document, variant_name, trust_checker)
    seeds = _seeds(f"variants.{name}.seeds", table.get("seeds", list(variant.seeds)))
    if not set(seeds) <= set(variant.seeds):
        raise FormulaError(f"variants.{name}.seeds must be among those of {origin}, {list(variant.seeds)}")
    label = table.get("label", variant.label)
    return replace(variant, name=name, label=label, seeds=seeds, records=lender / variant_name)


def _take_tuned(folder: Path, name: Any, settings: dict[str, Any]) -> int:
    """Put the best settings of a search below the variant's own; returns the number of its trials."""
    if not isinstance(name, str):
        raise FormulaError(f"tuning must be the name of a folder in {folder}, got {name!r}")
    check_file_name(tuning=name)
    if "preset" in settings:
        raise FormulaError("give tuning or preset; what was tuned holds all settings")
    best = load_preset(folder / name / BEST_FILE, settings.get("algorithm", ""))
    settings["algo"] = merge(best, settings.get("algo", {}))
    return len(read_text(folder / name / TRIALS_FILE).splitlines()) - 1


def _check_side_by_side(where: str, names: Sequence[str], variants: dict[str, Variant]) -> None:
    """Raise FormulaError for names of variants that are not there, or are no pairs."""
    for name in names:
        check_choice(tuple(variants), variant=name)
    try:
        check_paired([variants[name] for name in names])
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None


PAIRED = ("task", "data", "eval_samples")
"""Settings that runs of the same seed must share to be a pair: then they learn from the same formulae."""


def check_paired(variants: Sequence[Variant]) -> None:
    """Raise FormulaError for variants that can't be compared seed by seed."""
    first = variants[0]
    for variant in variants:
        if variant.analysis is not None:
            raise FormulaError(f"{variant.name} is an analysis; only runs can be compared")
        if set(variant.seeds) != set(first.seeds):
            raise FormulaError(f"{first.name} and {variant.name} must have the same seeds")
        for name in PAIRED:
            one, other = (getattr(each.config(each.seeds[0]), name) for each in (first, variant))
            if one != other:
                raise FormulaError(f"{first.name} and {variant.name} must have the same {name}")
    if len(first.seeds) < 2:
        raise FormulaError(f"{first.name} has one seed; to compare takes at least two")


def _check_names(**lists: list[str]) -> None:
    for key, names in lists.items():
        if not names or not all(isinstance(name, str) for name in names):
            raise FormulaError(f"{key} must name at least one, got {names}")


def _seeds(where: str, seeds: Any) -> tuple[int, ...]:
    whole = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    if not whole or len(set(seeds)) < len(seeds):
        raise FormulaError(f"{where} must be a list of different whole numbers, got {seeds!r}")
    for seed in seeds:
        check_seed(seed)
    return tuple(seeds)
