"""MLflow: one run per phase under its pipeline's parent run, continued across restarts.

Only one process writes: the driver. Workers write RUN/metrics.jsonl, and `TrackedRun.sync` carries its new lines
over. What has been carried over is read back from MLflow itself, so nothing is logged twice, whatever was killed.
"""

import json
import logging
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from filelock import FileLock

from pipelines.history import is_number, read_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]

# Parameters that stand at top level whatever part of the configuration holds them: sweeps are compared by them.
TOP_LEVEL_PARAMETERS = (
    "anonymizer",
    "keep_ratio",
    "deploy_keep_ratio",
    "lambda_action",
    "lambda_privacy",
    "tubelet_frames",
    "dataset",
    "protocol",
    "attacker",
    "seed",
)
RUN_ID_FILE = "mlflow_run_id"
_GROUP_TAG, _CHANGED_TAG, _NAME_TAG, _PARENT_TAG = (
    "stprivacy.group",
    "stprivacy.changed_parameters",
    "mlflow.runName",
    "mlflow.parentRunId",
)
# MLflow's limits
_METRICS_PER_REQUEST, _PARAMETERS_PER_REQUEST = 1000, 100
_VALUE_CHARACTERS = 5000
_NOT_IN_A_KEY = re.compile(r"[^\w\-. /]", re.ASCII)


class TrackingError(ValueError):
    """The tracking store cannot be used as asked; the message says what to change."""


