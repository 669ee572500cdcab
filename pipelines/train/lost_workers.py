"""Why workers were lost, in words, as Ray knows it; noted at every loss, so that those that are counted are real."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError
from ray.train import ControllerError, UserCallback, WorkerGroupError

from stprivacy.storage import append_line, make_folder

LOSSES = "losses.jsonl"
_MEMORY = re.compile(r"\(IP: ([^,)]+).*?was ([\d.]+ ?\wB) used / ([\d.]+ ?\wB)", re.DOTALL)
_PLACE = re.compile(r"^\s*ip: (\S+)", re.MULTILINE)
_SHOWN_CHARACTERS = 300


class LossNotes(UserCallback):
    """Appends the cause of every loss to a file; Ray calls it where the launch is controlled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Note one loss, whatever else the other workers met by it."""
        with suppress(OSError):  # a full disk must not end the launch in another way than it does anyway
            make_folder(self._folder)
            append_line(self._folder / LOSSES, json.dumps({"cause": cause_of_loss(worker_exceptions)}))


def noted_losses(folder: Path) -> list[str]:
    """The causes that `LossNotes` noted, one for each loss, the last one last."""
    try:
        lines = (folder / LOSSES).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [str(json.loads(line)["cause"]) for line in lines]


def cause_of_loss(worker_exceptions: Mapping[int, Exception]) -> str:
    """What ended a group of workers: the death of one of them rather than the errors of those that it left behind."""
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in worker_exceptions.items()}
    dead = {rank: error for rank, error in causes.items() if isinstance(error, (RayActorError, OutOfMemoryError))}
    rank, error = next(iter((dead or causes).items()))
    return f"worker {rank}: {cause_of(error)}"


def cause_of(error: BaseException) -> str:
    """What an error of Ray's means, in one line."""
    text = str(error)
    if isinstance(error, OutOfMemoryError):
        found = _MEMORY.search(text)
        where = f", {found[2]} of {found[3]} were in use on {found[1]}" if found else ""
        return f"out of memory{where}, so that Ray ended it; fewer workers or smaller batches take less"
    place = _PLACE.search(text)
    where = f" on {place[1]}" if place else ""
    if isinstance(error, NodeDiedError) or "node has died" in text:
        return f"its node{where} was lost"
    if isinstance(error, RayActorError) and "worker process has died" in text:
        return f"its process{where} was killed or crashed; the system kills processes when it runs out of memory"
    lines = text.strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:_SHOWN_CHARACTERS]


def why_unfinished(error: Exception | None, losses: Sequence[str]) -> str:
    """Why a launch left runs unfinished, in words, from what it ended with and the losses that were noted before."""
    if isinstance(error, WorkerGroupError):
        times = "once" if len(losses) < 2 else f"{len(losses)} times"
        last = losses[-1] if losses else cause_of_loss(error.worker_failures)
        return f"its workers were lost {times}, the last time {last}"
    if isinstance(error, ControllerError):
        return f"its workers could not start: {cause_of(error.controller_failure)}"
    if isinstance(error, (RayActorError, OutOfMemoryError)):
        return f"the process that controls its workers was lost: {cause_of(error)}"
    return f"its workers ended early: {cause_of(error)}" if error else "its workers ended early"
