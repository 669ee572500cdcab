"""One group of Ray Train workers on a list of runs, from its start to seeing what came of them."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.runs.folder import PhaseError, RunRequest, WorkersLostError, failure_of
from stprivacy.storage import absolute_location, filesystem, is_remote, remove_folder

EXECUTOR = "pipelines.train.execute:execute"
# A live group answers in milliseconds; a dead one must not keep its peers waiting.
COLLECTIVE_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Workers:
    """What each group of workers consists of, and what it executes.

    Args:
        num_workers: processes that share each batch; with `use_gpu` each has a GPU
        max_failures: how often the group is started again after a worker was lost
        executor: "module:function" called as (config, folder, context, store); what it returns becomes result.json
    """

    num_workers: int
    use_gpu: bool
    max_failures: int
    executor: str = EXECUTOR


class Fit(threading.Thread):
    """One `TorchTrainer.fit`: start it beside a thread that follows its runs, or `run` it here.

    The runs, of which there must be one, are to be claimed by the launch `identity` first. Afterwards, `check_outcome`
    tells what came of them.
    """

    def __init__(self, runs: Sequence[RunRequest], identity: str, workers: Workers) -> None:
        super().__init__(name="ray-train-fit", daemon=True)
        self._runs, self._identity, self._workers = list(runs), identity, workers
        self._error: Exception | None = None
        self._losses: list[str] = []
        count = workers.num_workers
        self.announcement = f"{runs[0].title}: starting {count} worker{'s' if count > 1 else ''}"
        # Ray keeps little there (our checkpoints are our own), but all nodes must reach it.
        self.folder = absolute_location(runs[0].folder)
        self._scratch = self.folder / ".ray"
        self._own_scratch = self._scratch / f"launch-{identity}"

    def run(self) -> None:
        """Work until the runs are done or cannot be."""
        try:
            remove_folder(self._scratch)
            self._trainer().fit()
        except Exception as error:  # kept for check_outcome, which raises it with what the runs say
            self._error = error
        from pipelines.train.lost_workers import noted_losses

        self._losses = noted_losses(self._own_scratch)
        with suppress(OSError):  # a store that does not answer now must not spoil a finished run
            remove_folder(self._scratch)

    def check_outcome(self) -> None:
        """Check that all runs are done.

        Raises:
            PhaseError: one is not, for a reason that trying again does not remove.
            WorkersLostError: one is not, as workers were lost too often or could not start.
        """
        for run in self._runs:
            if failure := failure_of(run.folder, self._identity):
                raise PhaseError(
                    f"{run.title} stopped: {failure['message'] or failure['type']} (run folder {run.folder})"
                )
        unfinished = [run for run in self._runs if not run.finished]
        if unfinished:
            from pipelines.train.lost_workers import why_unfinished

            raise WorkersLostError(
                f"{unfinished[0].title} stopped: {why_unfinished(self._error, self._losses)}; the same command "
                f"continues from the newest checkpoint in {unfinished[0].folder}"
            ) from self._error

    def _trainer(self) -> Any:
        # Four seconds of imports that finished runs and --help do without.
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from pipelines.train.lost_workers import LossNotes
        from pipelines.train.worker import work

        workers, scratch = self._workers, self._own_scratch
        order = {"launch": self._identity, "executor": workers.executor, "runs": self._runs, "scratch": scratch}
        return TorchTrainer(
            work,
            train_loop_config=order,
            torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_SECONDS),
            scaling_config=ScalingConfig(
                num_workers=workers.num_workers, use_gpu=workers.use_gpu, resources_per_worker={"CPU": 1}
            ),
            # A name of its own: Ray would resume the state of an earlier run of the same name.
            run_config=RunConfig(
                name=f"ray-{self._identity}",
                **ray_storage(self._scratch),
                failure_config=FailureConfig(max_failures=workers.max_failures),
                callbacks=[LossNotes(scratch)],  # type: ignore[list-item]  # Ray's hints are of its version 1
            ),
        )


def ray_storage(folder: Path) -> dict[str, Any]:
    """Where Ray keeps its own files: in the same store as the runs, with the same credentials."""
    if not is_remote(folder):
        return {"storage_path": str(folder)}
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    store, path = filesystem(folder)
    return {"storage_path": path, "storage_filesystem": PyFileSystem(FSSpecHandler(store))}
