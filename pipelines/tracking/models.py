"""The anonymizer of a finished run as an MLflow model, which loads where this project is not installed.

It is made of the anonymizer's weights alone, without optimizer, adversaries and paths, and of the code of `stprivacy`.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import stprivacy
from pipelines.runs.folder import CHECKPOINTS, CONFIG, RESULT, read_json, write_json
from pipelines.text import redacted
from pipelines.tracking.datasets import TRAINING
from stprivacy.checkpoint import ABOUT, save
from stprivacy.deploy.load import FINAL, Trained, load_trained, weights_fingerprint, weights_prefix
from stprivacy.plain import to_dict
from stprivacy.run_files import read_result

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

MODEL_NAME, WEIGHTS_TAG = "anonymizer", "stprivacy.weights"
_LOADER = "stprivacy.deploy.pyfunc"
# What it imports; the project's other requirements are for training and evaluation.
_PACKAGES = ("torch", "einops", "numpy", "safetensors", "universal_pathlib", "av")
_EXAMPLE_SHAPE = (2, 8, 8, 3)


def log_anonymizer(client: "MlflowClient", run_id: str, folder: Path, params: Mapping[str, str]) -> None:
    """Log the final anonymizer of the run in `folder` as a model of its MLflow run, unless it is there.

    Whatever broke off earlier attempts, there is one model of these weights in the end. A run that trains no STPrivacy
    has none.

    Args: params: what the interface shows of the model.
    Raises: ValueError: the run has no usable weights; see stprivacy.deploy.load.load_trained.
    """
    config = read_json(folder / CONFIG)
    if config.get("phase") not in ("init", "adversarial") or config.get("anonymizer", "stprivacy") != "stprivacy":
        return
    run, weights = client.get_run(run_id), weights_fingerprint(folder)
    begun = _logged(client, run, weights)
    if not begun or begun[0].status != "READY":
        trained = load_trained(folder)  # raises before there is a model without files
        if begun:
            model = begun[0]
        else:
            model = client.create_logged_model(
                run.info.experiment_id, MODEL_NAME, run_id, tags={WEIGHTS_TAG: weights}, params=dict(params)
            )
        with tempfile.TemporaryDirectory(prefix="stprivacy-") as scratch:
            _write_model(trained, Path(scratch), model, run_id)
            client.log_model_artifacts(model.model_id, f"{scratch}/{MODEL_NAME}")
        client.finalize_logged_model(model.model_id, "READY")
    # Twins are made by requests whose answers were lost.
    kept, *twins = _logged(client, run, weights)
    for twin in twins:
        client.delete_logged_model(twin.model_id)
    _name_as_output(client, run, kept, int(read_result(folder).get(FINAL, 0)))
    _show_numbers(client, run, kept)


def requirements() -> list[str]:
    """What the model needs to be loaded, at the versions that are installed here, a requirement a line."""
    # A build's own suffix, as in 2.14.1+cpu, is not on PyPI.
    return [f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES]


def _logged(client: "MlflowClient", run: "Run", weights: str) -> "list[LoggedModel]":
    """The run's models of these weights, whole ones first, then in the order in which they were made."""
    query = f"source_run_id = '{run.info.run_id}' AND tags.`{WEIGHTS_TAG}` = '{weights}'"
    found = client.search_logged_models([run.info.experiment_id], query)
    return sorted(found, key=lambda model: (model.status != "READY", model.creation_timestamp, model.model_id))


def _name_as_output(client: "MlflowClient", run: "Run", model: "LoggedModel", step: int) -> None:
    from mlflow.entities import LoggedModelOutput

    named = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in {output.model_id for output in named}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step)])


def _show_numbers(client: "MlflowClient", run: "Run", model: "LoggedModel") -> None:
    """Make the run's last numbers the model's, too, with the data that it was trained on: its page shows both."""
    from mlflow.entities import Metric

    if model.metrics:
        return
    run_id, inputs = run.info.run_id, run.inputs.dataset_inputs if run.inputs else []
    data = next((one.dataset for one in inputs if any(tag.value.startswith(TRAINING) for tag in one.tags)), None)
    name, digest = (data.name, data.digest) if data else (None, None)
    histories = [client.get_metric_history(run_id, key) for key in run.data.metrics]
    last = [max(history, key=lambda number: (number.step, number.timestamp)) for history in histories]
    # With their own times and steps, they are no new numbers of the run.
    numbers = [Metric(x.key, x.value, x.timestamp, x.step, model.model_id, name, digest, run_id) for x in last]
    client.log_batch(run_id, numbers)


def _write_model(trained: Trained, scratch: Path, model: "LoggedModel", run_id: str) -> None:
    """Write the folder that MLflow loads, `scratch`/MODEL_NAME."""
    # Seconds: only who has a model to log pays them.
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    frames = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])
    run = _write_run(trained, scratch / "run")
    about = Model(redacted(model.artifact_location), run_id, model_uuid=model.model_id, model_id=model.model_id)
    pyfunc.save_model(
        scratch / MODEL_NAME,
        loader_module=_LOADER,
        data_path=str(run),
        code_paths=[str(Path(stprivacy.__file__).parent)],
        mlflow_model=about,
        model_config={"keep_ratio": trained.model.config.keep_ratio, "mask": "steady", "device": "cpu"},
        signature=ModelSignature(inputs=frames, outputs=frames),
        input_example=np.zeros(_EXAMPLE_SHAPE, np.uint8),
        pip_requirements=requirements(),
        uv_project_path=run,  # otherwise, the uv.lock of whatever project the job was started in is added
    )


def _write_run(trained: Trained, folder: Path) -> Path:
    """What stprivacy.deploy.load reads of a run folder, and nothing else of it."""
    network = trained.model.config
    settings = to_dict(replace(network, pretrained=""))  # a path on this machine
    weights = {weights_prefix(trained.phase) + name: tensor for name, tensor in trained.model.state_dict().items()}
    target = save(folder / CHECKPOINTS, 0, weights, {ABOUT: {"clip": to_dict(network.clip)}})
    write_json(folder / CONFIG, {"phase": trained.phase, "recipe": "", "anonymizer": "stprivacy", "model": settings})
    data = {"dataset": trained.dataset, "data_fingerprint": trained.data_fingerprint}
    write_json(folder / RESULT, {FINAL: target.name} | data)
    return folder
