"""A finished run followed into MLflow as a launch follows it, and what is there then."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from mlflow.entities import LoggedModel, Run
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from pipelines.progress import Progress
from pipelines.runs.config import make_request, read_config
from pipelines.runs.inputs import note_inputs
from pipelines.tracking.tracker import RUN_ID_FILE, Tracker, default_tracking_uri
from pipelines.train.follow import Follower
from tests.support.browser_fixtures import free_port

FRAMES: NDArray[np.uint8] = np.random.default_rng(5).integers(0, 256, (7, 40, 50, 3), dtype=np.uint8)

ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Tracked:
    """A run folder, the folder of the store that it is tracked in, and what the user was told."""

    folder: Path
    store: Path
    said: list[str] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return default_tracking_uri(self.store)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    @property
    def run(self) -> Run:
        return self.client.get_run((self.folder / RUN_ID_FILE).read_text().strip())

    @property
    def models(self) -> list[LoggedModel]:
        """The models of the run, whole or not."""
        experiment, run_id = self.run.info.experiment_id, self.run.info.run_id
        return list(self.client.search_logged_models([experiment], f"source_run_id = '{run_id}'"))

    def follow(self) -> "Tracked":
        """What the driver of a launch does of a run that is finished, to the end of the launch."""
        request = make_request(self.folder, read_config(self.folder))
        note_inputs(request)
        tracker = Tracker(self.uri)
        with (
            Progress(quiet=True) as progress,
            tracker.pipeline("models", self.said.append),
            Follower(request, progress, tracker, "models"),
        ):
            pass
        return self

    def change(self, name: str, **values: Any) -> None:
        """Replace values in one of the JSON files of the run folder."""
        path = self.folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


def failing(monkeypatch: pytest.MonkeyPatch, name: str, times: int, fail: Callable[[], None], late: bool) -> None:
    """Let the first calls of a method of MlflowClient fail, `late` when they have been done."""
    original, calls = getattr(MlflowClient, name), Counter[str]()

    def call(self: MlflowClient, *args: object, **kwargs: object) -> object:
        calls[name] += 1
        if calls[name] > times:
            return original(self, *args, **kwargs)
        if late:
            original(self, *args, **kwargs)
        return fail()

    monkeypatch.setattr(MlflowClient, name, call)


def lose_the_connection() -> None:
    raise requests.ConnectionError("Connection aborted")


@contextmanager
def serving(model_uri: str, tracking_uri: str, folder: Path) -> Iterator[Callable[[Any], Any]]:
    """`mlflow models serve` in this environment; gives what posts a payload to it and returns its predictions."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model-uri", model_uri]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # it looks for uvicorn there
    own = {"PATH": path, "MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
        )

    def predict(payload: Any) -> Any:
        content, kind = json.dumps(payload).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", content, kind)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)["predictions"]

    try:
        _wait_for_answer(server, port, folder / "log")
        yield predict
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_for_answer(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
