"""Starts Ray Train workers on a list of runs, follows them, and returns their results."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from pipelines.progress import Progress
from pipelines.runs.claims import check_all, claim_all
from pipelines.runs.folder import RunRequest, interval_seconds
from pipelines.runs.inputs import check_inputs
from pipelines.tracking.tracker import Tracker
from pipelines.train.fit import EXECUTOR, Fit, Workers
from pipelines.train.follow import Follower
from stprivacy.output_lock import output_lock
from stprivacy.run_files import read_result
from stprivacy.storage import absolute_location

POLL_SECONDS = 0.3


def launch(
    runs: Sequence[RunRequest],
    *,
    num_workers: int,
    use_gpu: bool = False,
    tracker: Tracker | None = None,
    progress: Progress,
    max_failures: int = 3,
    parent: str = "",
    parallel: int = 1,
    executor: str = EXECUTOR,
) -> list[dict[str, Any]]:
    """Do the runs in order on one group of workers; returns result.json of each. `cluster.start` comes first.

    Finished runs are not done again; unfinished ones resume from their newest checkpoint after any failure. With
    several groups at a time, one that fails does not keep the others from their ends.

    Args:
        num_workers, use_gpu, max_failures, executor: see `Workers`.
        parallel: groups at a time, each on runs that no other's start from (`from_run`).
        tracker: where metrics go during the runs; `parent` names their common parent run there.

    Raises:
        ValueError: as `check_all`, or a folder is another launch's.
        PhaseError: a run failed for a reason that trying again does not remove, or workers were lost too often.
    """
    check_all(runs)
    with ExitStack() as stack:
        for run in runs:
            if not run.finished:
                stack.enter_context(output_lock(run.folder))
        identity = claim_all(runs)
        if tracker and runs:
            stack.enter_context(tracker.pipeline(parent or str(absolute_location(runs[0].folder).parent), progress.say))
        # Finished runs too: their driver may have been killed before it had tracked all.
        followers = [stack.enter_context(Follower(run, progress, tracker, parent)) for run in runs]
        workers = Workers(num_workers, use_gpu, max_failures, executor)
        fits = [Fit(group, identity, workers) for group in _unfinished_groups(runs, parallel)]
        _follow(fits, parallel, followers, progress)
    for run in runs:  # one that was finished before may start from a run that is another now
        check_inputs(run)
    return [read_result(run.folder) for run in runs]


def _unfinished_groups(runs: Sequence[RunRequest], parallel: int) -> list[list[RunRequest]]:
    """What is left to do: one group, or as many as may be at work beside each other."""
    unfinished = [run for run in runs if not run.finished]
    return independent_runs(unfinished) if parallel > 1 else [unfinished] if unfinished else []


def independent_runs(runs: Sequence[RunRequest]) -> list[list[RunRequest]]:
    """The runs, in order, parted so that each part starts from none of another's runs."""
    parts: dict[str, list[RunRequest]] = {}
    for run in runs:
        part = parts.get(str(run.config.get("from_run")), [])
        part.append(run)
        parts[str(run.folder)] = part
    return [part for folder, part in parts.items() if str(part[0].folder) == folder]


def _follow(fits: Sequence[Fit], parallel: int, followers: Sequence[Follower], progress: Progress) -> None:
    """Run them all to their ends, so many at a time, showing how far their runs are. Raises: PhaseError: one failed."""
    waiting, running = list(fits), list[Fit]()
    while waiting or running:
        while waiting and len(running) < parallel:
            running.append(waiting.pop(0))
            progress.say(running[-1].announcement)
            running[-1].start()
        running[0].join(max((interval_seconds(fit.folder, POLL_SECONDS) for fit in running), default=POLL_SECONDS))
        for follower in followers:
            follower.look()
        running = [fit for fit in running if fit.is_alive()]
    for fit in fits:
        fit.check_outcome()
