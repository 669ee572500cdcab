"""The data sets of a run as MLflow shows them: which one, at which state, and what for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.runs.folder import CONFIG, DESCRIPTION, read_json
from pipelines.runs.inputs import Input, trained_on
from pipelines.text import redacted
from stprivacy.storage import absolute_location, is_uri, location

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.tracking import MlflowClient

# MLflow's limit; the profile has the whole fingerprint.
DIGEST_CHARACTERS = 36
TRAINING = "training"
_CONTEXT_TAG = "mlflow.data.context"
_COUNTS = ("rows", "train", "test")


def log_datasets(client: "MlflowClient", run_id: str, folder: Path) -> None:
    """Log the data sets of the run in `folder` as inputs of its MLflow run; those that it has stay as they are."""
    inputs = dataset_inputs(trained_on(folder), str(read_json(folder / CONFIG).get("phase", "")))
    if inputs:
        client.log_inputs(run_id, inputs)


def dataset_inputs(found: Mapping[str, Input], phase: str) -> "list[DatasetInput]":
    """Data sets, by the setting that names them, as inputs; one that several settings name has all their contexts."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    contexts = {"data": "evaluation" if phase == "evaluate" else TRAINING, "exclude": "excluded"}
    made: dict[tuple[str, str], DatasetInput] = {}
    for setting, data in found.items():
        context, (kind, source) = contexts.get(setting, TRAINING), _source(str(data.get("path", "")))
        name, digest = str(data.get("dataset", setting)), str(data["fingerprint"])[:DIGEST_CHARACTERS]
        if before := made.get((name, digest)):
            context = f"{before.tags[0].value}, {context}"
        dataset = before.dataset if before else Dataset(name, digest, kind, source, profile=_profile(data))
        made[name, digest] = DatasetInput(dataset, [InputTag(_CONTEXT_TAG, context)])
    return list(made.values())


def _source(path: str) -> tuple[str, str]:
    """What MLflow calls the kind of a source, and the source as JSON: mlflow.data.get_source reads them."""
    if is_uri(path):
        return path.partition("://")[0], json.dumps({"uri": redacted(path)})
    return "local", json.dumps({"uri": str(absolute_location(Path(path)))})


def _profile(data: Input) -> str:
    """Counts and names as JSON, what is short first: the interface cuts it where it lists runs."""
    described = _description(data)
    counts = described.get("counts", {})
    known = {name: counts[name] for name in _COUNTS if name in counts}
    if not known and "rows" in data:
        known = {"rows": data["rows"]}
    names = {"actions": described.get("action_names"), "attributes": described.get("attribute_names")}
    return json.dumps(known | {"fingerprint": data["fingerprint"]} | {k: v for k, v in names.items() if v})


def _description(data: Input) -> dict[str, Any]:
    """dataset.json, as long as it is that of the data set that the run was made from."""
    try:
        described = read_json(location(str(data.get("path", ""))) / DESCRIPTION)
    except Exception:  # gone or damaged, or a store's own errors: what counts the run has noted
        return {}
    return described if described.get("fingerprint") == data["fingerprint"] else {}
