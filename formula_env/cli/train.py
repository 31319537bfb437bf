"""The commands `train` and `resume`."""

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from formula_env.arguments import UNSET, Positional, option, options_of, parse, value_of, with_flat_tables
from formula_env.distributed import from_first, is_first, process_group
from formula_env.errors import FormulaError
from formula_env.experiment.config import (
    AlgoT,
    DataConfig,
    RunConfig,
    TaskT,
    algo_config,
    load_config,
    load_preset,
)
from formula_env.experiment.loop import resume, train
from formula_env.experiment.registry import algorithm_class, all_algorithms, default_preset, preset
from formula_env.experiment.run_folder import default_run_folder
from formula_env.experiment.run_report import print_summary
from formula_env.experiment.terminal import printable
from formula_env.tasks import BaseTask, all_tasks, task_class


@dataclass(frozen=True)
class TrainOptions(RunConfig[TaskT, AlgoT]):
    algorithm: Annotated[str, Positional]
    """Algorithm to train; `formula-env list algorithms` names them."""
    task_name: Annotated[str, option(name="task")] = "binary-sum"
    """Family of formulae, which `formula-env list tasks` names, or module:Class of your own."""
    preset: str | None = None
    """Preset of hyper-parameters to start from; `list algorithms` names them. Default is the task's own, which the
    algorithm may have, and with --data.size over 10,000 that for many examples; None: the algorithm's defaults."""
    config: Path | None = None
    """Preset file to start from instead, such as the best.yaml of `formula-env tune`."""
    json: bool = False
    """Output of the summary as JSON."""


def run_train(arguments: list[str]) -> None:
    """Train an algorithm on a task: formula-env train seqgan --task binary-sum"""
    options = parse_with_algorithm(TrainOptions, "train", arguments, shown="seqgan")
    if is_first():
        for note in options.task.notes:
            print(printable(note), file=sys.stderr)
    with process_group(options.device), contextlib.ExitStack() as stack:
        folder = options.out
        if folder is None:
            folder = from_first(stack.enter_context(_default_folder(options)) if is_first() else None)
        _show(train(options, folder), folder, options.json)


def parse_with_algorithm(options: Any, command: str, arguments: list[str], shown: str) -> Any:
    """The options of a command whose first argument is an algorithm, as an instance of their dataclass.

    The algorithm and the task decide which options there are, so they are read first; help without an algorithm
    shows the options of the one that is `shown`. Raises FormulaError for wrong ones.
    """
    is_help = arguments[:1] in (["-h"], ["--help"])
    algorithm = shown if is_help else next(iter(arguments), "-")
    if algorithm.startswith("-"):
        raise FormulaError(f"{command} needs an algorithm first: {', '.join(sorted(all_algorithms()))}")
    arguments, known = with_flat_tables(arguments), options_of(options) | {"task": str}
    task_name = value_of("task", arguments, known) or "binary-sum"
    cls, task_cls = algorithm_class(algorithm), task_class(task_name)
    algo, chosen = starting_settings(algorithm, task_cls, arguments, known)
    default = None if algo is None else options(algorithm, UNSET, algo, task_name, **chosen)
    presets = ", ".join(cls.presets) or "none"
    description = f"Tasks: {', '.join(sorted(all_tasks()))}. Presets of {algorithm}: {presets}."
    shown_command = command if is_help else f"{command} {algorithm}"
    return parse(options[task_cls, cls.Config], shown_command, arguments, default, description)


def starting_settings(
    algorithm: str, task: type[BaseTask], arguments: list[str], known: Mapping[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The hyper-parameters of the preset, or preset file, that a run starts from, and the option that chose it.

    None, and no option, for the algorithm's defaults. Raises FormulaError for wrong ones.
    """
    file, name = value_of("config", arguments, known), value_of("preset", arguments, known)
    if file not in (None, "None"):
        if name not in (None, "None"):
            raise FormulaError("--preset and --config are two starts; give one of them")
        path = Path(str(file))
        try:
            return algo_config(algorithm, load_preset(path, algorithm)), {"config": path}
        except FormulaError as error:
            raise FormulaError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    size = _number(value_of("data.size", arguments, known), DataConfig.size)
    name = name or default_preset(algorithm, task, size)
    if name in (None, "None"):
        return None, {}
    return algo_config(algorithm, preset(algorithm, name)), {"preset": name}


@dataclass(frozen=True)
class ResumeOptions:
    folder: Annotated[Path, Positional]
    """Folder of the run."""
    device: str | None = None
    """Device to continue on: cpu, cuda, …; default the run's own."""
    trust_checker: bool = False
    """Consent to running the checker of the run, or its task, where that is code."""
    json: bool = False
    """Output of the summary as JSON."""


def run_resume(arguments: list[str]) -> None:
    """Resume a run from its last checkpoint, bit for bit."""
    options = parse(ResumeOptions, "resume", arguments)
    with process_group(load_config(options.folder, options.device, options.trust_checker).device):
        _show(resume(options.folder, options.device, options.trust_checker), options.folder, options.json)


def _number(text: str | None, default: float) -> float:
    """The number that a text is; the default for another text, which `parse` refuses."""
    with contextlib.suppress(ValueError):
        return float(text or default)
    return default


def _default_folder(config: RunConfig[Any, Any]) -> contextlib.AbstractContextManager[Path]:
    moment = time.strftime("%Y%m%d-%H%M%S")
    task = config.task_name.rpartition(":")[2]
    return default_run_folder(f"{config.algorithm}-{task}-s{config.seed}-{moment}")


def _show(summary: dict[str, Any], folder: Path, as_json: bool) -> None:
    if not is_first():
        return
    if as_json:
        print(json.dumps(summary))
        return
    print_summary(summary)
    print(f"{summary['seconds']:.0f} s; metrics, samples, figures and checkpoints are in {printable(str(folder))}")
