"""The command line: `formula-env COMMAND …`, also `python -m formula_env`."""

import contextlib
import csv
import io
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal

import numpy as np
from numpy.typing import NDArray

from formula_env.algorithm import Algorithm, Batch
from formula_env.arguments import UNSET, Positional, option, options_of, parse, value_of, with_flat_tables
from formula_env.conditional import conditional_sampler
from formula_env.distributed import from_first, is_first, process_group
from formula_env.errors import FormulaError, check_at_least, check_range, check_seed
from formula_env.evaluators import Evaluator, SequenceEvaluator
from formula_env.experiment.config import MAX_SAMPLES, AlgoT, RunConfig, TaskT, algo_config, load_config
from formula_env.experiment.found import read_found
from formula_env.experiment.found_table import FoundFormat, Order, found_table, in_order, latex_table
from formula_env.experiment.interrupt import Interrupted
from formula_env.experiment.isolation import isolated
from formula_env.experiment.loop import load_algorithm, resume, train
from formula_env.experiment.notices import notice
from formula_env.experiment.output import safe_output
from formula_env.experiment.registry import algorithm_class, all_algorithms, default_preset, preset
from formula_env.experiment.run_folder import RunFolder, default_run_folder
from formula_env.experiment.run_report import print_evaluation, print_summary
from formula_env.experiment.score_report import print_score
from formula_env.experiment.terminal import SafeConsole, one_line, printable
from formula_env.networks.decoding import Decoded, Decoding
from formula_env.networks.policy import Policy
from formula_env.reading import read_lines
from formula_env.sampling import Sampler
from formula_env.scoring import score
from formula_env.suggestions import unknown
from formula_env.tasks import BaseTask, SequenceTask, all_tasks, symbol_tasks, task_class
from formula_env.tasks.templates import TemplateMask, read_prefix, read_template
from formula_env.vocabulary import Tokens, distinct_rows

if TYPE_CHECKING:
    from formula_env.studies.spec import Study

DRAWS_PER_FORMULA, MAX_DRAWS = 1_000, 10**8
"""How many formulae `sample` draws at most: for each one that it is asked for, and in all."""

MAX_JOBS = max(16, 4 * (os.cpu_count() or 1))
"""How many runs go on side by side at most: each is a process of some hundred megabytes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for wrong input, 130 or 143 for a run that was interrupted.

    The process of the caller keeps its settings, random numbers, signal handlers and W&B run.
    """
    with safe_output(), isolated():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> int:
    try:
        _dispatch(arguments)
        sys.stdout.flush()
        return 0
    except FormulaError as error:
        return _complain(error)
    except Interrupted as stop:
        _say(str(stop))
        return stop.exit_code
    except SystemExit:  # tyro's after a command's help; rich's when the reader of a table has seen enough
        return 0
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return 0
    except (OSError, MemoryError) as error:
        return _complain(error)
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        return _complain(error)  # torch's way to say that memory is short


def _complain(error: Exception) -> int:
    _say(str(error) or type(error).__name__)
    return 2


