"""The one training loop: it feeds an algorithm, evaluates, saves, and stops. Runs of every kind go through it."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from formula_env import distributed
from formula_env.algorithm import Algorithm, Batch
from formula_env.errors import FormulaError
from formula_env.evaluators import Evaluator, SequenceEvaluator, make_evaluator
from formula_env.evaluators import Metrics as Evaluation
from formula_env.experiment.alarms import collapse
from formula_env.experiment.checkpoint import first_non_finite
from formula_env.experiment.config import (
    RunConfig,
    check_device,
    first_difference,
    load_config,
    parse_settings,
    save_config,
    settings_text,
)
from formula_env.experiment.costs import Costs
from formula_env.experiment.found import Finder
from formula_env.experiment.interrupt import Interrupted, StopRequest, stop_requests
from formula_env.experiment.isolation import Isolated, isolated
from formula_env.experiment.notices import notice
from formula_env.experiment.progress import NoProgress, RunProgress, Schedule, make_progress
from formula_env.experiment.record import CONFIG_FILE, SUMS_FILE
from formula_env.experiment.registry import algorithm_class
from formula_env.experiment.rows import Row
from formula_env.experiment.run_folder import Record, RunFolder, new_run_folder
from formula_env.experiment.tensorboard_tracker import TensorBoardTracker
from formula_env.experiment.tracking import Tracker, Trackers, Untracked, WandbTracker
from formula_env.files import exclusive, remove_leftovers
from formula_env.metrics import row_key
from formula_env.randomness import global_random_state, seed_global_random, set_global_random_state
from formula_env.tasks import BaseTask

SAVED_SAMPLES, KEPT_SAMPLES = 100, 500
VALIDATION_NLL = row_key("validation_nll")
TRACKED_ROUNDS = 1_000
"""Rounds of a run, about, whose own metrics are tracked between the evaluations."""


@isolated()
def train(config: RunConfig[Any, Any], folder: Path) -> Row:
    """Run from the start in a new folder; returns the summary. Raises FormulaError, Interrupted."""
    training = Training(config, folder)
    with held_by_first(new_run_folder(folder)):
        try:
            if training.writes:
                save_config(config, folder)
            return training.run()
        except FormulaError:
            # With nothing to go on from, leave nothing half-made.
            if training.writes and not training.folder.checkpoints():
                shutil.rmtree(folder, ignore_errors=True)
            raise


@isolated()
def resume(folder: Path, device: str | None = None, trust_checker: bool = False) -> Row:
    """Resume from the last whole checkpoint, bit for bit; returns the summary of a finished run too."""
    config = load_config(folder, device, trust_checker)
    left_behind = RunFolder(folder)
    if not left_behind.checkpoints() and (summary := left_behind.summary()) is not None:
        left_behind.check()
        return summary  # a record such as git keeps: there is nothing to go on from, and nothing to do
    training = Training(config, folder)
    with held_by_first(exclusive(folder)):
        if training.writes:
            remove_leftovers(folder)
        training.restore()
        return training.run()


@contextmanager
def held_by_first(hold: AbstractContextManager[None]) -> Iterator[None]:
    """The first process holds the folder for all of them; if it can't, all raise its FormulaError."""
    with ExitStack() as stack:
        on_first(lambda: stack.enter_context(hold))
        yield


def on_first(action: Callable[[], None]) -> None:
    """Let the first process do something; if it raises FormulaError, all do."""
    problem = None
    if distributed.is_first():
        try:
            action()
        except FormulaError as error:
            problem = str(error)
    if (problem := distributed.from_first(problem)) is not None:
        distributed.wait_for_all()
        raise FormulaError(problem)


