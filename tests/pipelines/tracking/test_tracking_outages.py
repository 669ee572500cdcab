"""A real MLflow server is killed, hung and started again while runs are tracked."""

import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from mlflow import pyfunc
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.tracking import MlflowClient

from pipelines.tracking import outages
from pipelines.tracking.tracker import Tracker, TrackingError, default_tracking_uri
from tests.support.browser_fixtures import MlflowServer, free_port
from tests.support.places import ROOT
from tests.support.tracking_fixtures import report


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    Tracker(default_tracking_uri(folder))
    with MlflowServer(folder / "mlflow.db") as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(outages, "LONGEST_WAIT_SECONDS", 0.5)


PASSWORD = "hunt%40er2"


def with_password(uri: str) -> str:
    """The URI as somebody writes it whose server asks for a password."""
    return uri.replace("://", f"://somebody:{PASSWORD}@")


def keeps_the_password(text: str) -> bool:
    return not any(part in text for part in (PASSWORD, "hunt@er2", "somebody"))


def children(server: MlflowServer, parent: str) -> list[str]:
    """The active runs under the parent run of that name, of which there must be one."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("stprivacy")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    (ROOT,) = [run.info.run_id for run in runs if run.info.run_name == parent]
    return [run.info.run_id for run in runs if run.data.tags.get("mlflow.parentRunId") == ROOT]


def steps(server: MlflowServer, run_id: str) -> list[int]:
    return sorted(metric.step for metric in MlflowClient(server.uri).get_metric_history(run_id, "loss"))


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_gets_what_it_missed(server: MlflowServer, tmp_path: Path) -> None:
    said: list[str] = []
    tracker = Tracker(with_password(server.uri))
    with tracker.pipeline("dies", said.append):
        run = tracker.run(tmp_path / "init", "init", {"seed": 1}, "dies")
        report(tmp_path / "init", "init", 0, 1)
        run.sync()
        server.kill()
        begun = time.monotonic()
        for step in range(2, 12):
            report(tmp_path / "init", "init", step)
            run.sync()
        assert time.monotonic() - begun < 20
        assert run.waiting
        (line,) = said
        assert server.uri.replace("://", "://***@") in line
        assert keeps_the_password(line)
        assert "connection refused" in line
        server.start()
        tracker.flush(now=True)
        assert steps(server, run.run_id) == list(range(12))
        run.log_result({"action_top1": 80.0, "data_fingerprint": "abc"})
        run.finish()
    assert len(said) == 1
    assert children(server, "dies") == [run.run_id]
    kept = MlflowClient(server.uri).get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"seed": "1", "data_fingerprint": "abc"}
    assert {file.path for file in MlflowClient(server.uri).list_artifacts(run.run_id)} == {"environment.txt"}


@pytest.mark.slow
def test_a_server_that_is_down_gets_the_run_when_the_command_runs_again(server: MlflowServer, tmp_path: Path) -> None:
    server.kill()
    said: list[str] = []
    report(tmp_path / "init", "init", 0, 1)
    tracker = Tracker(with_password(server.uri))
    with tracker.pipeline("down", said.append), tracker.run(tmp_path / "init", "init", {"seed": 1}, "down") as run:
        run.log_result({"action_top1": 80.0})
    assert run.run_id == ""
    assert len(said) == 1  # of the outage the constructor has told
    assert said[0].startswith("not tracked yet: init.")
    assert keeps_the_password(said[0])
    server.start()
    again = Tracker(server.uri)
    with again.pipeline("down", said.append), again.run(tmp_path / "init", "init", {"seed": 1}, "down") as run:
        run.log_result({"action_top1": 80.0})
    assert len(said) == 1
    assert children(server, "down") == [run.run_id]
    assert steps(server, run.run_id) == [0, 1]


@pytest.mark.slow
def test_what_a_hung_server_does_late_is_not_there_twice(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    tracker = Tracker(server.uri)
    old = tracker.run(tmp_path / "old", "init", {}, "hangs")
    report(tmp_path / "old", "init", 0, 1)
    with server.hung():
        begun = time.monotonic()
        new = tracker.run(tmp_path / "new", "init", {}, "hangs")
        old.sync()
        tracker.flush(now=True)
        assert time.monotonic() - begun < 60
    report(tmp_path / "new", "init", 0, 1)
    for run in (old, new):
        run.finish()
    deadline = time.monotonic() + 60
    while (old.waiting or new.waiting) and time.monotonic() < deadline:
        tracker.flush()
        time.sleep(0.2)
    assert sorted(children(server, "hangs")) == sorted([old.run_id, new.run_id])
    assert steps(server, old.run_id) == steps(server, new.run_id) == [0, 1]


@pytest.mark.slow
def test_requests_whose_answers_are_lost_are_done_once(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request that changes something is done, and its first answer lost."""
    lost: Counter[str] = Counter()

    def losing(name: str) -> None:
        original = getattr(MlflowClient, name)

        def call(self: MlflowClient, *args: object, **kwargs: object) -> object:
            answer = original(self, *args, **kwargs)
            lost[name] += 1
            if lost[name] == 1:
                try:
                    raise requests.ConnectionError("Connection aborted")
                except requests.ConnectionError as error:
                    raise MlflowException("API request failed with exception: the answer was lost") from error
            return answer

        monkeypatch.setattr(MlflowClient, name, call)

    for name in ("create_run", "log_batch", "update_run", "set_terminated", "set_tag", "log_text", "create_experiment"):
        losing(name)
    tracker = Tracker(server.uri, experiment="lossy")
    report(tmp_path / "init", "init", 0, 1, 2)
    run = tracker.run(tmp_path / "init", "init", {"seed": 1}, "lossy")
    run.finish()
    deadline = time.monotonic() + 60
    while run.waiting and time.monotonic() < deadline:
        tracker.flush()
        time.sleep(0.1)
    assert {"create_run", "log_batch", "update_run", "set_terminated"} <= set(lost)
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("lossy")
    assert experiment
    names = Counter(found.info.run_name for found in client.search_runs([experiment.experiment_id]))
    assert names == {"init": 1, "lossy": 1}
    assert steps(server, run.run_id) == [0, 1, 2]
    assert client.get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_dies_while_a_model_is_sent_gets_all_of_it(
    server: MlflowServer, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    upload = HttpArtifactRepository.log_artifact
    sent: list[str] = []

    def die_in_the_middle(self: HttpArtifactRepository, file: str, place: str | None = None) -> None:
        sent.append(file)
        if len(sent) == 20:
            server.kill()
        upload(self, file, place)

    tracker = Tracker(server.uri, experiment="remote")  # its artifacts go through the server
    tracked = tracker.run(folder, "init", {})
    monkeypatch.setattr(HttpArtifactRepository, "log_artifact", die_in_the_middle)
    tracked.log_anonymizer(folder)
    tracked.finish()
    assert tracked.waiting
    server.start()
    tracker.flush(now=True)
    client = MlflowClient(server.uri)
    kept = client.get_run(tracked.run_id)
    (model,) = client.search_logged_models([kept.info.experiment_id])
    assert (kept.info.status, model.status, len(kept.outputs.model_outputs)) == ("FINISHED", "READY", 1)
    assert model.artifact_location.startswith("mlflow-artifacts:")
    files = shutil.copytree(server.artifacts / model.artifact_location.partition(":/")[2], tmp_path / "model")
    assert pyfunc.load_model(str(files)).predict(np.zeros((2, 8, 8, 3), np.uint8)).shape == (2, 8, 8, 3)


@pytest.mark.parametrize("path", ["/not-mlflow", "/api"])
@pytest.mark.slow
def test_a_server_without_mlflow_at_that_address_is_refused(server: MlflowServer, path: str) -> None:
    with pytest.raises(TrackingError, match="check the URI") as refused:
        Tracker(with_password(server.uri + path))
    assert keeps_the_password(str(refused.value))


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrackingError, match="no such host") as refused:
        Tracker(with_password("http://no-such-host.invalid:5000"))
    assert keeps_the_password(str(refused.value))


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_refused_login_is_an_error() -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        try:
            with pytest.raises(TrackingError, match="401") as refused:
                Tracker(with_password(f"http://127.0.0.1:{refusing.server_port}/?token={PASSWORD}"))
            assert keeps_the_password("".join(traceback.format_exception(refused.value)))
        finally:
            refusing.shutdown()


def test_nobody_listening_is_told_in_one_line_and_one_more_at_the_end(tmp_path: Path) -> None:
    program = (
        "import sys, ray; from pathlib import Path; from pipelines.tracking.tracker import Tracker\n"
        "tracker = Tracker(sys.argv[1])\n"
        "with tracker.pipeline('p'), tracker.run(Path(sys.argv[2]) / 'init', 'init', {}) as run: run.sync()"
    )
    command = [sys.executable, "-c", program, with_password(f"http://127.0.0.1:{free_port()}"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")
    assert keeps_the_password(done.stderr)
    begin, end = done.stderr.splitlines()
    assert "does not work now (connection refused)" in begin
    assert end.startswith("not tracked yet: init.")
