"""The data sets that a run is made from, as MLflow shows them: name, state, place, and what for."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow.data
import pytest
from botocore.exceptions import EndpointConnectionError
from mlflow.entities import DatasetInput

from pipelines.data.index import read_description
from pipelines.runs.config import AdversarialRun, EvaluateRun, RunBase
from pipelines.runs.folder import write_json
from pipelines.runs.inputs import present_inputs
from pipelines.tracking import datasets
from pipelines.tracking.datasets import dataset_inputs
from stprivacy.plain import to_dict
from tests.support.model_fixtures import Tracked
from tests.support.shard_fixtures import write_tiny_dataset

TRAINING = AdversarialRun(recipe="tiny"), {"data": "training", "exclude": "excluded"}
EVALUATION = EvaluateRun(recipe="tiny", anonymizer="raw"), {"data": "evaluation", "action_data": "training"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three data sets, by the setting that names them."""
    folder = tmp_path_factory.mktemp("data")
    return {
        name: write_tiny_dataset(folder / name, videos=4, test_videos=2, seed=seed, dataset=f"tiny-{name}")
        for seed, name in enumerate(("data", "exclude", "action_data"))
    }


def finished(folder: Path, run: RunBase) -> Path:
    """A run folder of which nothing but settings and result is looked at here."""
    folder.mkdir()
    write_json(folder / "config.json", to_dict(run))
    write_json(folder / "result.json", {"action_top1": 50.0})
    return folder


def contexts(inputs: list[DatasetInput]) -> dict[str, str]:
    return {one.dataset.name: one.tags[0].value for one in inputs}


@pytest.mark.parametrize(("run", "purposes"), [TRAINING, EVALUATION], ids=["adversarial", "evaluate"])
def test_every_data_set_of_a_run_is_an_input_at_its_state(
    data: dict[str, Path], store: Path, tmp_path: Path, run: RunBase, purposes: dict[str, str]
) -> None:
    run = replace(run, **{name: str(data[name]) for name in purposes})
    tracked = Tracked(finished(tmp_path / "run", run), store).follow()
    inputs = tracked.run.inputs.dataset_inputs
    assert {tag.key for one in inputs for tag in one.tags} == {"mlflow.data.context"}
    assert contexts(inputs) == {f"tiny-{name}": purpose for name, purpose in purposes.items()}
    for one in inputs:
        folder = data[one.dataset.name.removeprefix("tiny-")]
        fingerprint = read_description(folder).fingerprint
        assert one.dataset.digest == fingerprint[:36]
        assert json.loads(one.dataset.profile or "") == {
            "rows": 6,
            "train": 4,
            "test": 2,
            "fingerprint": fingerprint,
            "actions": ["down", "up"],
            "attributes": ["skin_color", "face", "gender", "nudity", "relationship"],
        }
        assert mlflow.data.get_source(one).load() == str(folder)
    assert len(tracked.follow().run.inputs.dataset_inputs) == len(purposes)


@pytest.mark.parametrize("phase", ["init", "adversarial"])
def test_the_data_of_a_training_phase_are_for_training(data: dict[str, Path], phase: str) -> None:
    found = present_inputs({"data": str(data["data"]), "exclude": ""})
    assert contexts(dataset_inputs(found, phase)) == {"tiny-data": "training"}


def test_a_data_set_that_two_settings_name_has_both_contexts(data: dict[str, Path]) -> None:
    found = present_inputs({"data": str(data["data"]), "exclude": str(data["data"])})
    assert contexts(dataset_inputs(found, "adversarial")) == {"tiny-data": "training, excluded"}


def test_a_run_is_shown_with_the_data_that_it_was_made_from_not_with_those_that_lie_there_now(
    data: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(data["data"], tmp_path / "data")
    found = present_inputs({"data": str(folder)})
    shutil.rmtree(folder)
    write_tiny_dataset(folder, videos=9, test_videos=9, dataset="tiny-data")
    (one,) = dataset_inputs(found, "init")
    fingerprint = read_description(data["data"]).fingerprint
    assert one.dataset.digest == fingerprint[:36]
    assert json.loads(one.dataset.profile or "") == {"rows": 6, "fingerprint": fingerprint}


def test_a_place_in_an_object_store_is_named_without_what_opens_it() -> None:
    found = {"data": {"path": "gs://bucket/data?token=hunter2", "dataset": "d", "fingerprint": "0" * 64}}
    (one,) = dataset_inputs(found, "init")
    assert one.dataset.source_type == "gs"
    assert json.loads(one.dataset.source) == {"uri": "gs://bucket/data?token=***"}


def test_data_whose_store_does_not_answer_are_known_by_what_the_run_has_noted(
    data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1")

    found = present_inputs({"data": str(data["data"])})
    monkeypatch.setattr(datasets, "read_json", fail)
    (one,) = dataset_inputs(found, "init")
    assert json.loads(one.dataset.profile or "")["rows"] == 6
