"""Search for an algorithm's best settings: Optuna's TPE, trials that are runs, and a storage that outlives a kill.

OUT/
  trials.db             Optuna's storage (SQLite)
  trial-0007/seed-101/  a trial's run, one for each seed; a trial that is stopped early leaves unfinished ones
  trials.csv            all finished trials: settings, values and states
  best.yaml             the best settings, for `train --config`

The first trial has the settings that the search begins with, so the best is never worse. Trials train without a
cut of improbable symbols; each cut is tried on what they trained. What a later one tries depends on the seed of
the search and on the trials that were finished before, and nothing else: a trial that was interrupted is tried
again, its runs go on from their checkpoints, and the search ends as if nothing had happened.
"""

import csv
import io
import json
import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from formula_env.errors import FormulaError
from formula_env.experiment.config import (
    RunConfig,
    algo_config,
    first_difference_of,
    merge,
    preset_text,
    settings_of,
)
from formula_env.experiment.interrupt import Interrupted, StopRequest, stop_requests
from formula_env.experiment.run_folder import RunFolder
from formula_env.files import exclusive, write_atomically
from formula_env.metrics import metric, row_key
from formula_env.search_space import LogRange, SearchSpace, as_tables, decoding_space, search_space, values_in
from formula_env.studies.engines import Engine
from formula_env.studies.pool import Pool
from formula_env.studies.progress import StudyProgress
from formula_env.studies.records import Run
from formula_env.studies.spec import BEST_FILE, TRIALS_FILE, Variant

STORAGE_FILE = "trials.db"

FIRST_TRIALS = 5
"""Trials that always run to their end: the median of fewer says little."""

WARM_UP = 1 / 3
"""Share of a run's rounds before which no trial is stopped."""


@dataclass(frozen=True)
class Tuning:
    """A search for the best settings of one algorithm on one task."""

    folder: Path
    config: RunConfig[Any, Any]
    """Settings that the search begins with; those in the search space vary, its seed is not used."""
    metric: str
    """Name of the metric that decides, the mean over the seeds at the end of the runs."""
    seeds: tuple[int, ...]
    """Seeds of the runs of each trial."""
    seed: int
    """Seed of the search."""
    rounds: int
    """Rounds of a run."""

    def __post_init__(self) -> None:
        search_space(self.config.algorithm, self.config.algo)  # raises before a folder is made

    @property
    def space(self) -> SearchSpace:
        return search_space(self.config.algorithm, self.config.algo)

    @property
    def decodings(self) -> list[dict[str, Any]]:
        """Settings that are tried on what a trial has trained; the first changes nothing."""
        space = decoding_space(self.config.algo)
        return [{name: value} for name, choice in space.items() for value in choice.values] or [{}]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that must not change when a search continues."""
        settings = {name: value for name, value in settings_of(self.config).items() if name in SEARCHED}
        space = {name: str(values) for name, values in {**self.space, **decoding_space(self.config.algo)}.items()}
        settings |= {"metric": self.metric, "seeds": self.seeds, "seed": self.seed, "space": space}
        return json.loads(json.dumps(settings))  # as Optuna's storage gives them back


SEARCHED = ("algorithm", "task", "algo", "data", "eval_every", "eval_samples")
"""Settings of a run that decide the numbers of a search."""


Evaluate = Callable[[Path, Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]
"""The metrics of a run's folder, under each of some settings of decoding."""


def tune(tuning: Tuning, trials: int, engine: Engine, evaluate: Evaluate, command: str) -> optuna.Study:
    """Run trials until the search has the wanted number of finished ones; returns them.

    Raises FormulaError, for a folder of another search or a storage that is none, and Interrupted, which names the
    `command` that goes on.
    """
    try:
        tuning.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormulaError(f"cannot make the folder {tuning.folder}: {error.strerror}") from None
    with exclusive(tuning.folder), readable_storage(tuning.folder), stop_requests() as stop:
        study = _open(tuning)
        done = len(finished(study))
        if done:
            _write_results(tuning, study)  # a kill may have come between a trial's end and its line
        with StudyProgress(max(trials, done) * len(tuning.seeds), done * len(tuning.seeds)) as progress:
            while len(finished(study)) < trials:
                _try_next(tuning, study, engine, evaluate, progress, stop)
                if stop.signum is not None:
                    raise Interrupted(
                        stop.signum,
                        f"stopped with {len(finished(study))} of {trials} trials done; go on with: {command}",
                    )
                _write_results(tuning, study)
                progress.note(_line(tuning, study, trials))
        return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ran to their end or were stopped early, in their order."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


