"""What runs in each Ray Train worker: the launch's runs, one after the other, while the group is one."""

import os
import pkgutil
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from pipelines.runs.folder import (
    CHECKPOINTS,
    RESULT,
    PhaseError,
    RunRequest,
    check_claim,
    failure_of,
    interval_seconds,
    record_failure,
    write_json,
)
from pipelines.runs.inputs import check_inputs, note_inputs
from pipelines.train.context import RayTrainContext, configure_process
from pipelines.train.lost_workers import noted_losses
from stprivacy.checkpoint import CheckpointStore
from stprivacy.deploy.load import FINAL

WATCH_SECONDS = 0.5
SHARED_SECONDS = 120.0
PATIENCE_SECONDS = 2.0
ANSWER_SECONDS = 5.0
SETTLE_SECONDS = 1.0

Executor = Callable[[dict[str, Any], Path, RayTrainContext, CheckpointStore], Mapping[str, Any]]


def work(order: dict[str, Any]) -> None:
    """Do the runs of `order`: {"launch": id, "executor": "module:function", "runs": [RunRequest], "scratch": folder}.

    A run that has its result is passed over. An error that a retry would meet again is written to RUN/failure.json
    and ends the worker quietly, as raising it would make Ray try again; loss of a worker is raised.
    """
    launch, runs = order["launch"], order["runs"]
    if any(failure_of(run.folder, launch) for run in runs):
        return
    rank, world_size = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
    device = ray.train.torch.get_device()
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    configure_process(device, threads=max(1, int(resources.get("CPU", 1))))
    unfinished = [run for run in runs if not run.finished]
    losses = noted_losses(order["scratch"])
    # Waits for all: a fast worker must not finish a run before a slow one has looked which are unfinished.
    group = Group(rank, world_size)
    over = threading.Event()
    threading.Thread(target=_leave_failed_launch, args=(runs, launch, over), daemon=True).start()
    for run in unfinished:
        context = RayTrainContext(run.folder, launch, rank, world_size, device)
        if losses and run is unfinished[0]:
            context.tell(
                f"{run.title}: a worker was lost ({losses[-1]}), restarted all of them from the newest checkpoint"
            )
        if not _survives(run, context, order["executor"], group):
            break
    over.set()


def resolve(executor: str) -> Executor:
    """The function that "package.module:name" names."""
    function: Executor = pkgutil.resolve_name(executor)
    return function


def _survives(run: RunRequest, context: RayTrainContext, executor: str, group: "Group") -> bool:
    """Execute one run; False if it must not be tried again."""
    store = CheckpointStore(run.folder / CHECKPOINTS, run.keep_checkpoints, context.rank, context.tell)
    try:
        # Once more: the data may have changed since an earlier group, and what the run starts from is there by now.
        (note_inputs if context.rank == 0 else check_inputs)(run)
        result = resolve(executor)(run.config, run.folder, context, store)
        if context.rank == 0:
            check_claim(run.folder, context.launch)
            write_json(run.folder / RESULT, result)
        # The next run may begin with what rank 0 has just written.
        dist.barrier()
        _await_result(run, store, int(result.get(FINAL, 0)))
    except Exception as error:
        trace = traceback.format_exc()
        if group.is_lost(error):
            if failure_of(run.folder, context.launch):
                return False
            raise
        record_failure(run.folder, context.launch, context.rank, error, trace)
        return False
    return True


def _await_result(run: RunRequest, store: CheckpointStore, final: int) -> None:
    """Wait until this node sees what rank 0 has written: shared folders may show it up to a minute late."""
    deadline = time.monotonic() + SHARED_SECONDS
    while not (run.finished and store.newest >= final):
        if time.monotonic() > deadline:
            raise PhaseError(f"{run.folder} does not show what another worker wrote: is it on shared storage?")
        time.sleep(interval_seconds(run.folder, WATCH_SECONDS))


def _leave_failed_launch(runs: Sequence[RunRequest], launch: str, over: threading.Event) -> None:
    """End a process that still waits in a collective for a peer that has failed; a new group finds the failure."""
    seconds = interval_seconds(runs[0].folder, WATCH_SECONDS)
    while not over.wait(seconds):
        if any(failure_of(run.folder, launch) for run in runs) and not over.wait(PATIENCE_SECONDS):
            os._exit(1)


class Group:
    """The process group of this worker, and the actors of the others in it.

    Made on all workers at the same time: each waits for the others.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        own = ray.cloudpickle.dumps(ray.get_runtime_context().current_actor)  # type: ignore[no-untyped-call]
        handles: list[Any] = [None] * world_size
        dist.all_gather_object(handles, own)
        self._peers = [ray.cloudpickle.loads(handle) for at, handle in enumerate(handles) if at != rank]

    def is_lost(self, error: Exception) -> bool:
        """Whether a fresh group may well succeed where this worker met `error`.

        What is raised says little: where a worker dies, Ray dismantles the group under the others, which then fail by
        whatever comes first. So the group and its workers are looked at; an error out of a collective, or of a device,
        is a loss anyway. In doubt it is a loss, too: a worker's own error returns in the next group.
        """
        if _of_a_collective(error) or not dist.is_initialized():
            return True
        if not self._peers:
            return False
        if not _all_answer(self._peers):
            return True
        time.sleep(SETTLE_SECONDS)  # the death of a worker, or its own loss, may be about to dismantle the group
        return not dist.is_initialized() or not _all_answer(self._peers)


def _of_a_collective(error: Exception) -> bool:
    kinds = (ConnectionError, TimeoutError, dist.DistError, torch.AcceleratorError)
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _all_answer(actors: Sequence[Any]) -> bool:
    """Whether all actors are alive: each answers a call, which its training does not hold up."""
    calls = [actor.__ray_ready__.remote() for actor in actors]
    try:
        ray.get(calls, timeout=ANSWER_SECONDS)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        return False
    return True
