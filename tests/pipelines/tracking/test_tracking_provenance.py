"""What each tracked run tells of its making, and what the machine did meanwhile."""

import importlib.metadata
import subprocess
import threading
import time
from pathlib import Path

import pytest
import ray  # noqa: F401  # brings psutil along, as in every driver
from mlflow.tracking import MlflowClient

from pipelines.tracking import provenance
from pipelines.tracking.tracker import Tracker, default_tracking_uri
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    Tracker(default_tracking_uri(folder))
    return folder


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_keeps_commit_and_installed_versions(store: Path, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the source is not under git")
    run = Tracker(default_tracking_uri(store)).run(tmp_path / "init", "init", {})
    client = MlflowClient(default_tracking_uri(store))
    tags = client.get_run(run.run_id).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    assert tags["stprivacy.git_dirty"] == str(changed).lower()
    kept = store / "mlartifacts" / run.run_id / "artifacts/environment.txt"
    assert f"torch=={importlib.metadata.version('torch')}" in kept.read_text().splitlines()


def test_without_git_there_is_no_commit_and_no_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    provenance.source_tags.cache_clear()
    monkeypatch.setattr(provenance, "_SOURCE", tmp_path / "provenance.py")
    assert provenance.source_tags() == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    provenance.source_tags.cache_clear()
    assert provenance.source_tags() == {}
    provenance.source_tags.cache_clear()
    assert capfd.readouterr() == ("", "")


def test_experiments_open_as_training_runs_also_older_ones(store: Path) -> None:
    client = MlflowClient(default_tracking_uri(store))
    older = client.create_experiment("older")
    Tracker(default_tracking_uri(store), "older")
    new = client.get_experiment_by_name("stprivacy")
    assert new
    kinds = [client.get_experiment(key).tags["mlflow.experimentKind"] for key in (older, new.experiment_id)]
    assert kinds == ["custom_model_development"] * 2
    client.set_experiment_tag(older, "mlflow.experimentKind", "genai_development")
    Tracker(default_tracking_uri(store), "older")
    assert client.get_experiment(older).tags["mlflow.experimentKind"] == "genai_development"


def test_the_parent_run_keeps_the_machines_load_across_restarts(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    for _ in range(2):
        tracker = Tracker(default_tracking_uri(store))
        with tracker.pipeline("load"):
            run = tracker.run(tmp_path / "init", "init", {}, "load")
            time.sleep(1)
            run.finish()
        assert "system-metrics" not in {thread.name for thread in threading.enumerate()}
    client = MlflowClient(default_tracking_uri(store))
    parent = client.get_run(run.run_id).data.tags["mlflow.parentRunId"]
    logged = client.get_metric_history(parent, "system/cpu_utilization_percentage")
    assert len(logged) >= 2
    assert [metric.step for metric in logged] == list(range(len(logged)))
    assert "system/disk_usage_percentage" in client.get_run(parent).data.metrics


def test_a_machine_that_cannot_be_measured_stops_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise OSError("no /proc")

    monkeypatch.setattr("pipelines.tracking.system_metrics._monitor", broken)
    tracker = Tracker(default_tracking_uri(store))
    with tracker.pipeline("unmeasured"), tracker.run(tmp_path / "init", "init", {}, "unmeasured"):
        time.sleep(0.2)
    assert "no system metrics from here on: no /proc" in caplog.text
