"""The network that a finished run left in its folder, without Ray: for deployment."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stprivacy.checkpoint import check_about, load_latest, load_weights, weights_digest
from stprivacy.config import ModelConfig, from_dict, to_dict
from stprivacy.models.anonymizer import STPrivacy

_PHASES = ("init", "adversarial")


@dataclass(frozen=True)
class Trained:
    """STPrivacy in evaluation mode, and where it comes from.

    `digest` is that of its weights, `data` where the data set that it was trained on lay then, `dataset` its name and
    `data_fingerprint` its fingerprint.
    """

    model: STPrivacy
    digest: str
    phase: str
    data: str
    dataset: str
    data_fingerprint: str


def load_trained(folder: Path) -> Trained:
    """STPrivacy of the finished init or adversarial run in `folder`, from its newest whole checkpoint.

    Raises: ValueError: no run, one that is not finished, of another phase or another anonymizer, or whose weights do
        not fit its settings. CheckpointError: every checkpoint is damaged.
    """
    config = _read(
        folder, "config.json", "is not a run folder: it has no config.json. Give the --out of an earlier job"
    )
    if config["phase"] not in _PHASES:
        raise ValueError(f"{folder} is an {config['phase']} run: it holds no network. Give an init or adversarial run")
    if config["anonymizer"] != "stprivacy":
        raise ValueError(f"{folder} trained {config['anonymizer']}, which cannot be deployed: give a run of stprivacy")
    result = _read(folder, "result.json", "has no result.json: that run is not finished. Run its job again first")
    checkpoint = load_latest(folder / "checkpoints", warn=lambda message: None)
    if checkpoint is None:
        raise ValueError(f"{folder} has no checkpoint: run its job again")
    settings = from_dict(ModelConfig, config["model"])
    check_about(checkpoint, {"clip": to_dict(settings.clip)})
    model = STPrivacy(settings).eval()
    load_weights(model, checkpoint, weights_prefix(config["phase"]))
    named = (config["phase"], config["data"], result["dataset"], result["data_fingerprint"])
    return Trained(model, weights_digest(model.state_dict()), *named)


def _read(folder: Path, name: str, complaint: str) -> Any:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder} {complaint}")
    return json.loads(path.read_text(encoding="utf-8"))


def weights_prefix(phase: str) -> str:
    """What the names of STPrivacy's weights begin with in a checkpoint of an init or adversarial run."""
    # In its own phase 1, STPrivacy carries a classification head.
    return "self_recognizer.anonymizer." if phase == "init" else "anonymizer."
