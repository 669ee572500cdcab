"""The workers of a group as one of them sees the others: who is there, and whether the group is still one."""

import time
from collections.abc import Sequence
from typing import Any

import ray
import torch
import torch.distributed as dist

ANSWER_SECONDS = 5.0
SETTLE_SECONDS = 1.0


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