@contextmanager
def readable_storage(folder: Path) -> Iterator[None]:
    """Silence Optuna's log, and raise FormulaError for a storage that it can't read."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is experimental in Optuna
            yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        reason = str(error).splitlines()[0]
        raise FormulaError(f"{folder / STORAGE_FILE} can't be read: {reason}") from None
    finally:
        optuna.logging.set_verbosity(verbosity)


def _open(tuning: Tuning) -> optuna.Study:
    """The search of this folder, begun or taken up. Raises FormulaError if it is another one."""
    path = tuning.folder / STORAGE_FILE
    try:
        # no pool: a connection that stays open is a ResourceWarning since Python 3.13
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}", {"poolclass": NullPool})
    except RuntimeError as error:  # of another version of Optuna
        raise FormulaError(f"{path} can't be read: {str(error).splitlines()[0]}") from None
    for name in optuna.get_all_study_names(storage):
        if name != tuning.config.algorithm:
            raise FormulaError(f"{tuning.folder} holds a search for {name}; give another --out")
    study = optuna.create_study(
        storage=storage,
        study_name=tuning.config.algorithm,
        direction="minimize" if metric(tuning.metric).better == "lower" else "maximize",
        load_if_exists=True,
    )
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", tuning.settings)
    elif (difference := first_difference_of(known, tuning.settings)) is not None:
        name, then, now = difference
        raise FormulaError(
            f"{tuning.folder} holds a search with another {name} ({then!r}, not {now!r}); give another --out"
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(trial.number, state=TrialState.FAIL)  # interrupted: it is tried again
    return study


# --- one trial ------------------------------------------------------------------------------------------------


def _try_next(
    tuning: Tuning,
    study: optuna.Study,
    engine: Engine,
    evaluate: Evaluate,
    progress: StudyProgress,
    stop: StopRequest,
) -> None:
    """Run the next trial to its end, or until it is hopeless; one that is interrupted is not counted."""
    number = len(finished(study))
    study.sampler = optuna.samplers.TPESampler(seed=_seed(tuning.seed, number), constant_liar=False)
    study.pruner = optuna.pruners.MedianPruner(FIRST_TRIALS, n_warmup_steps=math.ceil(WARM_UP * tuning.rounds))
    if number == 0:
        study.enqueue_trial(values_in(tuning.config.algo, tuning.space))
    trial = study.ask({name: _distribution(values) for name, values in tuning.space.items()})
    runs = runs_of_trial(tuning, number, trial.params)
    for run in runs:
        if run.folder.exists():
            with exclusive(run.folder):  # raises while a run goes on that a killed search left behind
                pass
    watch = Watch(trial, tuning.metric, runs[0].run_folder)
    failed = Pool(runs, engine, progress, stop, watch.is_promising).work()
    if stop.signum is not None:
        return
    if not watch.is_promising():  # asked again, for the rows that came last
        study.tell(trial, state=TrialState.PRUNED)
    elif failed and number == 0:
        raise FormulaError(f"the settings that the search begins with fail: {failed[0][1]}")
    elif failed:
        trial.set_user_attr("failed", failed[0][1])
        study.tell(trial, _worst(study))
    else:
        value, decoding = best_decoding(tuning, study, runs, evaluate)
        trial.set_user_attr("decoding", decoding)
        study.tell(trial, value)


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _distribution(values: Any) -> BaseDistribution:
    if isinstance(values, LogRange):
        return FloatDistribution(values.low, values.high, log=True)
    return CategoricalDistribution(values.values)


def runs_of_trial(tuning: Tuning, number: int, params: Mapping[str, Any]) -> list[Run]:
    name = f"trial-{number + 1:04d}"
    settings = settings_of(tuning.config)
    settings = {name: settings[name] for name in (*SEARCHED, "device")}
    for changed in (params, tuning.decodings[0]):
        settings["algo"] = merge(settings["algo"], as_tables(changed))
    trusted = tuning.config.code is not None
    variant = Variant(name, name, tuning.seeds, None, settings, trusted)
    return [
        Run(variant, seed, RunFolder(tuning.folder / name / f"seed-{seed}"), has_bars=False)
        for seed in tuning.seeds
    ]


class Watch:
    """Tells Optuna the rows of a trial's first run, each once, and asks it whether to go on.

    The first run alone decides, so that it does not matter how many go on side by side.
    """

    def __init__(self, trial: optuna.Trial, name: str, folder: RunFolder) -> None:
        self.trial, self.key, self.folder = trial, row_key(name), folder
        self.last = -1
        self.is_hopeless = False

    def is_promising(self) -> bool:
        for row in self._new_rows():
            self.last = row["round"]
            if not self.is_hopeless:
                # A row lacks what is infinite, such as the NLL of formulae that are cut.
                self.trial.report(row.get(self.key, _worst(self.trial.study)), self.last)
                self.is_hopeless = self.trial.should_prune()
        return not self.is_hopeless

    def _new_rows(self) -> Sequence[Mapping[str, Any]]:
        row = self.folder.newest_row()
        if row is None or row["round"] <= self.last:
            return ()
        return [row for row in self.folder.rows() if row["round"] > self.last]


def _worst(study: optuna.Study) -> float:
    return math.inf if study.direction == optuna.study.StudyDirection.MINIMIZE else -math.inf


def best_decoding(
    tuning: Tuning, study: optuna.Study, runs: Sequence[Run], evaluate: Evaluate
) -> tuple[float, dict[str, Any]]:
    """The metric at the end, mean over the seeds, under the decoding that is best for it, the first of equals.

    It is the worst there is where a run has none, such as the NLL of formulae that are cut.
    """
    decodings, worst = tuning.decodings, _worst(study)
    if len(decodings) == 1:
        tables: list[Sequence[Mapping[str, Any]]] = [[run.run_folder.summary() or {}] for run in runs]
    else:
        tables = [evaluate(run.folder, decodings) for run in runs]
    of_decodings = zip(*tables, strict=True)
    values = [statistics.fmean(row.get(tuning.metric, worst) for row in rows) for rows in of_decodings]
    sign = 1 if worst > 0 else -1
    best = min(range(len(values)), key=lambda i: sign * values[i])
    return values[best], decodings[best]


# --- results --------------------------------------------------------------------------------------------------


def best_config(tuning: Tuning, study: optuna.Study) -> RunConfig[Any, Any]:
    """The settings of the best trial that ran to its end."""
    algo = merge(settings_of(tuning.config)["algo"], as_tables(chosen(study.best_trial)))
    return replace(tuning.config, algo=algo_config(tuning.config.algorithm, algo))


def chosen(trial: FrozenTrial) -> dict[str, Any]:
    """The settings of a trial, and those of decoding that were best for it."""
    return trial.params | trial.user_attrs.get("decoding", {})


def ranked(tuning: Tuning, study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ran to their end, the best first."""
    sign = 1 if metric(tuning.metric).better == "lower" else -1
    values = [(sign * trial.value, i, trial) for i, trial in enumerate(finished(study)) if trial.value is not None]
    return [trial for _, _, trial in sorted(values) if trial.state == TrialState.COMPLETE]


