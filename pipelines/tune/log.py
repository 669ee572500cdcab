"""A trial in MLflow: one run, whatever phases it has and however often it was started."""

from typing import Any

from pipelines.runs.folder import CONFIG, METRICS
from pipelines.tracking.tracker import TrackedRun, Tracker
from pipelines.train.follow import curves_of
from pipelines.tune.trials import Trial

# Differ between trials and nobody set them; MLflow's charts begin with parameters that differ. front.csv has attackers.
_NOT_COMPARED = ("from_run", "attacker", "label")


class TrialLog:
    """Carries a trial's folder over to its MLflow run; `look` as often as wanted.

    Its scores stand under their own names, those at another keep ratio under `keep_RATIO/`; what the phases
    reported stands under the phase's name.
    """

    def __init__(self, trial: Trial, tracker: Tracker, parent: str) -> None:
        self._trial, self._tracker, self._parent = trial, tracker, parent
        self._tracked: TrackedRun | None = None
        self._sent_bytes = 0
        self._closed = False

    def look(self) -> None:
        """Send what is new, and at the trial's end all that is left."""
        if self._closed:
            return
        trial = self._trial
        # Of phase 2 and the evaluation at its own keep ratio: others' steps would be the same ones.
        histories = [run.folder / METRICS for run in trial.runs[:2]]
        size = sum(history.stat().st_size for history in histories if history.exists())
        if size != self._sent_bytes:
            self._sent_bytes = size
            for history in histories:
                self._open().replay(history)
        if trial.finished:
            self._log_results(self._open())
            self._close("FINISHED")
        elif trial.stopped:
            self._close("KILLED")
        elif trial.failure:
            self._close("FAILED")

    def break_off(self) -> None:
        """The sweep ends before the trial does."""
        if self._tracked and not self._closed:
            self._close("KILLED")

    def _open(self) -> TrackedRun:
        if self._tracked is None:
            trial = self._trial
            config = {name: value for name, value in trial.runs[0].config.items() if name not in _NOT_COMPARED}
            parameters: dict[str, Any] = {**config, "deploy_keep_ratio": trial.ratios[0]}
            self._tracked = self._tracker.run(trial.folder, trial.name, parameters, self._parent)
            self._tracked.log_datasets(trial.runs[0].folder)
        return self._tracked

    def _log_results(self, tracked: TrackedRun) -> None:
        own, *others = self._trial.results()
        tracked.log_result({name: value for name, value in own.items() if name not in _NOT_COMPARED})
        for ratio, result in zip(self._trial.ratios[1:], others, strict=True):
            numbers = {name: value for name, value in result.items() if isinstance(value, float)}
            tracked.log_result({f"keep_{ratio:g}/{name}": value for name, value in numbers.items()})
        for run in self._trial.runs[:2]:
            tracked.log_file(run.folder / CONFIG, run.folder.name)
        tracked.log_figure(curves_of(self._trial.runs[0].folder / METRICS), "curves.png")
        tracked.log_anonymizer(self._trial.runs[0].folder)

    def _close(self, status: Any) -> None:
        self._open().finish(status)
        self._closed = True
