"""One MLflow run: requests are sent at once or, if the store does not answer, later and in the same order."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pipelines.runs.history import is_number, read_history
from pipelines.text import redacted
from pipelines.tracking.datasets import log_datasets
from pipelines.tracking.models import log_anonymizer
from pipelines.tracking.outages import TrackingConnection, may_pass, reason
from pipelines.tracking.provenance import installed_versions, source_tags
from stprivacy.plain import leaves
from stprivacy.storage import local_copy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]

# Parameters that stand at top level whatever part of the configuration holds them: sweeps are compared by them.
TOP_LEVEL_PARAMETERS = (
    "anonymizer", "keep_ratio", "deploy_keep_ratio", "lambda_action", "lambda_privacy", "tubelet_frames", "dataset",
    "protocol", "attacker", "seed",
)  # fmt: skip
PARENT_TAG = "mlflow.parentRunId"
ENVIRONMENT = "environment.txt"
_CHANGED_TAG = "stprivacy.changed_parameters"
# MLflow's limits
_METRICS_PER_REQUEST, _PARAMETERS_PER_REQUEST = 1000, 100
_VALUE_CHARACTERS = 5000
_NOT_IN_A_KEY = re.compile(r"[^\w\-. /]", re.ASCII)


def status_after(raised: type[BaseException] | None) -> Status:
    """What MLflow calls a run that ended so: by an error, by an interruption, or well."""
    if raised is None:
        return "FINISHED"
    return "FAILED" if issubclass(raised, Exception) else "KILLED"


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as flat `outer.inner` keys and text values, the `TOP_LEVEL_PARAMETERS` also on top.

    A top-level parameter that several parts of the configuration set to different values stays where it is.
    """
    flat = {key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in leaves(config)}
    for name in TOP_LEVEL_PARAMETERS:
        values = {value for key, value in flat.items() if key.rpartition(".")[2] == name}
        if len(values) == 1:
            flat.setdefault(name, values.pop())
    return flat


