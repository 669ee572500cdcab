"""The anonymizer of a tracked run as an MLflow model: loaded, served, logged once, and standing alone."""

import os
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import safetensors.torch
import torch
from mlflow.exceptions import MlflowException, RestException
from numpy.typing import NDArray

import stprivacy
from pipelines.tracking import outages
from pipelines.tracking.models import requirements
from stprivacy.checkpoint import save, weights_digest
from stprivacy.deploy.load import load_trained
from tests.support.model_fixtures import FRAMES, Tracked, failing, lose_the_connection, serving
from tests.support.release_fixtures import flip


@pytest.fixture(scope="module")
def tracked(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """The run, tracked; it stays as it is."""
    folder = tmp_path_factory.mktemp("tracked")
    return Tracked(Path(shutil.copytree(run, folder / "run")), folder).follow()


@pytest.fixture
def untracked(run: Path, tracked: Tracked, tmp_path: Path) -> Tracked:
    """The run, about to be tracked in the same store."""
    return Tracked(Path(shutil.copytree(run, tmp_path / "run")), tracked.store)


@pytest.fixture(autouse=True)
def few_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages are short, and what loading a model adds to the path goes again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(outages, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(outages, "LONGEST_WAIT_SECONDS", 0.05)


@pytest.fixture
def loaded(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model as a user of MLflow loads it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.uri)
    return mlflow.pyfunc.load_model(f"runs:/{tracked.run.info.run_id}/anonymizer")


def released(run: Path) -> NDArray[np.uint8]:
    return stprivacy.load(run)(FRAMES)


def test_the_model_that_is_loaded_back_is_the_trained_anonymizer_bit_for_bit(tracked: Tracked, loaded: Any) -> None:
    out = loaded.predict(FRAMES)
    assert out.dtype == np.uint8
    assert np.array_equal(out, released(tracked.folder))
    assert out.shape == FRAMES.shape
    assert out.any()


def test_options_of_the_library_are_the_models_configuration(tracked: Tracked) -> None:
    (model,) = tracked.models
    loaded = mlflow.pyfunc.load_model(model.artifact_location, model_config={"keep_ratio": 1.0, "mask": "clip"})
    wanted = stprivacy.load(tracked.folder, keep_ratio=1.0, mask="clip")(FRAMES)
    assert np.array_equal(loaded.predict(FRAMES), wanted)
    assert not np.array_equal(wanted, released(tracked.folder))


@pytest.mark.parametrize(
    "frames",
    [FRAMES.astype(np.float32), FRAMES.astype(np.int64), FRAMES[0], FRAMES[..., :2]],
    ids=["float32", "int64", "one frame", "two channels"],
)
def test_what_the_signature_does_not_allow_is_refused(loaded: Any, frames: NDArray[Any]) -> None:
    with pytest.raises(MlflowException, match="Failed to enforce schema"):
        loaded.predict(frames)


def test_the_run_has_one_model_which_shows_what_runs_are_compared_by(tracked: Tracked) -> None:
    (model,) = tracked.models
    assert (model.name, model.status) == ("anonymizer", "READY")
    assert {"anonymizer": "stprivacy", "keep_ratio": "0.7", "seed": "0"}.items() <= model.params.items()
    assert tracked.run.outputs
    assert [(one.model_id, one.step) for one in tracked.run.outputs.model_outputs] == [(model.model_id, 3)]
    assert tracked.said == []
    assert mlflow.active_run() is None


def test_the_model_shows_the_runs_last_numbers_and_what_it_was_trained_on(tracked: Tracked) -> None:
    (model,) = tracked.models
    (data,) = tracked.run.inputs.dataset_inputs
    assert model.metrics
    assert {metric.key: metric.value for metric in model.metrics} == tracked.run.data.metrics
    assert {(metric.dataset_name, metric.dataset_digest) for metric in model.metrics} == {
        (data.dataset.name, data.dataset.digest)
    }
    for key in tracked.run.data.metrics:
        assert len(tracked.client.get_metric_history(tracked.run.info.run_id, key)) == 1


def test_the_model_holds_the_weights_of_the_anonymizer_and_nothing_of_the_machine(tracked: Tracked) -> None:
    folder = Path(tracked.models[0].artifact_location.removeprefix("file://"))
    kept, own = load_trained(folder / "data/run"), load_trained(tracked.folder)
    assert weights_digest(kept.model.state_dict()) == own.digest
    assert (kept.dataset, kept.data_fingerprint) == (own.dataset, own.data_fingerprint)
    (weights,) = folder.rglob("model.safetensors")
    assert weights.stat().st_size < sum(4 * x.numel() for x in own.model.state_dict().values()) + 50_000
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "MLmodel"]
    assert not any(os.fsencode(place) in text for text in texts for place in (tracked.folder, own.data, sys.prefix))
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert lines == [f"mlflow=={mlflow.__version__}", *requirements()]
    assert all("==" in line and "+" not in line for line in lines)


def test_tracking_the_same_run_again_adds_nothing(untracked: Tracked) -> None:
    first = untracked.follow()
    before = first.run.to_dictionary(), [model.to_dictionary() for model in first.models]
    again = Tracked(first.folder, first.store).follow()
    after = again.run.to_dictionary(), [model.to_dictionary() for model in again.models]
    for run, _ in (before, after):
        del run["info"]["end_time"]
    assert before == after
    assert again.said == []


@pytest.mark.parametrize("late", [False, True], ids=["not done", "done, but the answer was lost"])
@pytest.mark.parametrize(
    "name",
    ["create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs", "log_inputs", "log_batch"],
)
def test_a_request_that_fails_is_repeated_and_done_once(
    untracked: Tracked, monkeypatch: pytest.MonkeyPatch, name: str, late: bool
) -> None:
    failing(monkeypatch, name, 1, lose_the_connection, late)
    untracked.follow()
    assert [model.status for model in untracked.models] == ["READY"]
    assert untracked.run.outputs
    assert len(untracked.run.outputs.model_outputs) == len(untracked.run.inputs.dataset_inputs) == 1
    assert len(untracked.models[0].metrics or []) == len(untracked.run.data.metrics)
    assert untracked.run.info.status == "FINISHED"
    assert untracked.said == [untracked.said[0]]
    assert "does not work now (connection broken off)" in untracked.said[0]


def test_a_driver_that_was_killed_in_the_upload_leaves_one_model_to_the_next(
    untracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        failing(patch, "log_model_artifacts", 1, kill, late=False)
        with pytest.raises(KeyboardInterrupt):
            untracked.follow()
    (begun,) = untracked.models
    assert begun.status == "PENDING"
    (model,) = untracked.follow().models
    assert (model.model_id, model.status) == (begun.model_id, "READY")
    assert Path(model.artifact_location.removeprefix("file://"), "MLmodel").is_file()


def test_what_a_slow_server_makes_twice_is_there_once(untracked: Tracked) -> None:
    (model,) = untracked.follow().models
    untracked.client.create_logged_model(
        model.experiment_id, model.name, model.source_run_id, tags=dict(model.tags), params=dict(model.params)
    )
    (left,) = untracked.follow().models
    assert left.model_id == model.model_id


def test_other_weights_in_the_same_folder_are_another_model(untracked: Tracked) -> None:
    (first,) = untracked.follow().models
    scale_weights(untracked.folder / "checkpoints/000003")
    found = untracked.follow().models
    assert len(found) == 2
    assert first.model_id in {model.model_id for model in found}


def scale_weights(checkpoint: Path) -> None:
    weights = safetensors.torch.load_file(checkpoint / "model.safetensors")
    scaled = {name: 1.5 * x if x.is_floating_point() else x for name, x in weights.items()}
    about = torch.load(checkpoint / "state.pt", weights_only=True)
    save(checkpoint.parent, int(checkpoint.name), scaled, about)


def no_such_endpoint() -> None:
    raise RestException({"error_code": "ENDPOINT_NOT_FOUND", "message": "no logged models here"})


def full_disk() -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("fail", "why"), [(no_such_endpoint, "no logged models here"), (full_disk, "No space left")])
def test_a_store_that_cannot_keep_models_has_all_else_of_the_run(
    untracked: Tracked, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None], why: str
) -> None:
    failing(monkeypatch, "create_logged_model", 99, fail, late=False)
    untracked.follow()
    (said,) = untracked.said
    assert said.startswith("init: its anonymizer is not a model in MLflow (")
    assert why in said
    assert untracked.run.info.status == "FINISHED"
    assert untracked.models == []


