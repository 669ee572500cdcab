"""The demo, small: all phases, the table, the strip, MLflow; and a second call that does nothing."""

import json
from pathlib import Path

import matplotlib.image
import pytest
from mlflow.tracking import MlflowClient

from tests.support.command_fixtures import Done, run_command

pytestmark = pytest.mark.slow


def run_demo(out: Path) -> Done:
    return run_command("demo", "--out", str(out), "--train-videos", "32", "--test-videos", "24", cwd=out.parent)


@pytest.fixture(scope="module")
def demo(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    out = tmp_path_factory.mktemp("demo") / "demo"
    return out, run_demo(out)


def test_it_prints_the_table_with_floors_and_the_command_for_mlflow(
    demo: tuple[Path, Done],
) -> None:
    out, done = demo
    assert done.returncode == 0, done.stderr
    for text in ("raw", "initialised", "STPrivacy", "floor", "top-1", "cMAP", "F1"):
        assert text in done.stdout
    assert f"mlflow server --backend-store-uri sqlite:///{out / 'mlflow.db'}" in done.stdout
    assert "56 videos in = 56 rows + 0 quarantined\n  split 1: 32 train, 24 test, 0 unused" in done.stderr
    table = (out / "report" / "table.md").read_text()
    assert table.count("\n| ") >= 4
    strip = matplotlib.image.imread(out / "report" / "strip.png")
    assert min(strip.shape[:2]) > 300


def test_results_have_the_flat_keys_and_mlflow_one_run_a_phase(
    demo: tuple[Path, Done],
) -> None:
    out, _ = demo
    result = json.loads((out / "runs" / "evaluate-stprivacy" / "result.json").read_text())
    for key in ("action_top1", "privacy_cmap", "privacy_f1", "privacy_auc", "privacy_ap_face", "privacy_cmap_whitened"):
        assert result[f"{key}_low"] <= result[key] <= result[f"{key}_high"]
    parameters = {"anonymizer": "stprivacy", "protocol": "known", "dataset": "vp-synth", "keep_ratio": 0.7, "seed": 0}
    assert parameters.items() <= result.items()
    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    (experiment,) = [x for x in client.search_experiments() if x.name == "stprivacy"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.run_name for run in parents] == ["demo"]
    assert len(runs) == 6  # the parent, two phases of training, three evaluations
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_second_call_does_nothing_again(demo: tuple[Path, Done]) -> None:
    out, _ = demo
    kept = [
        *out.rglob("*.mp4"),
        *out.rglob("*.parquet"),
        *out.rglob("*.safetensors"),
        *(out / "runs").rglob("result.json"),
    ]
    before = {path: path.stat().st_mtime_ns for path in kept}
    done = run_demo(out)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == before