class TrackedRun:
    """One phase's MLflow run. As a context manager it ends FINISHED, or FAILED or KILLED by what was raised.

    While the store does not answer, what is logged waits here; `flush` tries again. Everything is done so that doing
    it twice changes nothing: whether a request was done whose answer did not come, nobody knows.
    """

    def __init__(
        self,
        connection: TrackingConnection,
        find: "Callable[[], tuple[MlflowClient, str]]",
        drop_twins: Callable[[str], None],
        folder: Path,
        name: str,
    ) -> None:
        """Take the run up again: it and its parent count as running from here on.

        Args:
            find: gives the client and the id of the run, which it makes where there is none.
            drop_twins: deletes other runs of the same folder, left by a request that was done after it was given up.
        """
        self.name, self.run_id = name, ""  # the id is known when the store has answered for the first time
        self._connection, self._find, self._drop_twins, self._folder = connection, find, drop_twins, folder
        self._client: MlflowClient
        self._open = False
        self._waiting: dict[str, Callable[[], None]] = {}
        self._numbers_sent = 0
        self._params: dict[str, str] = {}
        self._logged: dict[str, set[int]] = defaultdict(set)
        self._times_ms: dict[tuple[str, int], int] = {}
        self._do("provenance", self._log_provenance)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        self.finish(status_after(kind))

    @property
    def waiting(self) -> bool:
        """Whether something is not in the store yet."""
        return bool(self._waiting)

    def flush(self, now: bool = False) -> None:
        """Do what waits, if the store answers; `now` also asks it when its next attempt is not due yet."""
        while self._waiting:
            what, action = next(iter(self._waiting.items()))
            try:
                done = self._connection.attempt(partial(self._do_open, action), now)
            except BaseException:  # what no waiting mends must not block what comes after it
                self._open = False
                del self._waiting[what]
                raise
            if not done:
                self._open = False  # what the store has now must be read again
                return
            del self._waiting[what]

    def log_params(self, params: Mapping[str, str]) -> None:
        """Log flat parameters. MLflow never changes one: a new value on restart is kept in a tag instead."""
        self._do(f"parameters {params}", lambda: self._log_params(params))

    def sync(self) -> int:
        """Log the steps of RUN/metrics.jsonl that MLflow does not have; how many numbers that were.

        Keys stay as they are for the phase that the run's name begins with, and are `phase/key` for any other. A line
        that is still being written (no newline yet) waits for the next sync; a damaged one is named in a warning.
        """
        return self.replay(self._folder / "metrics.jsonl")

    def replay(self, metrics_jsonl: Path) -> int:
        """The same as `sync`, for the lines of any file."""
        before = self._numbers_sent
        self._do(f"history {metrics_jsonl}", lambda: self._log_history(metrics_jsonl))
        return self._numbers_sent - before

    def log_result(self, result: Mapping[str, Any]) -> None:
        """Log result.json: its numbers as metrics that show as the latest value, its texts as parameters."""
        self._do("result", lambda: self._log_result(result))

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Keep a figure as the artifact figures/`name`, in place of an earlier one of that name."""
        self._do(f"figure {name}", lambda: self._client.log_figure(self.run_id, figure, f"figures/{name}"))

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, such as config.json, as an artifact, in place of an earlier one of that name."""
        self._do(f"file {path} in {folder}", lambda: self._log_file(path, folder))

    def log_datasets(self, folder: Path) -> None:
        """Log the data sets that the run in `folder` is made from as inputs."""
        self._do(f"data sets {folder}", lambda: log_datasets(self._client, self.run_id, folder))

    def log_anonymizer(self, folder: Path) -> None:
        """Log the anonymizer of the finished run in `folder` as a model, if it has one; if it cannot be, say so."""
        self._do(f"anonymizer {folder}", lambda: self._log_anonymizer(folder))

    def finish(self, status: Status = "FINISHED") -> None:
        """Carry over what is still missing and close the run, and its parent, with this status."""
        self.sync()
        self._do("twins", lambda: self._drop_twins(self.run_id))
        self._do("status", lambda: self._set_status(status))

    def _do(self, what: str, action: Callable[[], None]) -> None:
        # Under the same name, the newer one takes the place of one that waits: all read what they send when it is sent.
        self._waiting[what] = action
        self.flush()

    def _do_open(self, action: Callable[[], None]) -> None:
        if not self._open:
            self._client, self.run_id = self._find()
            self._set_status("RUNNING")
            run = self._client.get_run(self.run_id)
            self._params = dict(run.data.params)
            self._logged.clear()
            for key in run.data.metrics:
                self._logged[key] = {metric.step for metric in self._client.get_metric_history(self.run_id, key)}
            self._open = True
        action()

    def _log_provenance(self) -> None:
        for name, value in source_tags().items():
            self._client.set_tag(self.run_id, name, value)
        self._client.log_text(self.run_id, installed_versions(), ENVIRONMENT)

    def _log_file(self, path: Path, folder: str | None) -> None:
        with local_copy(path) as file:
            self._client.log_artifact(self.run_id, str(file), folder)

    def _log_anonymizer(self, folder: Path) -> None:
        shown = {name: self._params[name] for name in TOP_LEVEL_PARAMETERS if name in self._params}
        try:
            log_anonymizer(self._client, self.run_id, folder, shown)
        except Exception as error:  # whatever it is, the run is finished, and others go on
            if may_pass(error):
                raise
            why = str(error) if isinstance(error, ValueError) else reason(error)
            self._connection.say(f"{self.name}: its anonymizer is not a model in MLflow ({why})")

    def _log_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = {_key(name): redacted(value)[:_VALUE_CHARACTERS] for name, value in params.items()}
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

    def _log_history(self, metrics_jsonl: Path) -> None:
        new = []
        for report in read_history(metrics_jsonl):
            prefix = "" if report.phase == self.name.partition(" ")[0] else f"{report.phase}/"
            for name, value in report.metrics.items():
                key = _key(prefix + name)
                if report.step not in self._logged[key]:
                    new.append((key, value, report.step))
                    self._logged[key].add(report.step)
        self._log_metrics(new)
        self._numbers_sent += len(new)

    def _log_result(self, result: Mapping[str, Any]) -> None:
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
        self._log_params(flatten(texts))

    def _log_metrics(self, values: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        for start in range(0, len(values), _METRICS_PER_REQUEST):
            part = values[start : start + _METRICS_PER_REQUEST]
            # Until a request was answered its times stay the same: the store knows a repeated number by them.
            metrics = [
                Metric(key, value, self._times_ms.setdefault((key, step), now_ms), step) for key, value, step in part
            ]
            self._client.log_batch(self.run_id, metrics=metrics)
            for key, _, step in part:
                del self._times_ms[key, step]

    def _set_status(self, status: Literal["RUNNING"] | Status) -> None:
        parent = self._client.get_run(self.run_id).data.tags.get(PARENT_TAG)
        for run_id in filter(None, (self.run_id, parent)):
            if status == "RUNNING":
                self._client.update_run(run_id, status)
            else:
                self._client.set_terminated(run_id, status)


def _key(name: str) -> str:
    return _NOT_IN_A_KEY.sub("_", name)