@isolated()
def load_algorithm(
    folder: Path, device: str | None = None, trust_checker: bool = False
) -> tuple[RunConfig[Any, Any], Algorithm, Evaluator]:
    """A run's settings, its algorithm with the newest weights, and the evaluator with its training set."""
    config = load_config(folder, device, trust_checker)
    training = Training(config, folder)
    training.load(training.folder.load_checkpoint())
    algorithm: Any = Isolated(training.algorithm)
    return config, algorithm, training.evaluator


class Training:
    """One run: rounds 1 … pretrain_rounds of `pretrain`, then `rounds` of `update`.

    Of several processes that train together each goes through all of it, but only the first writes and speaks.
    """

    def __init__(self, config: RunConfig[Any, Any], folder: Path) -> None:
        check_device(config.device)
        torch.set_num_threads(config.threads)
        self.config, self.folder = config, RunFolder(folder)
        self.writes = distributed.is_first()
        seed_global_random(config.seed)
        self.task: BaseTask = config.task
        training_set = config.data.training_set(self.task, config.seed)
        trained, validation = config.data.set_aside(training_set, config.seed)
        self.real = RealBatches(config.data.extended(trained, self.task, validation), config.seed)
        # What is new is not in the set that was given.
        self.evaluator = make_evaluator(self.task, training_set, validation)
        evaluator = self.evaluator
        self.finder = Finder(folder, evaluator) if isinstance(evaluator, SequenceEvaluator) else None
        cls = algorithm_class(config.algorithm)
        self.algorithm: Algorithm = cls(self.task, config.algo, config.seed, torch.device(config.device))
        self.total_rounds = self.algorithm.pretrain_rounds + self.algorithm.rounds
        if len(validation) and self.algorithm.log_prob is None:
            raise FormulaError(
                f"data.validation: {config.algorithm} has no likelihood to validate by; leave it out"
            )
        self.track_every = math.ceil(self.total_rounds / TRACKED_ROUNDS)
        self.round = 0
        self.evaluated_round = -1
        self.best_round: int | None = None  # of the weights that were taken back
        self.start: Evaluation = {}
        self.record = Record(self.folder)  # kept up to date only where it is written
        self._interval: dict[str, tuple[float, int]] = {}  # metric -> (sum, count) since the last row
        self.costs = Costs()

    @property
    def finished(self) -> bool:
        return self.round >= self.total_rounds or self.best_round is not None

    def run(self) -> Row:
        """Train from here to the end; returns the summary, also of a run that is at its end already."""
        self.costs.begin()
        if self.finished and (summary := self._recorded_summary()) is not None:
            return summary
        on_first(self._take_up)
        with stop_requests() as stop:
            schedule = Schedule(self.total_rounds, self.algorithm.pretrain_rounds, self.round)
            last = self.record.rows[-1] if self.record.rows else None
            progress = make_progress(schedule, last) if self.writes else NoProgress()
            trackers: list[Tracker] = []
            tracker = Trackers(trackers)
            completed = False
            try:
                if self.writes:
                    trackers += self._open_trackers(progress)
                for note in self.algorithm.notes:
                    progress.warn(note)
                self._rounds(tracker, progress, stop)
                summary = self._finish(tracker) if self.writes else {}
                completed = True
                return summary
            finally:
                progress.close()
                tracker.close(completed, stop)

    def _take_up(self) -> None:
        self.record.take_up(self.evaluated_round)
        if self.finder is not None:
            self.finder.take_up(self.evaluated_round)

    def _open_trackers(self, progress: RunProgress) -> Iterator[Tracker]:
        """Open the trackers that are asked for and work. Raises FormulaError for invalid settings."""
        config, path = self.config, self.folder.path
        if config.track:
            yield from self._opened(lambda: WandbTracker(config, path, progress.warn), progress)
        if config.tensorboard:
            yield from self._opened(lambda: TensorBoardTracker(config, path, self.round, progress.warn), progress)

    def _opened(self, open_tracker: Callable[[], Tracker], progress: RunProgress) -> Iterator[Tracker]:
        try:
            yield open_tracker()
        except FormulaError as error:
            if not isinstance(error, Untracked) and not self.folder.checkpoints():
                raise
            progress.warn(f"{error}; the run goes on untracked")

    def _rounds(self, tracker: Tracker, progress: RunProgress, stop: StopRequest) -> None:
        while True:
            if self.writes and self.round in self.config.keep_samples:
                tokens = self.algorithm.sample(KEPT_SAMPLES, seed=self.round)
                self.record.write_samples(self.evaluator.describe(tokens), self.round)
            if self._evaluation_is_due():
                row = self._evaluate()
                alarm = self._record(row) if self.writes else None
                tracker.log(row)
                progress.evaluated(row)
                if alarm is not None:
                    progress.warn(alarm)
                self.save()
            if self.finished or self._is_stale():
                self._take_best(progress)
                return
            if signum := distributed.all_max(stop.signum or 0):
                self.save()
                distributed.wait_for_all()  # torchrun stops all when one has ended: the first may still be saving
                raise Interrupted(
                    signum,
                    f"stopped in round {self.round} of {self.total_rounds} and saved; "
                    f"go on with: formula-env resume {self.folder.path}"
                    + (" --trust-checker" if self.config.code else ""),
                )
            metrics = self._one_round()
            progress.advance(self.round, metrics)
            if self.round % self.track_every == 0:
                tracker.log({"round": self.round, "env_steps": self.algorithm.env_steps, **metrics})

    def _one_round(self) -> dict[str, float]:
        real = self.real.batch(self.round, self.algorithm.real_batch_size)
        done = self.round - self.algorithm.pretrain_rounds
        try:
            if done < 0:
                metrics = self.algorithm.pretrain(real, self.round / self.algorithm.pretrain_rounds)
            else:
                metrics = self.algorithm.update(real, done / self.algorithm.rounds)
        except (RuntimeError, ValueError) as error:
            self._check_weights()
            if any(words in str(error) for words in ("found invalid values", "probability tensor contains")):
                self._stop_at_non_finite("a policy's probabilities are no longer numbers")  # in torch's own words
            raise
        self.round += 1
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._stop_at_non_finite(f"{name} became {value}")
            total, count = self._interval.get(name, (0.0, 0))
            self._interval[name] = (total + value, count + 1)
        return metrics

    def _stop_at_non_finite(self, what: str) -> NoReturn:
        saved = self.folder.checkpoints()
        kept = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was due yet"
        raise FormulaError(f"{what} in round {self.round}; {kept}; a smaller learning rate may help")

    def _evaluation_is_due(self) -> bool:
        """After pre-training, then every `eval_every` rounds, and at the end; once each."""
        since_start = self.round - self.algorithm.pretrain_rounds
        due = since_start >= 0 and (since_start % self.config.eval_every == 0 or self.finished)
        return due and self.evaluated_round < self.round

    def _lowest(self) -> Row | None:
        """The row with the lowest validation NLL, the first of several; None where it does not decide."""
        rows = [row for row in self.record.rows if VALIDATION_NLL in row]  # where it is finite
        return min(rows, key=lambda row: row[VALIDATION_NLL]) if self.config.patience and rows else None

    def _is_stale(self) -> bool:
        """Whether the validation NLL has not fallen in the last `patience` evaluations."""
        if not self.config.patience:
            return False
        lowest, rows = self._lowest(), self.record.rows
        since = 0 if lowest is None else len(rows) - 1 - rows.index(lowest)
        return distributed.from_first(since >= self.config.patience)

    def _take_best(self, progress: RunProgress) -> None:
        """End with the weights of the lowest validation NLL, where that is wanted and has not been done."""
        lowest = self._lowest()
        best_round = distributed.from_first(None if lowest is None else lowest["round"])
        if best_round is None or self.best_round is not None:
            return
        if best_round < self.round:
            progress.warn(
                f"the run ends in round {self.round} with the weights of round {best_round}, where the validation "
                "NLL was lowest"
            )
            self.algorithm.load_state_dict(self.folder.load_checkpoint_of(best_round)["algorithm"])
        self.best_round = best_round
        self.save()

    @property
    def phase(self) -> str:
        if self.round < self.algorithm.pretrain_rounds:
            return "pretraining"
        return "start" if self.round == self.algorithm.pretrain_rounds else "training"

    def _evaluate(self) -> Row:
        """The row of this round: the evaluator's metrics, and means of the algorithm's since the last row."""
        self._check_weights()  # before anything is said about them
        # By the round alone: runs that are compared are sampled with the same random numbers.
        tokens = self.algorithm.sample(self.config.eval_samples, seed=self.round)
        evaluation = self._metrics_of(tokens)
        if self.finder is not None and self.writes:
            self.finder.add(tokens, self.algorithm.log_prob, self.round)
        self.evaluated_round = self.round
        if self.round == self.algorithm.pretrain_rounds:
            self.start = evaluation
        means = {name: total / count for name, (total, count) in self._interval.items()}
        self._interval = {}
        return {
            "round": self.round,
            "phase": self.phase,
            "epoch": round(self.round * self.algorithm.real_batch_size / len(self.real.formulae), 4),
            "env_steps": self.algorithm.env_steps,
            **self.costs.so_far(),
            **{row_key(name): value for name, value in evaluation.items()},
            **means,
        }

    def _metrics_of(self, batch: Batch) -> Evaluation:
        return self.evaluator(batch, self.algorithm.log_prob, self.algorithm.density_ratio)

    def _record(self, row: Row) -> str | None:
        """Write a row with `eval/collapse`: whether it has collapsed, 0 or 1. Returns the run's first alarm.

        Whether it is depends on the rows alone, so a run that is resumed neither repeats nor loses it.
        """
        collapsed_before = any(earlier.get(row_key("collapse")) for earlier in self.record.rows)
        collapsed = collapse([*self.record.rows, row])
        row[row_key("collapse")] = int(collapsed is not None)
        self.record.write_row(row)
        if collapsed is None or collapsed_before:
            return None
        return f"variety collapsed in {collapsed}. What to change: {self.algorithm.collapse_advice}"

    def _finish(self, tracker: Tracker) -> Row:
        """Samples, distribution, figures and, last of all, the summary of a finished run."""
        from formula_env.experiment.run_figures import draw_figures  # only here: matplotlib is slow to import

        tokens = self.algorithm.sample(self.config.eval_samples, seed=self.round)
        evaluation = self._metrics_of(tokens)
        summary: Row = {
            "algorithm": self.config.algorithm,
            "task": self.config.task_name,
            "task_options": self.task.options,
            "seed": self.config.seed,
            "rounds": self.round,
            **({} if self.best_round is None else {"best_round": self.best_round}),
            **self.costs.so_far(),
            **evaluation,
            "start_name": self.algorithm.start_label,
            "start": self.start,
            "random": self.evaluator.random_sampler(self.config.eval_samples, self.config.seed),
        }
        described = self.evaluator.describe(tokens[:SAVED_SAMPLES])
        self.record.write_samples(described)
        self.record.write_distribution(self.evaluator.histogram(tokens, self.algorithm.log_prob))
        extra_files = self.algorithm.extra_files()
        for name, content in extra_files.items():
            self.record.write(name, content)
        draw_figures(self.folder, summary)
        self.record.write_summary(summary)
        path = self.folder.path
        figures = sorted((path / "figures").glob("*.png"))
        files = [*self.folder.checkpoints()[-1:], *(path / name for name in (CONFIG_FILE, *extra_files))]
        tracker.finish(summary, described, figures, files)
        return summary

    def save(self) -> None:
        self._check_weights()
        state = {
            "round": self.round,
            "evaluated_round": self.evaluated_round,
            "best_round": self.best_round,
            "algorithm": self.algorithm.state_dict(),
            "start": self.start,
            "interval": self._interval,
            **self.costs.so_far(),
            "random": global_random_state(),
            "settings": settings_text(self.config),
            "sums": self.record.sums,
        }
        if self.writes:
            lowest = self._lowest()
            self.folder.save_checkpoint(self.round, state, kept=None if lowest is None else lowest["round"])

    def _check_weights(self) -> None:
        broken = first_non_finite(self.algorithm.state_dict())
        if broken is not None:
            self._stop_at_non_finite(f"{broken} is no longer finite")

    def restore(self) -> None:
        """Take up the newest checkpoint that is whole, if there is one."""
        if self.folder.checkpoints():
            self.load(self.folder.load_checkpoint())
        elif self.folder.config_was_altered():
            raise FormulaError(
                f"{self.folder.path / CONFIG_FILE} was altered since the run began, and there is no checkpoint to "
                "compare its settings with; train anew in another folder"
            )

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state. Raises FormulaError if it is not one of this run, with these settings."""
        try:
            # Only the task's own code, which was trusted with the settings.
            _check_same(parse_settings(state["settings"], trusted=self.config.code), self.config)
            self.algorithm.load_state_dict(state["algorithm"])
            set_global_random_state(state["random"])
            self.round, self.evaluated_round = int(state["round"]), int(state["evaluated_round"])
            self.best_round = None if state["best_round"] is None else int(state["best_round"])
            self.start, self._interval = dict(state["start"]), dict(state["interval"])
            self.costs.restore(state)
            self.record.restore(state["sums"])
        except Exception as error:  # whatever a checkpoint of other settings, or a made-up one, leads to
            reason = " ".join(str(error).split())[:300]
            raise FormulaError(
                f"the checkpoint in {self.folder.path} does not fit its {CONFIG_FILE}: {reason}"
            ) from None
        if self.folder.config_was_altered():
            notice(
                f"{self.folder.path / CONFIG_FILE} does not match {SUMS_FILE}: it was altered, though in none "
                "of the settings that decide the numbers"
            )

    def _recorded_summary(self) -> Row | None:
        """The summary of a run that has ended; None, with a notice that says why, if it must be written anew."""
        try:
            altered = self.folder.altered_files()
            problem = next((line for name, line in altered.items() if name != CONFIG_FILE), None)
            summary = self.folder.summary() if problem is None else None
        except FormulaError as error:
            problem, summary = str(error), None
        if problem is not None:
            notice(f"{problem}; writing the results of the last checkpoint anew")
        return summary


def _check_same(then: RunConfig[Any, Any], now: RunConfig[Any, Any]) -> None:
    """Raise FormulaError naming a setting that decides the numbers of a run and was changed."""
    if (difference := first_difference(then, now)) is not None:
        name, old, new = difference
        raise FormulaError(f"{name} is {new!r} there, but the run was trained with {old!r}; put it back")


class RealBatches:
    """The training set in shuffled passes. Which formulae round r gets depends on r and the seed alone."""

    def __init__(self, formulae: Batch, seed: int) -> None:
        self.formulae, self._seed = formulae, seed
        self._order: dict[int, np.ndarray[Any, Any]] = {}

    def batch(self, round_: int, size: int) -> Batch:
        """The formulae of a round, `(size, …)`."""
        positions = np.arange(round_ * size, (round_ + 1) * size)
        epochs, offsets = np.divmod(positions, len(self.formulae))
        needed = range(int(epochs[0]), int(epochs[-1]) + 1)
        self._order = {e: self._order[e] if e in self._order else self._shuffle(e) for e in needed}
        return self.formulae[np.concatenate([self._order[e][offsets[epochs == e]] for e in needed])]

    def _shuffle(self, epoch: int) -> np.ndarray[Any, Any]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self.formulae))
