"""A sweep from its settings to its front: Ray Tune starts the trials, this process follows and tracks them."""

import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from pipelines import cluster
from pipelines.compare.tables import read_scores
from pipelines.curves import save_figure
from pipelines.progress import Progress
from pipelines.runs.claims import check_all
from pipelines.runs.folder import RESULT, PhaseError, RunRequest, interval_seconds, write_json
from pipelines.runs.inputs import data_input
from pipelines.runs.labels import check_labels_of
from pipelines.text import duration
from pipelines.tracking.tracker import Tracker
from pipelines.train.fit import Workers, ray_storage
from pipelines.train.follow import Follower
from pipelines.train.options import LaunchOptions, tracking_uri
from pipelines.tune.front import front_csv, front_figure, points_of, summary, write_page
from pipelines.tune.log import TrialLog
from pipelines.tune.plan import Planned, make_plan
from pipelines.tune.trials import Sweep, Trial, make_trial, raw_run, seconds_of
from stprivacy.claims import Claim
from stprivacy.output_lock import output_lock
from stprivacy.storage import remove_folder

SWEEP, FRONT_TABLE, FRONT_PAGE, FRONT_PICTURE = "sweep.json", "front.csv", "front.html", "front.png"
LOOK_SECONDS = 0.5
_FINGERPRINT = "data_fingerprint"
_SHARED_CALLS = 64  # that wait for what is shared at the same time


@dataclass(frozen=True)
class Concurrency:
    """How many trials at a time, each on workers of its own."""

    max_concurrent: int

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise ValueError(f"--max-concurrent must be 1 or more, got {self.max_concurrent}")


def run_sweep(sweep: Sweep, out: Path, where: LaunchOptions, concurrency: Concurrency) -> dict[str, Any]:
    """Do what is missing of a sweep in `out` and write result.json, front.csv, front.html and front.png there.

    Returns the content of result.json.

    Raises:
        ValueError: `out` holds a sweep with other settings.
        PhaseError: raw could not be evaluated, or workers were lost too often; the same command resumes.
    """
    tracker = Tracker(tracking_uri(where, out))
    parent = where.group or out.name
    with output_lock(out), Progress() as progress, tracker.pipeline(parent, progress.say):
        _claim(sweep, out, concurrency)
        cluster.start(verbose=where.verbose)
        from pipelines.tune.trainable import PlannedSearch

        plan = make_plan(sweep.search, sweep.space, sweep.num_trials, concurrency.max_concurrent, sweep.seed)
        search = PlannedSearch(plan, partial(make_trial, sweep, out))
        raw = raw_run(sweep, out)
        tuning = _Tuning(sweep, out, where, concurrency, search, raw)
        with _View(progress, tracker, parent, raw) as view:
            tuning.start()
            while tuning.is_alive():
                tuning.join(interval_seconds(out, LOOK_SECONDS))
                view.look(list(search.trials.values()))
            view.look(list(search.trials.values()))
            tuning.check_outcome(search.trials)
        trials = [search.trials[number] for number in sorted(search.trials)]
        progress.say(saving(trials))
        return _write_front(sweep, out, trials, read_scores(raw.folder), tracker, parent)


def _claim(sweep: Sweep, out: Path, concurrency: Concurrency) -> None:
    """Note the settings and the state of the data, which all trials of a folder share."""
    # What optuna proposes depends on how many trials it is asked for at a time.
    rounds = {"max_concurrent": concurrency.max_concurrent} if sweep.search == "optuna" else {}
    fingerprint = {_FINGERPRINT: data_input(sweep.data)["fingerprint"]}
    claim = Claim(SWEEP, sweep.settings() | rounds | fingerprint, "a sweep", defaults=fingerprint)
    claim.check(out)
    runs = [raw_run(sweep, out), make_trial(sweep, out, Planned(0, {})).runs[0]]
    check_all(runs[:1])
    check_labels_of(runs)
    claim.make(out)