def _say(line: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes that fail alike, one says so
        print(f"formula-env: {one_line(line)}", file=sys.stderr)


def _dispatch(arguments: list[str]) -> None:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        print(_overview())
        return
    if command not in COMMANDS:
        raise FormulaError(unknown("command", command, COMMANDS))
    COMMANDS[command](rest)


def _overview() -> str:
    # Without docstrings (python -OO) the names alone.
    about = {name: (getdoc(run) or "").partition("\n")[0] for name, run in COMMANDS.items()}
    lines = [f"  {name:<10}{line}".rstrip() for name, line in about.items()]
    return "\n".join(
        ["usage: formula-env COMMAND [OPTIONS]", "", *lines, "", "formula-env COMMAND --help lists the options."]
    )


# --- train ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainOptions(RunConfig[TaskT, AlgoT]):
    algorithm: Annotated[str, Positional]
    """Algorithm to train; `formula-env list algorithms` names them."""
    task_name: Annotated[str, option(name="task")] = "binary-sum"
    """Family of formulae; `formula-env list tasks` names them."""
    preset: str | None = None
    """Preset of hyper-parameters to start from; `list algorithms` names them. Default is the task's own, which the
    algorithm may have; None: the algorithm's defaults."""
    json: bool = False
    """Output of the summary as JSON."""


def _train(arguments: list[str]) -> None:
    """Train an algorithm on a task: formula-env train seqgan --task binary-sum"""
    # The algorithm and the task decide which options there are, so they are read first.
    is_help = arguments[:1] in (["-h"], ["--help"])
    algorithm = "seqgan" if is_help else next(iter(arguments), "-")
    command = "train" if is_help else f"train {algorithm}"
    if algorithm.startswith("-"):
        raise FormulaError(f"train needs an algorithm first: {', '.join(sorted(all_algorithms()))}")
    arguments, known = with_flat_tables(arguments), options_of(TrainOptions) | {"task": str}
    task_name = value_of("task", arguments, known) or "binary-sum"
    cls, task_cls = algorithm_class(algorithm), task_class(task_name)
    name = value_of("preset", arguments, known) or default_preset(algorithm, task_cls)
    default = None
    if name not in (None, "None"):
        algo = algo_config(algorithm, preset(algorithm, name))
        default = TrainOptions(algorithm, UNSET, algo, task_name, preset=name)
    options = parse(TrainOptions[task_cls, cls.Config], command, arguments, default)
    if is_first():
        for note in options.task.notes:
            print(printable(note), file=sys.stderr)
    with process_group(options.device), contextlib.ExitStack() as stack:
        folder = options.out
        if folder is None:
            folder = from_first(stack.enter_context(_default_folder(options)) if is_first() else None)
        _show(train(options, folder), folder, options.json)


def _default_folder(config: RunConfig[Any, Any]) -> contextlib.AbstractContextManager[Path]:
    moment = time.strftime("%Y%m%d-%H%M%S")
    return default_run_folder(f"{config.algorithm}-{config.task_name}-s{config.seed}-{moment}")


def _show(summary: dict[str, Any], folder: Path, as_json: bool) -> None:
    if not is_first():
        return
    if as_json:
        print(json.dumps(summary))
        return
    print_summary(summary)
    print(f"{summary['seconds']:.0f} s; metrics, samples, figures and checkpoints are in {printable(str(folder))}")


# --- resume ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ResumeOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    device: str | None = None
    """Device to continue on: cpu, cuda, …; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, where that is code."""
    json: bool = False
    """Output of the summary as JSON."""


def _resume(arguments: list[str]) -> None:
    """Resume a run from its last checkpoint, bit for bit."""
    options = parse(ResumeOptions, "resume", arguments)
    with process_group(load_config(options.folder, options.device, options.trust_checker).device):
        _show(resume(options.folder, options.device, options.trust_checker), options.folder, options.json)


# --- decoding -------------------------------------------------------------------------------------------------

Rules = Annotated[Decoding, option(name="")]
"""Decoding rules as options of a command: `--temperature`, `--top-k`, `--top-p`, `--epsilon`."""


def _policy(config: RunConfig[Any, Any], algorithm: Algorithm) -> Policy:
    """The policy that decoding rules and templates act on; raises FormulaError where there is none."""
    if algorithm.policy is None:
        raise FormulaError(
            f"{config.algorithm} has no step-by-step policy here, which decoding rules, --prefix and --template "
            "need; leave them out, or train another algorithm, such as mle or seqgan"
        )
    return algorithm.policy


def _decoded(decoding: Decoding, config: RunConfig[Any, Any], algorithm: Algorithm) -> Algorithm | Sampler:
    """The generator under decoding rules: what draws formulae, and has their log-likelihood."""
    if decoding == Decoding():
        return algorithm
    return Sampler(Decoded(_policy(config, algorithm), decoding), config.task, config.device)


# --- evaluate -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluateOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    samples: int = 10_000
    """Number of formulae to draw."""
    seed: int = 0
    """Random seed of the drawing."""
    device: str | None = None
    """Device of the generator; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, where that is code."""
    decoding: Rules = Decoding()
    json: bool = False
    """Output of the metrics as JSON."""


def _evaluate(arguments: list[str]) -> None:
    """Evaluate a run's newest weights."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    check_range(1, MAX_SAMPLES, samples=options.samples)
    check_seed(options.seed)
    config, algorithm, evaluator = load_algorithm(options.folder, options.device, options.trust_checker)
    sampler = _decoded(options.decoding, config, algorithm)
    batch = sampler.sample(options.samples, options.seed)
    metrics = evaluator(batch, sampler.log_prob, algorithm.density_ratio)
    if options.json:
        print(json.dumps(metrics))
    else:
        print_evaluation(metrics)


# --- sample ---------------------------------------------------------------------------------------------------

Draws = Callable[[int, int], Batch]
"""A number n and a seed to n formulae `(n, …)`."""

Format = Literal["text", "jsonl", "csv", "latex", "sympy"]


@dataclass(frozen=True)
class SampleOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    num: Annotated[int, option(short="-n")] = 20
    """Number of formulae."""
    seed: int = 0
    """Random seed of the drawing."""
    device: str | None = None
    """Device of the generator; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, where that is code."""
    correct: bool = False
    """Restriction to correct formulae."""
    novel: bool = False
    """Restriction to correct formulae that are not in the training set."""
    unique: Literal["False", "True", "canonical"] = "False"
    """Restriction to different formulae; canonical: to those that differ in more than their form."""
    prefix: str | None = None
    """Beginning of every formula, such as "12+"."""
    template: str | None = None
    """Form of every formula, such as "?+?=100"; each ? stands for one or more symbols."""
    decoding: Rules = Decoding()
    format: Format = "text"
    """Form of the output; jsonl and csv have a field each for correct and novel, sympy is for correct
    formulae only."""


def _sample(arguments: list[str]) -> None:
    """Generate formulae from a trained generator, one per line."""
    options = parse(SampleOptions, "sample", arguments)
    check_range(1, MAX_SAMPLES, num=options.num)
    check_seed(options.seed)
    config, algorithm, evaluator = load_algorithm(options.folder, options.device, options.trust_checker)
    batch = _draw(options, _draws(options, config, algorithm), evaluator)
    sys.stdout.write(format_formulae(config.task, evaluator, batch, options.format))
    sys.stdout.flush()


def _draws(options: SampleOptions, config: RunConfig[Any, Any], algorithm: Algorithm) -> Draws:
    """What formulae are drawn from: the generator, under the decoding rules, given the prefix or template.

    With either of these, a line on stderr states which distribution that is.
    """
    if options.prefix is not None and options.template is not None:
        raise FormulaError("--prefix and --template exclude each other; a template can begin with the prefix")
    if options.prefix is None and options.template is None:
        return _decoded(options.decoding, config, algorithm).sample
    policy, vocabulary = _policy(config, algorithm), config.task.vocabulary
    if options.prefix is not None:
        template = read_prefix(options.prefix, vocabulary)
    else:
        template = read_template(options.template or "", vocabulary)
    mask = TemplateMask(config.task, template)
    sampler = conditional_sampler(policy, options.decoding, mask, config.device)
    notice(sampler.description)
    return sampler.sample


def _draw(options: SampleOptions, draws: Draws, evaluator: Evaluator) -> Batch:
    """`(num, …)` formulae that pass the filters; raises FormulaError if they don't turn up."""
    only_correct = options.correct or options.format == "sympy"  # sympy can't read what is not well-formed
    is_unique = options.unique != "False"
    if not (only_correct or options.novel or is_unique):
        return draws(options.num, int(np.random.default_rng(options.seed).integers(2**31)))
    if not isinstance(evaluator, SequenceEvaluator):
        raise FormulaError("vectors are neither correct nor wrong, nor twice the same; leave out such filters")
    total = evaluator.task.count()
    if is_unique and (only_correct or options.novel) and total is not None and options.num > total:
        raise FormulaError(f"there are only {total} correct formulae, not {options.num}")
    kept = np.empty((0, evaluator.task.max_length), dtype=np.int64)
    rng = np.random.default_rng(options.seed)
    batch = max(1_000, options.num)
    drawn, limit = 0, max(batch, min(options.num * DRAWS_PER_FORMULA, MAX_DRAWS))
    while len(kept) < options.num and drawn < limit:
        tokens = draws(batch, int(rng.integers(2**31)))
        drawn += batch
        if options.novel:
            tokens = tokens[evaluator.is_novel(tokens)]
        elif only_correct:
            tokens = tokens[evaluator.task.is_correct(tokens)]
        kept = np.concatenate([kept, tokens])
        if is_unique:
            kept = kept[_first_of_each(evaluator.task, kept, options.unique == "canonical")]
    if len(kept) < options.num:
        raise FormulaError(f"only {len(kept)} such formulae in {drawn:,} draws, not {options.num}")
    return kept[: options.num]


def _first_of_each(task: SequenceTask, tokens: Tokens, canonical: bool) -> NDArray[np.int64]:
    """The rows `(m,)` of formulae `(n, T)` that are not the same as an earlier one, or not of the same form."""
    if not canonical:
        return np.sort(distinct_rows(tokens)[0])
    forms = task.canonical(task.decode(tokens))
    return np.sort(np.unique(forms, return_index=True)[1])


def format_formulae(task: BaseTask, evaluator: Evaluator, batch: Batch, form: Format) -> str:
    """Formulae as text, one per line (csv: after a header)."""
    if form in ("text", "latex", "sympy"):
        write: Callable[[str], str] = {"text": str, "latex": task.to_latex, "sympy": task.to_sympy}[form]
        return "".join(f"{write(text)}\n" for text in task.decode(batch))
    rows = evaluator.describe(batch)
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


# --- found ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    top: int = 50
    """Number of formulae."""
    order: Order = "log-prob"
    """Order: the most probable first, the shortest, or the oldest."""
    format: FoundFormat = "text"
    """Form of the output."""
    trust_checker: bool = False
    """Consent to running the checker of the run, where that is code."""


def _found(arguments: list[str]) -> None:
    """List the correct new formulae that a run has found: formula-env found RUN --top 50 --format html"""
    options = parse(FoundOptions, "found", arguments)
    check_at_least(1, top=options.top)
    rows = in_order(read_found(options.folder), options.order)[: options.top]
    if options.format == "latex":
        task = load_config(options.folder, trust_checker=options.trust_checker).task
        sys.stdout.write(latex_table(task, rows))
    else:
        sys.stdout.write(found_table(rows, options.format))
    sys.stdout.flush()


# --- score ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreOptions(Generic[TaskT]):
    file: Annotated[Path, Positional]
    """File of formulae, UTF-8, one a line."""
    task: TaskT
    task_name: Annotated[str, option(name="task")]
    """Family of formulae; `formula-env list tasks` names them."""
    training: Path | None = None
    """File of the formulae that novel ones are compared with. Default: those that the task brings, if any."""
    column: str = ""
    """Column of a CSV table that holds the formulae."""
    training_column: str = ""
    """Column of a CSV table that holds the formulae of the training file."""
    json: bool = False
    """Output of the score as JSON."""


def _score(arguments: list[str]) -> None:
    """Score formulae of any origin: formula-env score FILE --task equation"""
    arguments, known = with_flat_tables(arguments), options_of(ScoreOptions) | {"task": str}
    is_help = not {"-h", "--help"}.isdisjoint(arguments)
    name = value_of("task", arguments, known) or ("binary-sum" if is_help else None)
    if name is None or not issubclass(task_cls := task_class(name), SequenceTask):
        raise FormulaError(f"score needs a task of symbols, --task NAME: {', '.join(sorted(symbol_tasks()))}")
    options = parse(ScoreOptions[task_cls], "score", arguments)
    formulae = read_lines(options.file, options.column).texts
    training = None if options.training is None else read_lines(options.training, options.training_column).texts
    with SafeConsole(stderr=True).status(f"scoring {len(formulae):,} formulae"):
        result = score(formulae, options.task, training)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_score(result)


# --- studies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders with a study.toml."""
    out: Path | None = None
    """Folder for a fresh copy of the studies; default: the records are completed in place."""
    jobs: int = os.cpu_count() or 1
    """Number of runs side by side."""
    replace: bool = False
    """Replacement of damaged records, and of figures and READMEs that the rows contradict."""


def _study(arguments: list[str]) -> None:
    """Run the missing runs of a study, in parallel: formula-env study runs/studies/NAME"""
    from formula_env.studies.pages import are_present
    from formula_env.studies.pool import run_studies
    from formula_env.studies.records import check_undamaged, copy_study, incomplete
    from formula_env.studies.spec import load_study
    from formula_env.studies.study_figures import check_figures

    options = parse(StudyOptions, "study", arguments)
    check_range(1, MAX_JOBS, jobs=options.jobs)
    loaded = [load_study(folder) for folder in _some(options.folders, "study")]
    if options.out is not None:
        loaded = [load_study(copy_study(study.folder, options.out)) for study in loaded]
    for study in loaded:
        check_figures(study)
        if not options.replace:
            check_undamaged(study)
    to_draw = [study for study in loaded if options.replace or incomplete(study) or not are_present(study)]
    run_studies(loaded, options.jobs)
    for study in loaded:
        if study in to_draw:
            _draw_study(study, options.replace, must_write=False)
        else:
            print(printable(f"{study.folder}: complete; nothing was run or changed"))


@dataclass(frozen=True)
class FiguresOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders with a study.toml."""
    replace: bool = False
    """Replacement of figures and READMEs that the rows contradict."""


def _figures(arguments: list[str]) -> None:
    """Draw a study's figures, and write its README, from its rows."""
    from formula_env.studies.spec import load_study

    options = parse(FiguresOptions, "figures", arguments)
    for folder in _some(options.folders, "figures"):
        _draw_study(load_study(folder), options.replace, must_write=True)


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
        _say(pages.refusal())
    else:
        print(printable(f"{study.folder}: {pages.write()}"))
    for claim in shaken(study):
        _say(f"{study.name}: these rows don't support {claim.verdict!r} of: {claim.thesis}")


@dataclass(frozen=True)
class ReportOptions:
    folders: Annotated[tuple[Path, ...], Positional]
    """Folders of runs or of studies."""
    markdown: bool = False
    """Output of the studies' claims as one Markdown table, and of their comparisons as another."""


def _report(arguments: list[str]) -> None:
    """Print the results of runs or studies."""
    from formula_env.studies.records import check_complete
    from formula_env.studies.spec import STUDY_FILE, load_study
    from formula_env.studies.study_report import comparisons_table, print_study, studies_table

    options = parse(ReportOptions, "report", arguments)
    folders = _some(options.folders, "report")
    if options.markdown:
        studies = [load_study(folder) for folder in folders]
        for study in studies:
            check_complete(study)
        tables = [studies_table(studies), comparisons_table(studies)]
        print("\n\n".join("\n".join(map(printable, table.splitlines())) for table in tables if table))
        return
    for folder in folders:
        if (folder / STUDY_FILE).exists():
            print_study(load_study(folder), SafeConsole())
        elif (summary := RunFolder(folder).summary()) is not None:
            RunFolder(folder).check()
            _print_finished(summary, folder)
        else:
            raise FormulaError(f"{folder} holds no finished run and no {STUDY_FILE}")


def _print_finished(summary: dict[str, Any], folder: Path) -> None:
    try:
        print_summary(summary)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormulaError(f"the summary in {folder} is damaged: {error!r}") from None


def _some(folders: tuple[Path, ...], command: str) -> list[Path]:
    if not folders:
        raise FormulaError(f"{command} needs a folder, such as: formula-env {command} runs/studies/seqgan")
    return list({folder.resolve(): folder for folder in folders}.values())


# --- list -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListOptions:
    what: Annotated[Literal["tasks", "algorithms"], Positional]
    """Kind of thing to list."""
    json: bool = False
    """Output as JSON."""


def _list(arguments: list[str]) -> None:
    """Name the tasks or the algorithms, with their options."""
    options = parse(ListOptions, "list", arguments)
    is_tasks = options.what == "tasks"
    entries = []
    for name in sorted(all_tasks() if is_tasks else all_algorithms()):
        cls: Any = task_class(name) if is_tasks else algorithm_class(name)
        about = " ".join((getdoc(cls) or "").partition("\n\n")[0].split())
        defaults = _defaults(getattr(cls, "Config", cls))
        presets = getattr(cls, "presets", {})
        entries.append({"name": name, "about": about, "options": defaults, "presets": presets})
    if options.json:
        print(json.dumps(entries, default=str))
        return
    width = shutil.get_terminal_size().columns
    print("\n\n".join(_listed(entry, "--task." if is_tasks else "--algo.", width) for entry in entries))


def _defaults(cls: Any) -> dict[str, Any]:
    """Each option of a dataclass and its default; those of a table within it as TABLE.OPTION."""
    defaults: dict[str, Any] = {}
    for field in fields(cls):
        default = _default(field)
        table = asdict(default) if is_dataclass(default) and not isinstance(default, type) else None
        defaults |= {field.name: default} if table is None else {f"{field.name}.{k}": v for k, v in table.items()}
    return defaults


def _default(field: Field[Any]) -> Any:
    """An option's default; None where another package's task or algorithm has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _listed(entry: dict[str, Any], prefix: str, width: int) -> str:
    """The name, and indented under it what it is, its options with their defaults, and its presets."""
    defaults = [f"{name.replace('_', '-')}={value}" for name, value in entry["options"].items()]
    presets = [f"--preset={name}" for name in entry["presets"]]
    paragraphs = [entry["about"], " ".join([f"{prefix}NAME:", *defaults]), " ".join(presets)]
    lines = [
        line
        for paragraph in paragraphs
        for line in textwrap.wrap(
            printable(paragraph), max(width, 20), initial_indent="  ", subsequent_indent="  ",
            break_on_hyphens=False, break_long_words=False,
        )
    ]  # fmt: skip
    return "\n".join([printable(entry["name"]), *lines])


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "resume": _resume,
    "evaluate": _evaluate,
    "sample": _sample,
    "found": _found,
    "score": _score,
    "study": _study,
    "figures": _figures,
    "report": _report,
    "list": _list,
}
