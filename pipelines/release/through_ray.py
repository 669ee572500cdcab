"""Many videos at a time through Ray Data, on one machine or many."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from pipelines.release.names import ReleaseItem
from pipelines.release.settings import WorkerOptions
from pipelines.release.sidecar import source_if_done
from pipelines.release.video import Destination
from pipelines.release.work import Outcome, release_videos
from stprivacy.deploy.deployed import Deployed
from stprivacy.models.anonymizer import STPrivacy

_TASK_VIDEOS = 8  # files that a worker takes at a time
_MOST_THREADS = 4  # of a worker, where there are fewer videos than CPUs
_POLL_SECONDS = 1.0


def release_through_ray(
    model: STPrivacy,
    items: Sequence[ReleaseItem],
    destination: Destination,
    where: WorkerOptions,
    progress: Callable[[int, int], None],
    learned: Callable[[Outcome], None],
) -> tuple[list[Outcome], int]:
    """Release files by workers that each have the network; needs a connected Ray.

    Returns what became of each file, and the source frames read; `progress` gets both as they grow, `learned` of
    each outcome when its task is over.
    Raises: ValueError: GPUs are asked for, and Ray knows of none.
    """
    workers, resources = _resources(where, len(items))
    if not items:
        return [], 0
    board = ray.remote(num_cpus=0)(_Board).remote()
    network = ray.put(model)
    size = min(_TASK_VIDEOS, -(-len(items) // workers))
    # As JSON in ASCII: names may be any bytes, strings of Arrow may not.
    rows = [{"item": json.dumps(asdict(item))} for item in items]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
        _Worker,
        fn_constructor_args=([network], destination, board, resources["num_cpus"]),
        batch_size=size,
        compute=ray.data.ActorPoolStrategy(size=workers),
        **resources,
    )
    outcomes = []
    with _Watch(board, progress) as watch:
        for row in dataset.iter_rows():
            told = json.loads(row["outcome"])
            outcomes.append(Outcome(**told | {"notes": tuple(told["notes"])}))
            learned(outcomes[-1])
    return outcomes, watch.frames


def _resources(where: WorkerOptions, videos: int) -> tuple[int, dict[str, Any]]:
    """Workers, and the CPUs and GPUs of each: few videos get several threads each."""
    local = not os.environ.get("RAY_ADDRESS")
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    # An embedded Ray is told of more CPUs than there are.
    cpus = int(min(total.get("CPU", 1), os.cpu_count() or 1) if local else total.get("CPU", 1))
    if where.use_gpu and not total.get("GPU"):
        raise ValueError("--use-gpu: no GPU is known to Ray; leave it out to run on CPUs")
    at_most = where.workers or int(total["GPU"] if where.use_gpu else cpus)
    workers = max(min(at_most, videos), 1)
    threads = max(min(cpus // workers, _MOST_THREADS), 1)
    return workers, {"num_cpus": threads} | ({"num_gpus": 1} if where.use_gpu else {})


class _Worker:
    """One process with the network, for as long as there are videos."""

    def __init__(self, network: list[Any], destination: Destination, board: Any, threads: int) -> None:
        torch.set_num_threads(threads)
        # In a list, as Ray would fetch an argument once, and a worker that is started again finds it gone.
        model = ray.get(network[0]).to("cuda" if ray.get_gpu_ids() else "cpu")
        settings = destination.settings
        self._deployed = Deployed(model, settings.keep_ratio, settings.mask)
        self._destination, self._board = destination, board

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        items = [ReleaseItem(**json.loads(text)) for text in batch["item"]]
        # A worker in this one's place has died: what it had finished is done.
        sources = {item: source_if_done(item, self._destination.out) for item in items}
        outcomes = [Outcome(item.shown, source=source) for item, source in sources.items() if source]
        self._board.add.remote(0, len(outcomes))
        todo = [item for item, source in sources.items() if not source]
        outcomes += release_videos(todo, self._deployed, self._destination, self._board.add.remote)
        return {"outcome": np.array([json.dumps(asdict(one)) for one in outcomes])}


class _Board:
    """An actor to which the workers report progress."""

    def __init__(self) -> None:
        self._frames = self._files = 0

    def add(self, frames: int, files: int) -> None:
        self._frames += frames
        self._files += files

    def read(self) -> tuple[int, int]:
        return self._files, self._frames


class _Watch:
    """Passes on what the board says, from a thread, as long as the driver waits for whole tasks."""

    def __init__(self, board: Any, progress: Callable[[int, int], None]) -> None:
        self._board, self._progress = board, progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self.frames = 0

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        files, self.frames = ray.get(self._board.read.remote())
        ray.kill(self._board)  # Ray Data keeps the workers' handles, and with them the actor, after the last video
        self._progress(files, self.frames)

    def _poll(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            self._progress(*ray.get(self._board.read.remote()))
