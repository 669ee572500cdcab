"""What Ray Tune is given: a plan as its searcher, and what runs a trial and what several trials share."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from pipelines.runs.claims import claim_all
from pipelines.runs.folder import METRICS, PhaseError, RunRequest, WorkersLostError, interval_seconds
from pipelines.runs.history import Report, read_history
from pipelines.train.fit import Fit, Workers
from pipelines.tune.plan import OBJECTIVES, Plan, Planned
from pipelines.tune.trials import FAILED, Sweep, Trial, add_seconds, make_trial, record

NUMBER = "number"
POLL_SECONDS = 0.5


class PlannedSearch(Searcher):
    """Gives Tune the trials of a plan that are not there yet. After a trial that Tune gave up, no other is begun.

    Args: make: the trial of what was planned. `trials` are those that were given, finished ones too, by number.
    """

    def __init__(self, plan: Plan, make: Callable[[Planned], Trial]) -> None:
        super().__init__()
        self._plan, self._make = plan, make
        self._running: dict[str, Trial] = {}
        self._broken = False
        self._trials: dict[int, Trial] = {}

    @property
    def trials(self) -> dict[int, Trial]:
        """A copy, for other threads."""
        return dict(self._trials)

    def end(self) -> None:
        """Begin no other trial."""
        self._broken = True

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial that has not ended."""
        while not self._broken and (planned := self._plan.next()):
            trial = self._make(planned)
            self._trials[planned.number] = trial
            if not trial.ended:
                self._running[trial_id] = trial
                return {NUMBER: planned.number, **planned.parameters}
            self._tell(trial)
        over: Any = Searcher.FINISHED  # a word in place of a configuration
        return over if self._broken or self._plan.ended else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the plan what came of it, as its folder has it."""
        trial = self._running.pop(trial_id)
        if trial.ended:
            self._tell(trial)
        else:
            self.end()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: folders of trials hold all that the plan needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def _tell(self, trial: Trial) -> None:
        results = trial.results()
        scores = {key: float(results[0][key]) for key in OBJECTIVES} if results else None
        self._plan.tell(trial.planned.number, scores)


def _claimed(runs: tuple[RunRequest, ...], workers: Workers) -> Fit | None:
    """A group that does what is left of the runs, after claiming them; None where nothing is.

    Raises: PhaseError: a folder holds another run.
    """
    unfinished = [run for run in runs if not run.finished]
    if not unfinished:
        return None
    try:
        identity = claim_all(unfinished)
    except ValueError as error:
        raise PhaseError(str(error)) from error
    return Fit(unfinished, identity, workers)


class Shared:
    """An actor that does runs which several trials start from: each once, however many of them ask."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._locks: dict[Path, threading.Lock] = {}
        self._lock = threading.Lock()

    def do(self, run: RunRequest) -> None:
        """Returns when the run is done. Raises: PhaseError: it cannot be."""
        with self._lock:
            own = self._locks.setdefault(run.folder, threading.Lock())
        with own:
            if fit := _claimed((run,), self._workers):
                begun = time.monotonic()
                fit.run()
                add_seconds(run.folder, time.monotonic() - begun)
                fit.check_outcome()


def finish(call: Any) -> None:
    """Wait for a call of `Shared.do`. Raises: PhaseError: the run cannot be done, in its own words."""
    try:
        ray.get(call)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, PhaseError) else error from None


def run_trial(config: dict[str, Any], sweep: Sweep, out: Path, shared: Any, workers: Workers) -> None:
    """Tune's trainable: phase 1, unless another trial has done it, phase 2, and the evaluations.

    All of it is kept in the trial's folder, so that a trial whose actor or node dies resumes. With
    `stop_at`, every epoch of phase 2 is reported, and Tune may end the trial there.

    Raises: WorkersLostError: Tune tries again.
    """
    parameters = {name: value for name, value in config.items() if name != NUMBER}
    trial = make_trial(sweep, out, Planned(config[NUMBER], parameters))
    try:
        finish(shared.do.remote(trial.start))
        if fit := _claimed(trial.runs, workers):
            fit.start()
            _report_epochs(trial, fit, reporting=bool(sweep.stop_at))
            fit.check_outcome()
    except WorkersLostError:
        raise
    except PhaseError as error:
        record(trial, FAILED, {"message": str(error)})
    tune.report({"finished": trial.finished})


def _report_epochs(trial: Trial, fit: Fit, reporting: bool) -> None:
    """Wait for the end, reporting each epoch of phase 2 when it is over."""
    reported = 0
    while fit.is_alive():
        fit.join(interval_seconds(trial.folder, POLL_SECONDS))
        epochs = epochs_of(trial) if reporting else []
        for report in epochs[reported:]:
            reported += 1
            tune.report({"epoch": reported, **report.metrics})


def epochs_of(trial: Trial) -> list[Report]:
    """What phase 2 has reported, an entry an epoch."""
    adversarial = trial.runs[0]
    return [report for report in read_history(adversarial.folder / METRICS) if report.phase == "adversarial"]
