"""What runs are done on, and the one way to do them: checked, tracked, and with their progress shown."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import cluster
from pipelines.progress import Progress
from pipelines.runs.claims import check_all
from pipelines.runs.folder import RunRequest
from pipelines.runs.labels import check_labels_of
from pipelines.tracking.tracker import Tracker, default_tracking_uri
from pipelines.train.launch import launch
from stprivacy.storage import StorageError, is_remote


@dataclass(frozen=True)
class LaunchOptions:
    """What a run runs on and where it is tracked."""

    workers: int = 2  # Ray Train workers, each one process with one CPU or GPU
    use_gpu: bool = False  # one GPU for each worker, and NCCL instead of gloo
    verbose: bool = False  # show Ray's own messages
    tracking_uri: str = ""  # MLflow store; by default mlflow.db beside local runs, MLFLOW_TRACKING_URI for others
    group: str = ""  # name of the parent run in MLflow; by default that of the folder that holds the run
    max_failures: int = 3  # how often a group of which a worker died is started again


def tracking_uri(where: LaunchOptions, folder: Path) -> str:
    """Where runs below `folder` are tracked: a database beside them unless another store is named.

    Raises: StorageError: an object store cannot hold the database, and no other store is named.
    """
    named = where.tracking_uri or (os.environ.get("MLFLOW_TRACKING_URI", "") if is_remote(folder) else "")
    if not named and is_remote(folder):
        raise StorageError(
            f"{folder} cannot hold MLflow's database: give --tracking-uri (sqlite:///FILE or a server's URL), or set "
            "MLFLOW_TRACKING_URI"
        )
    return named or default_tracking_uri(folder)


def launch_runs(
    requests: Sequence[RunRequest], folder: Path, where: LaunchOptions, parallel: int = 1
) -> list[dict[str, Any]]:
    """Do runs that lie below `folder`, those that do not start from each other `parallel` at a time; their results."""
    # Before anything starts: what raises here takes no time.
    uri = tracking_uri(where, folder)
    check_all(requests)
    check_labels_of(requests)
    cluster.start(verbose=where.verbose)
    with Progress() as progress:
        return launch(
            requests,
            num_workers=where.workers,
            use_gpu=where.use_gpu,
            tracker=Tracker(uri),
            progress=progress,
            max_failures=where.max_failures,
            parent=where.group or folder.name,
            parallel=parallel,
        )
