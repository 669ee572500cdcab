"""MLflow: one run per phase under its pipeline's parent run, continued across restarts and outages.

Only one process writes: the driver. Workers write RUN/metrics.jsonl, and `TrackedRun.sync` carries its new lines
over. What has been carried over is read back from MLflow itself, so nothing is logged twice, whatever was killed.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipelines.text import redacted
from pipelines.tracking.outages import TrackingConnection, TrackingError, say_on_stderr
from pipelines.tracking.run import PARENT_TAG, TrackedRun, flatten
from pipelines.tracking.system_metrics import SystemMetrics
from stprivacy.plain import listed
from stprivacy.storage import absolute_location, make_folder, write_whole

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["RUN_ID_FILE", "TrackedRun", "Tracker", "TrackingError", "default_tracking_uri", "flatten"]

RUN_ID_FILE = "mlflow_run_id"
# Written before the run is made: by it a run is found whose making was not answered.
RUN_KEY_FILE = "mlflow_run_key"
_GROUP_TAG, _KEY_TAG, _NAME_TAG = "stprivacy.group", "stprivacy.run_key", "mlflow.runName"
# The interface shows an experiment of this kind as training runs; without it, it may take it for traces of prompts.
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Its own are 7 retries of 120 s each: a driver that waits so long shows no progress and notices no lost worker.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def default_tracking_uri(root: Path) -> str:
    """The SQLite store `mlflow.db` in the local folder `root`."""
    return f"sqlite:///{root.resolve() / 'mlflow.db'}"


class Tracker:
    """A tracking store and one experiment in it; `run` opens the runs.

    A store that does not answer stops nothing: what it misses waits in the runs, and `flush` sends it.
    """

    def __init__(self, tracking_uri: str, experiment: str = "stprivacy") -> None:
        """Open the store, and make the database and the experiment where there are none.

        Args:
            tracking_uri: `sqlite:///FILE`, whose artifacts lie in `mlartifacts` beside the file, or a server's URL.
            experiment: name that all runs share.

        Raises: TrackingError: a URI that is neither, that leads to no MLflow server, or a login that is refused. A
            server that does not answer is none of these.
        """
        self._uri, self._experiment = tracking_uri, experiment
        _check(tracking_uri)
        self._client: MlflowClient
        self._experiment_id = ""
        self._runs: list[TrackedRun] = []
        self._parents: dict[str, str] = {}
        self._load: tuple[SystemMetrics, str] | None = None
        self._connection = TrackingConnection(tracking_uri)
        self._connection.open(self._connect)

    def run(self, folder: Path, name: str, params: Mapping[str, Any], parent: str = "") -> TrackedRun:
        """Continue the run of `folder`, or start it if the folder has none in this store.

        Args:
            folder: the run folder; it keeps the MLflow run id in `mlflow_run_id`.
            name: the phase, and what more tells the run from others of it ("evaluate raw").
            params: the configuration, nested or flat; logged flat.
            parent: name of the pipeline that the phase belongs to: runs with the same one share a parent run.
                By default the folder that holds `folder`.
        """
        group = parent or str(absolute_location(folder).parent)
        find = partial(self._find, folder, name, group)
        tracked = TrackedRun(self._connection, find, partial(self._drop_twins, folder, group), folder, name)
        self._runs.append(tracked)
        tracked.log_params(flatten(params))
        return tracked

    def parent_run(self, parent: str, folder: Path) -> TrackedRun:
        """The parent run itself, by the name that `run` was given; `folder` holds what is logged there."""
        tracked = TrackedRun(
            self._connection,
            lambda: (self._connected(), self._parent(parent)),
            lambda _: None,
            folder,
            Path(parent).name,
        )
        self._runs.append(tracked)
        return tracked

    @contextmanager
    def pipeline(self, parent: str, say: Callable[[str], None] = say_on_stderr) -> Iterator[None]:
        """While runs under this parent are done: the machine's load is logged there, and `say` reports outages.

        At the end what waits is sent, or the user is told what the store does not have. Within another pipeline of
        this tracker it does nothing.
        """
        if self._load:
            yield
            return
        before, self._connection.say = self._connection.say, say
        try:
            with SystemMetrics() as load:
                self._load = load, parent
                yield
        finally:
            self.flush(now=True)
            self._tell_what_waits()
            self._load, self._connection.say = None, before

    def flush(self, now: bool = False) -> None:
        """Send what waits, if the store answers; `now` also asks it when its next attempt is not due yet."""
        self._runs = [run for run in self._runs if run.waiting]
        for run in self._runs:
            run.flush(now)
            if self._connection.down:
                return
        if self._load and self._load[0].waiting:
            self._connection.attempt(self._send_load, now)

    def _send_load(self) -> None:
        assert self._load
        load, parent = self._load
        load.send(self._connected(), self._parent(parent))

    def _tell_what_waits(self) -> None:
        waiting = list(dict.fromkeys(run.name for run in self._runs if run.waiting))
        if waiting:
            self._connection.say(
                f"not tracked yet: {listed(waiting)}. Their logs are complete in the run folders: when "
                f"{self._connection.name} works again, run the same command; it sends them and repeats no work"
            )

    def _connected(self) -> "MlflowClient":
        if not self._experiment_id:
            self._connect()
        return self._client

    def _connect(self) -> None:
        with _alone(self._uri):
            self._client = _client(self._uri)
            found = self._client.get_experiment_by_name(self._experiment)
            if found and _KIND_TAG not in found.tags:
                self._client.set_experiment_tag(found.experiment_id, _KIND_TAG, _KIND)
            self._experiment_id = found.experiment_id if found else self._create_experiment()

    def _create_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        scheme, _, database = self._uri.partition(":///")
        location = (Path(database).resolve().parent / "mlartifacts").as_uri() if scheme == "sqlite" else None
        try:
            return self._client.create_experiment(self._experiment, location, {_KIND_TAG: _KIND})
        except MlflowException:
            # Another driver was faster, or this request was repeated because its answer was lost.
            found = self._client.get_experiment_by_name(self._experiment)
            if found is None:
                raise
            return found.experiment_id

    def _find(self, folder: Path, name: str, group: str) -> "tuple[MlflowClient, str]":
        client = self._connected()
        run_id = self._existing(folder)
        if not run_id:
            key = _run_key(folder)
            with _alone(self._uri):
                run_id = self._only(_KEY_TAG, key, lambda: {_NAME_TAG: name, PARENT_TAG: self._parent(group)})
            _write(folder / RUN_ID_FILE, run_id)
        return client, run_id

    def _existing(self, folder: Path) -> str:
        """The folder's run; empty if this store has none that can be continued."""
        from mlflow.exceptions import MlflowException

        id_file = folder / RUN_ID_FILE
        if not id_file.exists():
            return ""
        run_id = id_file.read_text().strip()
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return ""  # another store's run
        usable = run.info.experiment_id == self._experiment_id and run.info.lifecycle_stage == "active"
        return run_id if usable else ""

    def _parent(self, group: str) -> str:
        if group not in self._parents:
            name = redacted(Path(group).name or group)
            self._parents[group] = self._only(_GROUP_TAG, _quotable(group), lambda: {_NAME_TAG: name})
        return self._parents[group]

    def _only(self, tag: str, value: str, tags: Callable[[], dict[str, str]]) -> str:
        """The run with this tag, made if there is none; of several the first, whoever makes them."""
        found = self._tagged(tag, value)
        if found:
            return found[0]
        made = str(self._client.create_run(self._experiment_id, tags={**tags(), tag: value}).info.run_id)
        first = self._tagged(tag, value)[0]
        if made != first:
            self._client.delete_run(made)
        return first

    def _tagged(self, tag: str, value: str) -> list[str]:
        found = self._client.search_runs([self._experiment_id], f"tags.`{tag}` = '{value}'")
        return [run.info.run_id for run in sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))]

    def _drop_twins(self, folder: Path, group: str, run_id: str) -> None:
        """Delete what requests made that a hanging server did only after they had been given up and repeated."""
        if (folder / RUN_KEY_FILE).exists():
            for twin in self._tagged(_KEY_TAG, _run_key(folder)):
                if twin != run_id:
                    self._client.delete_run(twin)
        own = self._client.get_run(run_id).data.tags.get(PARENT_TAG)
        for twin in self._tagged(_GROUP_TAG, _quotable(group)):
            if twin != own and not self._tagged(PARENT_TAG, twin):
                self._client.delete_run(twin)