def value_text(tuning: Tuning, trial: FrozenTrial) -> str:
    """A trial's value as tables show it: `0.0012`, "stopped", "failed"."""
    if trial.state == TrialState.PRUNED:
        return "stopped"
    if "failed" in trial.user_attrs or trial.value is None or not math.isfinite(trial.value):
        return "failed" if "failed" in trial.user_attrs else "none"
    return metric(tuning.metric).text(trial.value)


def _line(tuning: Tuning, study: optuna.Study, trials: int) -> str:
    done = finished(study)
    best = study.best_trial
    label = metric(tuning.metric).heading
    return (
        f"trial {len(done)} of {trials}: {label} {value_text(tuning, done[-1])}; "
        f"best {value_text(tuning, best)}, of trial {done.index(best) + 1}"
    )


def _write_results(tuning: Tuning, study: optuna.Study) -> None:
    """`trials.csv` and `best.yaml`."""
    done = finished(study)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [*tuning.space, *decoding_space(tuning.config.algo)]
    table.writerow(["trial", "state", tuning.metric, *names, "message"])
    for number, trial in enumerate(done, start=1):
        failed = "failed" in trial.user_attrs
        state = "stopped" if trial.state == TrialState.PRUNED else "failed" if failed else "finished"
        value = "" if trial.value is None or state != "finished" else repr(trial.value)
        params = [chosen(trial).get(name, "") for name in names]
        table.writerow([number, state, value, *params, trial.user_attrs.get("failed", "")])
    write_atomically(tuning.folder / TRIALS_FILE, text.getvalue())
    config = best_config(tuning, study)
    seeds = ", ".join(map(str, tuning.seeds))
    comment = (
        f"The best of {len(done)} trials on {config.task_name}: {metric(tuning.metric).heading} "
        f"{value_text(tuning, study.best_trial)}, mean over the seeds {seeds};\n"
        f"{value_text(tuning, done[0])} with the settings that the search began with."
    )
    write_atomically(tuning.folder / BEST_FILE, preset_text(config.algorithm, config.algo, comment))
