"""Passwords in URIs do not come out: not in messages, not in MLflow, not from a mistyped command line."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.text import redacted
from pipelines.tracking.tracker import Tracker, TrackingError, default_tracking_uri
from stprivacy.storage import StorageError, location
from tests.support.command_fixtures import run_command


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hunter2@host:5000/x cannot be used", "http://***@host:5000/x cannot be used"),
        ("http://me:hunt%40er%2F2@host", "http://***@host"),
        ("http://me:p@ss@host", "http://***@host"),
        ("http://me:pa/ss?w#rd@host/x", "http://***@host/x"),
        ("http://me:pa'ss\"@host", "http://***@host"),
        ("http://me:12345@host", "http://***@host"),
        ("http://me:@host", "http://***@host"),
        ("https://ghp_abc@github.com/a/b", "https://***@github.com/a/b"),
        ("postgresql+psycopg2://me:hunter2@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("(http://a:b@h, http://c:d@h)", "(http://***@h, http://***@h)"),
        ("http://h/x?token=abc&run=1&Access_Token=d;e=2", "http://h/x?token=***&run=1&Access_Token=***;e=2"),
        ("http://h/x?password=a%26b#key=c", "http://h/x?password=***#key=***"),
        (
            "s3://b/k?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=00ff&X-Amz-Date=2026",
            "s3://b/k?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Date=***",
        ),
        ("https://h/k?sv=1&sig=abc%3D&secret=s&api_key=k&signature=q", "https://h/k?sv=1&sig=***&secret=***&api_key=***&signature=***"),
        ("'http://h/x?key=abc'", "'http://h/x?key=***'"),
    ],
)  # fmt: skip
def test_what_opens_a_store_is_replaced(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@work/a:b@c/mlflow.db",
        "http://127.0.0.1:5000",
        "http://127.0.0.1:5000/api@v2 works",
        "http://[::1]:5000/a@b",
        "http://host: no answer; ask me",
        "s3://bucket/videos/me@home.mp4",
        "me@home.mp4: unreadable; a:b@c.mp4: unreadable",
        "http://h/x?run=1&page=2",
        "tokens: 5, key=value",
    ],
)
def test_what_opens_nothing_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_mlflow_is_told_no_password(tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    tracker = Tracker(uri)
    secret = "http://me:hunter2@host/x?token=hunter2"
    with tracker.run(tmp_path / "run", "init", {"model": {"pretrained": secret}}, f"{secret}/group") as run:
        run.log_result({"action_top1": 1.0, "source": secret})
        run.log_params({"model.pretrained": f"{secret}&changed=1"})
    client = MlflowClient(uri)
    parent = client.get_run(client.get_run(run.run_id).data.tags["mlflow.parentRunId"])
    kept = client.get_run(run.run_id)
    assert kept.data.params["model.pretrained"] == kept.data.params["source"] == "http://***@host/x?token=***"
    assert "changed=1" in kept.data.tags["stprivacy.changed_parameters"]
    assert "hunter2" not in str([kept.to_dictionary(), parent.to_dictionary()])


@pytest.mark.parametrize(
    "given", ["me:hunter2@host:5000", "http:/me:hunter2@host", "http://me:hunter2 is long@host", "file:///a/hunter2@b"]
)
def test_a_tracking_uri_that_cannot_be_read_is_not_repeated(given: str) -> None:
    with pytest.raises(TrackingError) as refused:
        Tracker(given)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("given", ["s3://me:hunter2@bucket/data", "gs://me:hunter2@bucket", "ftp://me:hunter2@host/x"])
def test_data_have_no_passwords_that_a_run_would_keep(given: str) -> None:
    with pytest.raises(StorageError) as refused:
        location(given)
    assert "hunter2" not in str(refused.value)


def test_a_mistyped_option_does_not_show_its_password(tmp_path: Path) -> None:
    words = ("--data", "data", "--out", str(tmp_path), "--tracking-url", "http://me:hunter2@host")
    done = run_command("init", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "http://***@host" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