def _quotable(text: str) -> str:
    return redacted(text).replace("'", "_")


def _check(tracking_uri: str) -> None:
    if "://" not in tracking_uri or tracking_uri.startswith("file:"):
        shown = tracking_uri if "@" not in tracking_uri else "one without a scheme"  # before the @ may be a password
        raise TrackingError(f"tracking URI must be sqlite:///FILE or a server's http(s) URL, got {shown!r}")
    if not tracking_uri.startswith("sqlite:") and any(character.isspace() for character in tracking_uri):
        raise TrackingError("a server's tracking URI holds no spaces: write %20 in a password")


def _client(tracking_uri: str) -> "MlflowClient":
    for name, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient  # two seconds: only who tracks pays them

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns of each repeated request; `TrackingConnection` reports an outage once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri)


def _alone(tracking_uri: str) -> AbstractContextManager[Any]:
    """While jobs that start together make the database, its experiment or a parent run: one at a time."""
    scheme, _, database = tracking_uri.partition(":///")
    if scheme != "sqlite":
        return nullcontext()
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock")


def _run_key(folder: Path) -> str:
    file = folder / RUN_KEY_FILE
    if not file.exists():
        _write(file, uuid.uuid4().hex)
    return file.read_text().strip()


def _write(file: Path, text: str) -> None:
    make_folder(file.parent)
    write_whole(file, f"{text}\n".encode())
