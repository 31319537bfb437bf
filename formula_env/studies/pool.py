"""Running studies: the runs that are missing, so many side by side."""

import signal
import sys
import time
from collections.abc import Callable, Sequence

from formula_env.errors import FormulaError
from formula_env.experiment.config import check_device
from formula_env.experiment.interrupt import Interrupted, StopRequest, stop_requests
from formula_env.experiment.terminal import one_line
from formula_env.studies.engines import Engine, Job
from formula_env.studies.processes import LOG_FILE, POLL_SECONDS
from formula_env.studies.progress import StudyProgress
from formula_env.studies.records import Run, compute, incomplete, runs_of
from formula_env.studies.spec import Study, study_command


def run_studies(studies: Sequence[Study], engine: Engine) -> None:
    """Run what is missing of studies; what is done stays.

    Raises FormulaError at the end if runs failed, Interrupted after all have saved themselves.
    """
    for study in studies:
        for variant in study.variants.values():
            check_device(variant.settings.get("device", "cpu"))
    total = sum(len(runs_of(study)) for study in studies)
    missing = [entry for study in studies for entry in incomplete(study)]
    _report_damaged([run for run, _ in missing])
    waiting = [run for run, _ in missing]
    with stop_requests() as stop, StudyProgress(total, total - len(waiting)) as progress:
        failed = Pool(waiting, engine, progress, stop).work()
        done = total - sum(len(incomplete(study)) for study in studies)
        if stop.signum is not None:
            raise Interrupted(
                stop.signum,
                f"stopped with {done} of {total} runs done; the others are saved; "
                f"go on with: {study_command(studies)}",
            )
    if failed:
        run, line = failed[0]
        raise FormulaError(
            f"{len(failed)} of {total} runs failed, first {run.name}: {line}; see {run.folder / LOG_FILE}"
        )


def _report_damaged(missing: list[Run]) -> None:
    """Say which records are damaged: those runs are done again."""
    for run in missing:
        if (damage := run.damage()) is not None:
            print(one_line(f"{run.name} is run again: {damage}"), file=sys.stderr)


class Pool:
    """Runs at work, as many at a time as an engine has jobs.

    Args:
        waiting: the runs.
        engine: where they are at work.
        progress: shows them.
        stop: stops them all, and they save themselves, as soon as it holds a signal.
        are_needed: is asked again and again; once it answers False, all stop in the same way.
    """

    def __init__(
        self,
        waiting: Sequence[Run],
        engine: Engine,
        progress: StudyProgress,
        stop: StopRequest,
        are_needed: Callable[[], bool] = lambda: True,
    ) -> None:
        self.waiting, self.engine, self.progress, self.stop = list(waiting), engine, progress, stop
        self.are_needed, self.has_stopped = are_needed, False
        self.active: list[Job] = []
        self.failed: list[tuple[Run, str]] = []

    def work(self) -> list[tuple[Run, str]]:
        """Do all runs, unless asked to stop; returns those that failed, with their last messages."""
        try:
            while self.active or (self.waiting and not self.has_stopped):
                self._fill()
                self._collect()
        finally:
            self._stop_all(self.stop.signum or signal.SIGTERM)
        return self.failed

    def _fill(self) -> None:
        while self.waiting and len(self.active) < self.engine.jobs and not self.has_stopped:
            run = self.waiting.pop(0)
            if run.variant.analysis is not None:
                compute(run)
                self.progress.done(run.name, {})
                continue
            problem = run.problem()
            if problem is None:  # another process has done it meanwhile
                self.progress.done(run.name, run.run_folder.summary())
                continue
            try:
                run.prepare(problem)
            except FormulaError as error:
                self._fail(run, str(error))
                continue
            self.active.append(self.engine.start(run))
            self.progress.begin(run.name, run.run_folder)

    def _fail(self, run: Run, why: str) -> None:
        self.progress.done(run.name, None)
        self.failed.append((run, why))

    def _collect(self) -> None:
        time.sleep(POLL_SECONDS)
        self.progress.refresh()
        self.has_stopped = self.has_stopped or self.stop.signum is not None or not self.are_needed()
        if self.has_stopped:
            self._stop_all(self.stop.signum or signal.SIGTERM)
        ended = [job for job in self.active if job.is_over()]
        self.active = [job for job in self.active if job not in ended]
        for job in ended:
            problem = job.run.problem()
            if problem is None:
                self.progress.done(job.run.name, job.run.run_folder.summary())
            elif not self.has_stopped:
                self._fail(job.run, job.complaint() or problem)

    def _stop_all(self, signum: int) -> None:
        """Ask each to save itself, and wait until it has."""
        for job in self.active:
            job.ask_to_stop(signum)
        for job in self.active:
            job.wait()
