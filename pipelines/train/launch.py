"""Starts Ray Train workers on a list of runs, follows them, and gives back their results."""

import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from pipelines.progress import Progress
from pipelines.tracking import Tracker
from pipelines.train.follow import Follower
from pipelines.train.runs import RESULT, PhaseError, RunRequest, claim, failure_of, interval_seconds, read_json
from stprivacy.storage import filesystem, is_remote, remove_folder, whole_location

EXECUTOR = "pipelines.train.execute:execute"
POLL_SECONDS = 0.3
# A live group answers in milliseconds; a dead one must not keep its peers waiting.
COLLECTIVE_TIMEOUT_SECONDS = 600


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
    """Do the runs in order on one group of workers; gives back result.json of each. `cluster.start` comes first.

    Finished runs are not done again, unfinished ones go on from their newest checkpoint, whoever died. With several
    groups at a time, one that fails does not keep the others from their ends.

    Args:
        num_workers: processes that share each batch; with `use_gpu` each has a GPU.
        parallel: groups at a time, each on runs that no other's start from (`from_run`).
        tracker: where metrics go while the runs go on; `parent` names their common parent run there.
        max_failures: how often the group is started again after a worker was lost.
        executor: "module:function" called as (config, folder, context, store); what it returns becomes result.json.

    Raises:
        ValueError: a folder holds a run with another configuration, or two runs have the same one.
        PhaseError: a run failed for a reason that trying again does not remove, or workers were lost too often.
    """
    identity = _claim_all(runs)
    unfinished = [run for run in runs if not run.finished]
    groups = independent_runs(unfinished) if parallel > 1 else [unfinished] if unfinished else []
    order = {"launch": identity, "executor": executor}
    with ExitStack() as stack:
        if tracker and runs:
            stack.enter_context(tracker.pipeline(parent or str(runs[0].folder.resolve().parent), progress.say))
        # Finished runs too: their driver may have been killed before it had tracked all.
        followers = [stack.enter_context(Follower(run, progress, tracker, parent)) for run in runs]
        fits = [_Fit({**order, "runs": group}, num_workers, use_gpu, max_failures) for group in groups]
        _follow(fits, parallel, followers, progress)
        for fit, group in zip(fits, groups, strict=True):
            _check_outcome(group, identity, fit.error, max_failures)
    return [read_json(run.folder / RESULT) for run in runs]


def independent_runs(runs: Sequence[RunRequest]) -> list[list[RunRequest]]:
    """The runs, in order, parted so that each part starts from none of another's runs."""
    parts: dict[str, list[RunRequest]] = {}
    for run in runs:
        part = parts.get(str(run.config.get("from_run")), [])
        part.append(run)
        parts[str(run.folder)] = part
    return [part for folder, part in parts.items() if str(part[0].folder) == folder]


def _follow(fits: "Sequence[_Fit]", parallel: int, followers: Sequence[Follower], progress: Progress) -> None:
    """Run them all to their ends, so many at a time, showing how far their runs are."""
    waiting, running = list(fits), list[_Fit]()
    while waiting or running:
        while waiting and len(running) < parallel:
            running.append(waiting.pop(0))
            progress.say(running[-1].announcement)
            running[-1].start()
        running[0].join(max((interval_seconds(fit.folder, POLL_SECONDS) for fit in running), default=POLL_SECONDS))
        for follower in followers:
            follower.look()
        running = [fit for fit in running if fit.is_alive()]


class _Fit(threading.Thread):
    """One `TorchTrainer.fit`, beside the main thread that follows it."""

    def __init__(self, order: dict[str, Any], num_workers: int, use_gpu: bool, max_failures: int) -> None:
        super().__init__(name="ray-train-fit", daemon=True)
        self.error: Exception | None = None
        first: RunRequest = order["runs"][0]
        self.announcement = f"{first.title}: starting {num_workers} worker{'s' if num_workers > 1 else ''}"
        # Ray keeps little there (our checkpoints are our own), but all nodes must reach it.
        self.folder = whole_location(first.folder)
        self._scratch = self.folder / ".ray"
        self._order = {**order, "scratch": self._scratch / f"launch-{order['launch']}"}
        self._num_workers, self._use_gpu, self._max_failures = num_workers, use_gpu, max_failures

    def run(self) -> None:
        try:
            remove_folder(self._scratch)
            self._trainer().fit()
        except Exception as error:  # handed to the main thread, which raises it with what the runs say
            self.error = error
        with suppress(OSError):  # a store that does not answer now must not spoil a finished run
            remove_folder(self._scratch)

    def _trainer(self) -> Any:
        # Four seconds of imports that finished runs and --help do without.
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from pipelines.train.worker import work

        return TorchTrainer(
            work,
            train_loop_config=self._order,
            torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_SECONDS),
            scaling_config=ScalingConfig(
                num_workers=self._num_workers, use_gpu=self._use_gpu, resources_per_worker={"CPU": 1}
            ),
            # A name of its own: Ray would resume the state of an earlier run of the same name.
            run_config=RunConfig(
                name=f"ray-{self._order['launch']}",
                **_storage(self._scratch),
                failure_config=FailureConfig(max_failures=self._max_failures),
            ),
        )


def _storage(folder: Path) -> dict[str, Any]:
    """Where Ray keeps its own files: in the same store as the run, with the same credentials."""
    if not is_remote(folder):
        return {"storage_path": str(folder)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    store, path = filesystem(folder)
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(store))}


def _claim_all(runs: Sequence[RunRequest]) -> str:
    """Make the folders those of a new launch, whose identity is given back."""
    identity = uuid.uuid4().hex[:12]
    folders = [whole_location(run.folder) for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"each run needs a folder of its own, but two are to go to {folder}")
    for run in runs:
        claim(run, identity)
    return identity


def _check_outcome(runs: Sequence[RunRequest], launch_id: str, error: Exception | None, max_failures: int) -> None:
    for run in runs:
        if failure := failure_of(run.folder, launch_id):
            raise PhaseError(f"{run.title} stopped: {failure['message'] or failure['type']} (run folder {run.folder})")
    unfinished = [run for run in runs if not run.finished]
    if unfinished:
        cause = str(error).strip().splitlines()[-1] if error and str(error).strip() else "the workers ended early"
        raise PhaseError(
            f"{unfinished[0].title} gave up after the workers were lost {max_failures + 1} times or could not start: "
            f"{cause}; the same command continues from the newest checkpoint in {unfinished[0].folder}"
        ) from error