class _Tuning(threading.Thread):
    """One `Tuner.fit`, beside the main thread, which follows it; and what trials share."""

    def __init__(
        self, sweep: Sweep, out: Path, where: LaunchOptions, concurrency: Concurrency, search: Any, raw: RunRequest
    ) -> None:
        super().__init__(name="ray-tune-fit", daemon=True)
        self._sweep, self._out, self._where, self._concurrency = sweep, out, where, concurrency
        self._search, self._raw = search, raw
        self._error: Exception | None = None
        # Tune's own state: ours is in the trials' folders, and says what is left to do.
        self._scratch = out / ".ray-tune"

    def run(self) -> None:
        """Start the trials until the plan has ended, and evaluate raw beside them."""
        import ray

        from pipelines.tune.trainable import Shared

        where = self._where
        workers = Workers(where.workers, where.use_gpu, where.max_failures)
        restarts = {"max_restarts": -1, "max_task_retries": -1}
        shared: Any = ray.remote(Shared).options(num_cpus=0, max_concurrency=_SHARED_CALLS, **restarts).remote(workers)
        raw = threading.Thread(target=self._evaluate_raw, args=(shared,), name="raw", daemon=True)
        try:
            remove_folder(self._scratch)
            raw.start()
            self._tuner(shared, workers).fit()
            raw.join()
        except Exception as error:  # kept for check_outcome
            self._error = self._error or error
        finally:
            ray.kill(shared)
        with suppress(OSError):  # a store that does not answer now must not spoil a finished sweep
            remove_folder(self._scratch)

    def _evaluate_raw(self, shared: Any) -> None:
        from pipelines.tune.trainable import finish

        try:
            finish(shared.do.remote(self._raw))
        except Exception as error:  # without raw there is no front: no other trial is worth its time
            self._error = error
            self._search.end()

    def check_outcome(self, trials: dict[int, Trial]) -> None:
        """Check that all trials have ended. Raises: PhaseError: they have not."""
        if isinstance(self._error, PhaseError):
            raise self._error
        open_trials = [trial.name for trial in trials.values() if not trial.ended]
        if self._error or open_trials:
            cause = str(self._error or "workers were lost too often, or could not start").strip().splitlines()[-1]
            raise PhaseError(
                f"the sweep is not at its end, {', '.join(open_trials)}: {cause}; the same command goes on"
            )

    def _tuner(self, shared: Any, workers: Any) -> Any:
        from ray import tune

        from pipelines.tune.stopping import StopBehind
        from pipelines.tune.trainable import run_trial

        search = self._search  # Tune pickles the scheduler, and cannot a thread
        trainable = tune.with_parameters(run_trial, sweep=self._sweep, out=self._out, shared=shared, workers=workers)
        return tune.Tuner(
            # Workers have the CPUs: a trial that waits for another's phase 1 needs none. Tune wants something named.
            tune.with_resources(trainable, {"memory": 1}),
            tune_config=tune.TuneConfig(
                search_alg=self._search,
                scheduler=StopBehind(self._sweep.stop_at, lambda: search.trials),
                num_samples=-1,
                max_concurrent_trials=self._concurrency.max_concurrent,
            ),
            run_config=tune.RunConfig(
                name=f"sweep-{uuid.uuid4().hex[:12]}",
                **ray_storage(self._scratch),
                failure_config=tune.FailureConfig(max_failures=self._where.max_failures),
                verbose=1 if self._where.verbose else 0,
            ),
        )


class _View:
    """Progress, messages and MLflow runs of all that a sweep does, as its trials appear."""

    def __init__(self, progress: Progress, tracker: Tracker, parent: str, raw: RunRequest) -> None:
        self._progress, self._tracker, self._parent = progress, tracker, parent
        self._stack = ExitStack()
        self._followers: dict[Path, Follower] = {}
        self._follow(raw, tracker)
        self._logs: dict[int, TrialLog] = {}
        self._told: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        for log in self._logs.values() if kind else ():
            log.break_off()
        self._stack.__exit__(kind, *raised)

    def look(self, trials: Sequence[Trial]) -> None:
        """Show and send on what is new."""
        for trial in trials:
            if trial.planned.number not in self._logs:
                self._logs[trial.planned.number] = TrialLog(trial, self._tracker, self._parent)
                self._follow(trial.start, self._tracker)
                for run in trial.runs:
                    self._follow(run, None)
            self._tell(trial)
        for follower in self._followers.values():
            follower.look()
        for log in self._logs.values():
            log.look()

    def _follow(self, run: RunRequest, tracker: Tracker | None) -> None:
        if run.folder not in self._followers:
            follower = Follower(run, self._progress, tracker, self._parent)
            self._followers[run.folder] = self._stack.enter_context(follower)

    def _tell(self, trial: Trial) -> None:
        number = trial.planned.number
        why = trial.stopped.get("reason") or trial.failure
        if why and number not in self._told:
            self._told.add(number)
            self._progress.say(f"{trial.name} {'was stopped' if trial.stopped else 'failed'}: {why}")


def saving(trials: Sequence[Trial]) -> str:
    """What sharing phase 1 saved, in words."""
    seconds = {trial.start.folder: seconds_of(trial.start.folder) for trial in trials}
    spared = sum(seconds[trial.start.folder] for trial in trials) - sum(seconds.values())
    return (
        f"phase 1: {len(seconds)} runs for {len(trials)} trials, {duration(sum(seconds.values()))}; "
        f"sharing them spared {duration(spared)}"
    )


def _write_front(
    sweep: Sweep, out: Path, trials: Sequence[Trial], raw: dict[str, Any], tracker: Tracker, parent: str
) -> dict[str, Any]:
    """Write the files and keep them in the parent run."""
    points = points_of(trials)
    found = summary(points, raw)
    result = {
        "settings": sweep.settings(),
        **found,
        "points": points,
        "stopped": [{"trial": trial.planned.number, **trial.stopped} for trial in trials if trial.stopped],
        "failed": [{"trial": trial.planned.number, "reason": trial.failure} for trial in trials if trial.failure],
    }
    figure = front_figure(points, found)
    save_figure(figure, out / FRONT_PICTURE, dpi=160)
    write_page(points, found, out / FRONT_PAGE)
    (out / FRONT_TABLE).write_text(front_csv(points), encoding="utf-8")
    write_json(out / RESULT, result)
    with tracker.parent_run(parent, out) as tracked:
        tracked.log_params({"search": sweep.search, "trials": str(len(trials))})
        for name in (RESULT, FRONT_TABLE, FRONT_PAGE, FRONT_PICTURE):
            tracked.log_file(out / name)
        if found["hypervolume"] is not None:
            tracked.log_result({"hypervolume": found["hypervolume"]})
    return result
