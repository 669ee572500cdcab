"""Runs in a real SQLite store: parents, restarts, replays, flat keys, artifacts."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipelines.tracking.tracker import RUN_ID_FILE, TrackedRun, Tracker, TrackingError, default_tracking_uri, flatten
from tests.support.places import ROOT
from tests.support.tracking_fixtures import report


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose mlflow.db has its tables: making them takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    Tracker(default_tracking_uri(folder))
    return folder


@pytest.fixture
def tracker(store: Path) -> Tracker:
    return Tracker(default_tracking_uri(store))


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return MlflowClient(default_tracking_uri(store))


def steps(client: MlflowClient, run: TrackedRun, key: str = "loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.run_id, key)]


def get(client: MlflowClient, run: TrackedRun) -> Run:
    return client.get_run(run.run_id)


def test_phases_of_one_pipeline_are_runs_under_one_parent(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    runs = [tracker.run(tmp_path / name, name, {}) for name in ("init", "adversarial")]
    elsewhere = tracker.run(tmp_path / "other/init", "init", {})
    parents = [get(client, run).data.tags["mlflow.parentRunId"] for run in (*runs, elsewhere)]
    assert parents[0] == parents[1] != parents[2]
    assert [get(client, run).info.run_name for run in runs] == ["init", "adversarial"]
    assert client.get_run(parents[0]).info.run_name == tmp_path.name
    assert {get(client, run).info.experiment_id for run in runs} == {client.get_run(parents[0]).info.experiment_id}


def test_a_named_parent_gathers_runs_from_any_folder(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    first = tracker.run(tmp_path / "a/init", "init", {}, parent="user's demo")
    second = tracker.run(tmp_path / "b/adversarial", "adversarial", {}, parent="user's demo")
    first_parent, second_parent = (get(client, run).data.tags["mlflow.parentRunId"] for run in (first, second))
    assert first_parent == second_parent


def test_a_restarted_job_continues_its_run_and_logs_no_step_twice(
    tracker: Tracker, store: Path, client: MlflowClient, tmp_path: Path
) -> None:
    run = tracker.run(tmp_path / "init", "init", {"seed": 1})
    report(tmp_path / "init", "init", 0, 1)
    assert run.sync() == 4
    assert run.sync() == 0
    report(tmp_path / "init", "init", 2)
    again = Tracker(default_tracking_uri(store)).run(tmp_path / "init", "init", {"seed": 1})
    assert again.run_id == run.run_id == (tmp_path / "init" / RUN_ID_FILE).read_text().strip()
    assert again.sync() == 2
    assert steps(client, again) == [0, 1, 2]


def test_history_rewritten_on_resume_is_not_logged_again(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    run = tracker.run(tmp_path, "init", {})
    report(tmp_path, "init", 0, 1, 2, 3)
    run.sync()
    (tmp_path / "metrics.jsonl").unlink()
    report(tmp_path, "init", 0, 1)
    run.sync()
    report(tmp_path, "init", 2, 3, 4)
    run.sync()
    assert steps(client, run) == [0, 1, 2, 3, 4]


def test_a_replay_fills_what_an_interrupted_one_left_out(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    report(tmp_path, "init", *range(5))
    killed = tracker.run(tmp_path, "init", {})
    for step in (0, 1):
        client.log_metric(killed.run_id, "loss", float(step), step=step)
    client.log_metric(killed.run_id, "grad_norm", 1.0, step=0)
    resumed = tracker.run(tmp_path, "init", {})
    assert resumed.sync() == 7
    assert steps(client, resumed) == steps(client, resumed, "grad_norm") == [0, 1, 2, 3, 4]


def test_many_steps_are_logged_in_batches(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    report(tmp_path, "init", *range(1100))
    run = tracker.run(tmp_path, "init", {})
    assert run.sync() == 2200
    assert steps(client, run) == list(range(1100))


def test_a_line_being_written_waits_for_the_next_sync(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    run = tracker.run(tmp_path, "init", {})
    report(tmp_path, "init", 0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "init", "step": 1, "loss": 1')
    run.sync()
    assert steps(client, run) == [0]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("}\n")
    run.sync()
    assert steps(client, run) == [0, 1]


def test_a_damaged_line_is_named_and_the_rest_is_logged(
    tracker: Tracker, client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report(tmp_path, "init", 0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "init", "st{"phase"\n')
    report(tmp_path, "init", 1)
    run = tracker.run(tmp_path, "init", {})
    run.sync()
    assert steps(client, run) == [0, 1]
    assert "metrics.jsonl line 2" in caplog.text


def test_another_phase_in_the_same_folder_has_its_own_keys(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    report(tmp_path, "evaluate", 0, 1)
    report(tmp_path, "evaluate_whitened", 0, 1, value=5)
    run = tracker.run(tmp_path, "evaluate", {})
    run.sync()
    assert get(client, run).data.metrics == {
        "loss": 1.0,
        "grad_norm": 1.0,
        "evaluate_whitened/loss": 6.0,
        "evaluate_whitened/grad_norm": 1.0,
    }


def test_a_run_of_another_store_is_replayed_into_a_new_one(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / RUN_ID_FILE).write_text("0123456789abcdef0123456789abcdef\n")
    report(tmp_path, "init", 0, 1)
    run = tracker.run(tmp_path, "init", {})
    run.sync()
    assert run.run_id == (tmp_path / RUN_ID_FILE).read_text().strip()
    assert steps(client, run) == [0, 1]


def test_config_becomes_flat_parameters_with_the_compared_ones_on_top(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    config: dict[str, Any] = {
        "seed": 3,
        "anonymizer": "stprivacy",
        "model": {"keep_ratio": 0.7, "clip": {"tubelet_frames": 2}, "stage_depths": (1, 1, 1)},
        "optim": {"amp": False},
    }
    run = tracker.run(tmp_path, "init", config)
    assert get(client, run).data.params == {
        "seed": "3",
        "anonymizer": "stprivacy",
        "keep_ratio": "0.7",
        "tubelet_frames": "2",
        "model.keep_ratio": "0.7",
        "model.clip.tubelet_frames": "2",
        "model.stage_depths": "[1, 1, 1]",
        "optim.amp": "false",
    }


def test_a_top_level_parameter_is_not_guessed_from_two_values() -> None:
    assert "seed" not in flatten({"data": {"seed": 1}, "model": {"seed": 2}})


def test_a_setting_changed_on_restart_is_kept_in_a_tag(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    tracker.run(tmp_path, "init", {"epochs": 80})
    run = tracker.run(tmp_path, "init", {"epochs": 100, "amp": True})
    assert get(client, run).data.params == {"epochs": "80", "amp": "true"}
    assert get(client, run).data.tags["stprivacy.changed_parameters"] == "epochs: 80 -> 100"


def test_more_parameters_than_one_request_takes_are_logged(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    run = tracker.run(tmp_path, "init", {f"p{i}": i for i in range(130)})
    assert len(get(client, run).data.params) == 130


def test_result_is_logged_flat_once_and_its_latest_value_shows(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    run = tracker.run(tmp_path, "evaluate", {"seed": 3})
    result = {
        "action_top1": 90.5,
        "privacy_ap_rosy (cheeks)": 61.0,
        "attacker": "whitened",
        "seed": 3,
        "keep_ratio": 0.7,
    }
    run.log_result(result)
    tracker.run(tmp_path, "evaluate", {"seed": 3}).log_result(result)
    assert get(client, run).data.metrics == {"action_top1": 90.5, "privacy_ap_rosy _cheeks_": 61.0}
    assert get(client, run).data.params == {"attacker": "whitened", "seed": "3", "keep_ratio": "0.7"}
    assert steps(client, run, "action_top1") == [0]
    run.log_result(result | {"action_top1": 88.0})
    assert get(client, run).data.metrics["action_top1"] == 88.0


def test_figures_and_files_are_kept_as_artifacts_beside_the_database(
    tracker: Tracker, store: Path, client: MlflowClient, tmp_path: Path
) -> None:
    run = tracker.run(tmp_path, "init", {})
    figure = Figure()
    figure.subplots().plot([0, 1])
    run.log_figure(figure, "curves.png")
    (tmp_path / "config.json").write_text("{}")
    run.log_file(tmp_path / "config.json")
    kept = {file.path for folder in ("", "figures") for file in client.list_artifacts(run.run_id, folder)}
    assert {"figures/curves.png", "config.json"} <= kept
    assert (store / "mlartifacts" / run.run_id / "artifacts/figures/curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_ends_as_its_phase_did(tracker: Tracker, client: MlflowClient, tmp_path: Path) -> None:
    with tracker.run(tmp_path / "good", "init", {}) as good:
        report(tmp_path / "good", "init", 0)
        assert get(client, good).info.status == "RUNNING"
    assert get(client, good).info.status == "FINISHED"
    assert steps(client, good) == [0]
    with pytest.raises(RuntimeError), tracker.run(tmp_path / "bad", "init", {}) as bad:
        raise RuntimeError
    assert get(client, bad).info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt), tracker.run(tmp_path / "stopped", "init", {}) as stopped:
        raise KeyboardInterrupt
    assert get(client, stopped).info.status == "KILLED"
    parent = get(client, good).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.status == "KILLED"
    resumed = tracker.run(tmp_path / "bad", "init", {})
    assert get(client, resumed).info.status == client.get_run(parent).info.status == "RUNNING"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_a_folder_is_refused_as_store(uri: str) -> None:
    with pytest.raises(TrackingError, match="sqlite:///FILE"):
        Tracker(uri)


def test_a_new_store_is_made_without_a_word(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pipelines.tracking.tracker import Tracker, default_tracking_uri\n"
        "assert 'mlflow' not in sys.modules\n"
        "ROOT = Path(sys.argv[1])\n"
        "with Tracker(default_tracking_uri(ROOT / 'new')).run(ROOT / 'init', 'init', {}): pass"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "new/mlflow.db").is_file()


def test_mlflow_stays_at_warnings(tracker: Tracker) -> None:
    assert logging.getLogger("alembic").level == logging.getLogger("mlflow").level == logging.WARNING
