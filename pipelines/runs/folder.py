"""The files of a run folder through which the driver and the workers of a launch exchange what they need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stprivacy import run_files
from stprivacy.storage import is_remote, write_whole

CONFIG, RESULT, CHECKPOINTS = run_files.CONFIG, run_files.RESULT, run_files.CHECKPOINTS
PROGRESS, METRICS, MESSAGES = "progress.json", "metrics.jsonl", "messages.log"
FAILURE, LAUNCH, INPUTS = "failure.json", "launch.json", "inputs.json"
DESCRIPTION = "dataset.json"  # of an ingested data set
REMOTE_SECONDS = 5.0


class PhaseError(RuntimeError):
    """A run stopped for good; the message says which, why, and what to do."""


class WorkersLostError(PhaseError):
    """It stopped as workers were lost too often, or could not start: at another time the same command may succeed."""


@dataclass(frozen=True)
class RunRequest:
    """One run to do: its folder, the plain JSON configuration it is started with, and what to call it (the phase).

    The folder is on storage that the driver and all workers share. `keep_checkpoints` is how many are kept. `defaults`
    are the values of settings that a folder from before they came in does not name.
    """

    folder: Path
    config: dict[str, Any]
    name: str = ""
    keep_checkpoints: int = 2
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, or the folder's."""
        return self.name or self.folder.name

    @property
    def finished(self) -> bool:
        """Whether the result is there, so that the run is not done again."""
        return (self.folder / RESULT).exists()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader, or a kill, never meets half of it."""
    write_whole(path, json.dumps(values, indent=1).encode())


def interval_seconds(folder: Path, local_seconds: float) -> float:
    """How long to wait before looking into a run folder again: each look at an object store takes time and money."""
    return max(local_seconds, REMOTE_SECONDS) if is_remote(folder) else local_seconds


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run folder; empty where there is none.

    Raises: ValueError: it is damaged; the message names it, and says what to do.
    """
    lasting = path.name in (CONFIG, RESULT, INPUTS)
    return run_files.read_object(path, run_files.DAMAGED if lasting else "delete it and run the same command again")


def check_claim(folder: Path, launch: str) -> None:
    """Raise PhaseError in a worker that outlived its launch: two writers would spoil each other's files."""
    owner = read_json(folder / LAUNCH).get("launch", "")
    if owner != launch:
        raise PhaseError(f"{folder} was taken over by a later launch")


def record_failure(folder: Path, launch: str, rank: int, error: BaseException, trace: str) -> None:
    """Say why the launch must not be tried again. The first rank to say so is heard."""
    if not failure_of(folder, launch):
        values = {"launch": launch, "rank": rank, "type": type(error).__name__, "message": str(error), "trace": trace}
        write_json(folder / FAILURE, values)


def failure_of(folder: Path, launch: str) -> dict[str, Any]:
    """What `record_failure` wrote for this launch; empty where nothing failed."""
    failure = read_json(folder / FAILURE)
    return failure if failure.get("launch") == launch else {}