def test_damaged_weights_are_no_model_and_end_nothing(untracked: Tracked) -> None:
    flip(untracked.folder / "checkpoints/000003/model.safetensors")
    untracked.follow()
    (said,) = untracked.said
    assert "000003: model.safetensors does not match its checksum" in said
    assert "delete that folder" in said
    assert untracked.models == []
    assert untracked.run.info.status == "FINISHED"


@pytest.mark.parametrize("changes", [{"phase": "evaluate"}, {"anonymizer": "vita"}], ids=str)
def test_a_run_without_an_anonymizer_of_its_own_has_no_model(untracked: Tracked, changes: dict[str, Any]) -> None:
    untracked.change("config.json", **changes)
    untracked.follow()
    assert untracked.models == []
    assert untracked.said == []


def test_a_lock_file_of_the_users_own_project_is_not_logged(
    untracked: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    (model,) = untracked.follow().models
    assert not list(Path(model.artifact_location.removeprefix("file://")).glob("*.lock"))


# The project is not found, nor what only training and evaluation need.
ALONE = """
import sys
for name in ("pipelines", "ray", "timm", "torchvision", "torchmetrics", "pymoo", "cv2"):
    sys.modules[name] = None
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path.remove("")
try:
    import stprivacy
except ImportError:
    import mlflow.pyfunc, numpy
    model = mlflow.pyfunc.load_model(sys.argv[1])
    numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[2])))
    import stprivacy
    print(stprivacy.__file__)
"""


def test_the_model_loads_where_the_project_is_not_installed(tracked: Tracked, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", FRAMES)
    (model,) = tracked.models
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, model.artifact_location, str(tmp_path / "frames.npy")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("/code/stprivacy/__init__.py\n")
    assert "mismatch" not in done.stderr
    assert np.array_equal(np.load(tmp_path / "frames.npy"), released(tracked.folder))


@pytest.mark.slow
def test_mlflow_serves_the_model(tracked: Tracked, tmp_path: Path) -> None:
    uri = f"runs:/{tracked.run.info.run_id}/anonymizer"
    with serving(uri, tracked.uri, tmp_path) as predict:
        out = predict({"inputs": FRAMES.tolist()})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            predict({"inputs": (FRAMES.astype(int) + 256).tolist()})
    assert np.array_equal(np.array(out, np.uint8), released(tracked.folder))