def default_tracking_uri(root: Path) -> str:
    """The SQLite store `mlflow.db` in the folder `root`."""
    return f"sqlite:///{root.resolve() / 'mlflow.db'}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as flat `outer.inner` keys and text values, the `TOP_LEVEL_PARAMETERS` also on top.

    A top-level parameter that several parts of the configuration set to different values stays where it is.
    """
    flat = dict(_leaves(config, prefix))
    for name in TOP_LEVEL_PARAMETERS:
        values = {value for key, value in flat.items() if key.rpartition(".")[2] == name}
        if len(values) == 1:
            flat.setdefault(name, values.pop())
    return flat


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


class Tracker:
    """A tracking store and one experiment in it; `run` opens the runs."""

    def __init__(self, tracking_uri: str, experiment: str = "stprivacy") -> None:
        """Open the store, and make the database and the experiment where there are none.

        Args:
            tracking_uri: `sqlite:///FILE`, whose artifacts lie in `mlartifacts` beside the file, or a server's URL.
            experiment: name that all runs share.

        Raises: TrackingError: a URI that is neither.
        """
        self._uri = tracking_uri
        with _alone(tracking_uri):
            self._client = _connect(tracking_uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment_id = (
                found.experiment_id
                if found
                else self._client.create_experiment(experiment, artifact_location=_artifact_location(tracking_uri))
            )

    def run(self, folder: Path, name: str, params: Mapping[str, Any], parent: str = "") -> "TrackedRun":
        """Continue the run of `folder`, or start it if the folder has none in this store.

        Args:
            folder: the run folder; it keeps the MLflow run id in `mlflow_run_id`.
            name: the phase, and what more tells the run from others of it ("evaluate raw").
            params: the configuration, nested or flat; logged flat.
            parent: name of the pipeline that the phase belongs to: runs with the same one share a parent run.
                By default the folder that holds `folder`.
        """
        group = parent or str(folder.resolve().parent)
        run_id = self._existing(folder)
        if run_id is None:
            with _alone(self._uri):
                tags = {_NAME_TAG: name, _PARENT_TAG: self._parent(group)}
            run_id = self._client.create_run(self._experiment_id, tags=tags).info.run_id
            _write_run_id(folder, run_id)
        tracked = TrackedRun(self._client, run_id, folder, name)
        tracked.log_params(flatten(params))
        return tracked

    def parent_run(self, group: str, folder: Path) -> "TrackedRun":
        """The parent run that the runs of a pipeline share, by the name that `run` was given as `parent`."""
        with _alone(self._uri):
            run_id = self._parent(group)
        return TrackedRun(self._client, run_id, folder, group)

    def _existing(self, folder: Path) -> str | None:
        from mlflow.exceptions import MlflowException

        id_file = folder / RUN_ID_FILE
        if not id_file.exists():
            return None
        run_id = id_file.read_text().strip()
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # another store's run
        usable = run.info.experiment_id == self._experiment_id and run.info.lifecycle_stage == "active"
        return run_id if usable else None

    def _parent(self, group: str) -> str:
        text = group.replace("'", "_")
        found = self._client.search_runs([self._experiment_id], f"tags.`{_GROUP_TAG}` = '{text}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {_NAME_TAG: Path(group).name or group, _GROUP_TAG: text}
        return str(self._client.create_run(self._experiment_id, tags=tags).info.run_id)


class TrackedRun:
    """One phase's MLflow run. As a context manager it ends FINISHED, or FAILED or KILLED by what was raised."""

    def __init__(self, client: "MlflowClient", run_id: str, folder: Path, name: str) -> None:
        """Take the run up again: it and its parent count as running from here on."""
        self.run_id = run_id
        self._client = client
        self._folder = folder
        self._name = name
        self._set_status("RUNNING")
        run = client.get_run(run_id)
        self._params = dict(run.data.params)
        self._logged: dict[str, set[int]] = defaultdict(set)
        for key in run.data.metrics:
            self._logged[key] = {metric.step for metric in client.get_metric_history(run_id, key)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish("FINISHED")
        else:
            self.finish("FAILED" if issubclass(kind, Exception) else "KILLED")

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log flat parameters. MLflow never changes one: a new value on restart is kept in a tag instead."""
        from mlflow.entities import Param

        params = {_key(name): value[:_VALUE_CHARACTERS] for name, value in params.items()}
        new = [Param(name, value) for name, value in params.items() if name not in self._params]
        for start in range(0, len(new), _PARAMETERS_PER_REQUEST):
            self._client.log_batch(self.run_id, params=new[start : start + _PARAMETERS_PER_REQUEST])
        changed = [
            f"{name}: {self._params[name]} -> {value}"
            for name, value in params.items()
            if self._params.get(name, value) != value
        ]
        if changed:
            self._client.set_tag(self.run_id, _CHANGED_TAG, "; ".join(changed)[:_VALUE_CHARACTERS])
        self._params = {param.key: param.value for param in new} | self._params

    def sync(self) -> int:
        """Log the steps of RUN/metrics.jsonl that MLflow does not have; how many numbers that were.

        Keys stay as they are for the phase that the run's name begins with, and are `phase/key` for any other. A line
        that is still being written (no newline yet) waits for the next sync; a damaged one is named in a warning.
        """
        return self.replay(self._folder / "metrics.jsonl")

    def replay(self, metrics_jsonl: Path) -> int:
        """The same as `sync`, for the lines of any file."""
        new = []
        for report in read_history(metrics_jsonl):
            prefix = "" if report.phase == self._name.partition(" ")[0] else f"{report.phase}/"
            for name, value in report.metrics.items():
                key = _key(prefix + name)
                if report.step not in self._logged[key]:
                    new.append((key, value, report.step))
                    self._logged[key].add(report.step)
        self._log_metrics(new)
        return len(new)

    def log_result(self, result: Mapping[str, Any]) -> None:
        """Log result.json: its numbers as metrics that show as the latest value, its texts as parameters."""
        current = self._client.get_run(self.run_id).data.metrics
        new = []
        for name, value in result.items():
            key, is_metric = _key(name), is_number(value) and name not in TOP_LEVEL_PARAMETERS
            if is_metric and current.get(key) != value:
                step = max(self._logged[key], default=-1) + 1
                self._logged[key].add(step)
                new.append((key, float(value), step))
        self._log_metrics(new)
        texts = {key: result[key] for key in result if key in TOP_LEVEL_PARAMETERS or isinstance(result[key], str)}
        self.log_params(flatten(texts))

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Keep a figure as the artifact figures/`name`, in place of an earlier one of that name."""
        self._client.log_figure(self.run_id, figure, f"figures/{name}")

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, such as config.json, as an artifact, in place of an earlier one of that name."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def finish(self, status: Status = "FINISHED") -> None:
        """Carry over what is still missing and close the run, and its parent, with this status."""
        self.sync()
        self._set_status(status)

    def _log_metrics(self, values: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        metrics = [Metric(key, value, now_ms, step) for key, value, step in values]
        for start in range(0, len(metrics), _METRICS_PER_REQUEST):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + _METRICS_PER_REQUEST])

    def _set_status(self, status: Literal["RUNNING"] | Status) -> None:
        parent = self._client.get_run(self.run_id).data.tags.get(_PARENT_TAG)
        for run_id in filter(None, (self.run_id, parent)):
            if status == "RUNNING":
                self._client.update_run(run_id, status)
            else:
                self._client.set_terminated(run_id, status)


def _key(name: str) -> str:
    return _NOT_IN_A_KEY.sub("_", name)


def _connect(tracking_uri: str) -> "MlflowClient":
    scheme, separator, database = tracking_uri.partition(":///")
    if "://" not in tracking_uri or scheme == "file":
        raise TrackingError(f"tracking URI must be sqlite:///FILE or a server's http(s) URL, got {tracking_uri!r}")
    if scheme == "sqlite" and separator:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    for switch in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        os.environ.setdefault(switch, "true")
    from mlflow.tracking import MlflowClient  # two seconds: only who tracks pays them

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri)


def _alone(tracking_uri: str) -> AbstractContextManager[Any]:
    """While jobs that start together make the database, its experiment or a parent run: one at a time."""
    scheme, _, database = tracking_uri.partition(":///")
    if scheme != "sqlite":
        return nullcontext()
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock")


def _artifact_location(tracking_uri: str) -> str | None:
    scheme, _, database = tracking_uri.partition(":///")
    return (Path(database).resolve().parent / "mlartifacts").as_uri() if scheme == "sqlite" else None


def _write_run_id(folder: Path, run_id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{RUN_ID_FILE}.partial"
    partial.write_text(run_id + "\n")
    partial.replace(folder / RUN_ID_FILE)
