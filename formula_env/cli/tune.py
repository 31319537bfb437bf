"""The command `tune`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic

import torch
from rich.table import Table

from formula_env.arguments import Positional, option
from formula_env.cli.decoding import decoded
from formula_env.cli.train import parse_with_algorithm
from formula_env.errors import FormulaError, check_at_least, check_choice, check_seed
from formula_env.experiment.config import AlgoT, DataConfig, RunConfig, TaskT, check_device
from formula_env.experiment.loop import load_algorithm
from formula_env.experiment.registry import algorithm_class
from formula_env.experiment.terminal import SafeConsole, printable
from formula_env.metrics import COMPARABLE, metric
from formula_env.networks.decoding import Decoding
from formula_env.search_space import decoding_space
from formula_env.studies.engines import EngineName, engine_for
from formula_env.tasks import SequenceTask

VALIDATION_NLL = "validation_nll"

SHOWN = 10
"""Trials in the table that is printed."""


@dataclass(frozen=True)
class TuneOptions(Generic[TaskT, AlgoT]):
    algorithm: Annotated[str, Positional]
    """Algorithm to tune; `formula-env list algorithms` names them."""
    task: TaskT
    algo: AlgoT
    task_name: Annotated[str, option(name="task")] = "binary-sum"
    """Family of formulae, which `formula-env list tasks` names, or module:Class of your own."""
    data: DataConfig = field(default_factory=DataConfig)
    trials: int = 20
    """Number of trials in all, those of earlier calls included. The first has the settings that are given here."""
    metric: str = ""
    """Metric to improve, by its name in `summary.json`; default: validation_nll where --data.validation is given,
    else jsd where it is known, else held_out_nll."""
    seeds: tuple[int, ...] = (101, 102)
    """Seeds of the runs of each trial; use them nowhere else."""
    seed: int = 0
    """Random seed of the search."""
    jobs: int | None = None
    """Number of runs side by side; default: as many as there are CPUs."""
    engine: EngineName = "local"
    """Place where the runs are at work: processes of this machine, or tasks of a Ray cluster."""
    address: str = ""
    """Address of the Ray cluster; auto: that of this machine; default: a new cluster, of this machine alone."""
    out: Path | None = None
    """Folder of the search; a search that is in it already continues. Default: runs/tune-ALGORITHM-TASK."""
    eval_every: int = 0
    """Rounds between evaluations, at which a trial may be stopped; 0: a tenth of a run's."""
    eval_samples: int = 10_000
    """Number of formulae in an evaluation's sample."""
    device: str = "cpu"
    """Device of the networks: cpu, cuda, cuda:1, …"""
    preset: str | None = None
    """Preset of hyper-parameters to begin with, as in `train`."""
    config: Path | None = None
    """Preset file to begin with, as in `train`."""


def run_tune(arguments: list[str]) -> None:
    """Search for the best settings: formula-env tune mle --task binary-sum --trials 20"""
    from formula_env.studies.tuning import Tuning, tune

    options = parse_with_algorithm(TuneOptions, "tune", arguments, shown="mle")
    tuning = Tuning(
        folder=options.out or Path("runs") / f"tune-{options.algorithm}-{options.task_name.rpartition(':')[2]}",
        config=_config(options),
        metric=_metric(options),
        seeds=_seeds(options.seeds),
        seed=options.seed,
        rounds=_rounds(options),
    )
    check_at_least(1, trials=options.trials)
    with engine_for(options.engine, options.jobs, options.address) as engine:
        study = tune(tuning, options.trials, engine, _evaluate, f"formula-env tune {shlex.join(arguments)}")
    _show(tuning, study)


def _evaluate(folder: Path, decodings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Metrics of a run's generator under each cutoff of improbable symbols."""
    config, algorithm, evaluator = load_algorithm(folder, trust_checker=True)
    found = []
    for decoding in decodings:
        rule = Decoding(epsilon=decoding["cutoff"] / config.task.vocabulary.size)
        sampler = decoded(rule, config, algorithm)
        found.append(evaluator(sampler.sample(config.eval_samples, config.seed), sampler.log_prob))
    return found


def _config(options: TuneOptions[Any, Any]) -> RunConfig[Any, Any]:
    check_device(options.device)
    check_at_least(0, eval_every=options.eval_every)
    return RunConfig(
        options.algorithm,
        options.task,
        options.algo,
        options.task_name,
        options.data,
        options.seed,
        eval_every=options.eval_every or max(1, _rounds(options) // 10),
        eval_samples=options.eval_samples,
        device=options.device,
    )


def _rounds(options: TuneOptions[Any, Any]) -> int:
    """The rounds of a run, which only the algorithm itself knows."""
    cls = algorithm_class(options.algorithm)
    algorithm = cls(options.task, options.algo, 0, torch.device("cpu"))
    return algorithm.pretrain_rounds + algorithm.rounds


def _metric(options: TuneOptions[Any, Any]) -> str:
    if options.metric:
        check_choice(COMPARABLE, metric=options.metric)
        if options.metric == VALIDATION_NLL and not options.data.validation:
            raise FormulaError(
                "metric validation_nll needs formulae that validate; give --data.validation, as 0.1"
            )
        return options.metric
    if options.data.validation:
        return VALIDATION_NLL
    task = options.task
    return "jsd" if not isinstance(task, SequenceTask) or task.count() is not None else "held_out_nll"


def _seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    for seed in seeds:
        check_seed(seed)
    if not seeds or len(set(seeds)) < len(seeds):
        raise FormulaError(f"seeds must be at least one, and different, got {list(seeds)}")
    return seeds


def _show(tuning: Any, study: Any) -> None:
    """The best trials, and where the settings are."""
    from formula_env.studies.tuning import BEST_FILE, chosen, finished, ranked, value_text

    done = finished(study)
    numbers = {trial.number: number for number, trial in enumerate(done, start=1)}
    best = ranked(tuning, study)[:SHOWN]
    table = Table(title=f"best of {len(done)} trials; the first has the settings the search began with")
    table.add_column("trial", justify="right")
    table.add_column(metric(tuning.metric).heading, justify="right")
    names = [*tuning.space, *decoding_space(tuning.config.algo)]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for trial in best:
        values = (chosen(trial).get(name, "") for name in names)
        shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
        table.add_row(str(numbers[trial.number]), value_text(tuning, trial), *shown)
    SafeConsole().print(table)
    file = tuning.folder / BEST_FILE
    print(
        printable(
            f"settings of the best: {file}; train with: formula-env train {tuning.config.algorithm} "
            f"--task {tuning.config.task_name} --config {file}"
        )
    )
