"""The network that a finished run left in its folder, without Ray: for deployment, for phase 2 and for its test."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stprivacy.anonymizers import LEARNED, Learned
from stprivacy.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_about,
    check_weights,
    load_weights,
    newest_whole,
    weights_digest,
)
from stprivacy.checkpoint_files import newest_first, recorded_digest
from stprivacy.config import ModelConfig
from stprivacy.models.anonymizer import STPrivacy
from stprivacy.plain import from_dict, to_dict
from stprivacy.run_files import CHECKPOINTS, CONFIG, DAMAGED, RESULT, read_object, read_result

FINAL = "checkpoint"  # in result.json: the step of the weights that are the run's result
_PHASES = ("init", "adversarial")

Warn = Callable[[str], None]


def print_warning(message: str) -> None:
    """Tell whoever runs the program."""
    print(f"warning: {message}", file=sys.stderr)


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


def load_trained(folder: Path, allow_older_weights: bool = False, warn: Warn = print_warning) -> Trained:
    """STPrivacy of the finished init or adversarial run in `folder`.

    Args: see `load_anonymizer`.
    Raises: ValueError: as `load_anonymizer`, or a run of another anonymizer.
    """
    run = _read_run(folder)
    if run.anonymizer != "stprivacy":
        raise ValueError(f"{folder} trained {run.anonymizer}, which cannot be deployed: give a run of stprivacy")
    model = _load(run, (), allow_older_weights, warn)
    assert isinstance(model, STPrivacy)
    named = (str(run.result.get(name, "")) for name in ("dataset", "data_fingerprint"))
    return Trained(model.eval(), weights_digest(model.state_dict()), run.phase, run.data, *named)


def load_anonymizer(
    folder: Path, attribute_names: Sequence[str] = (), allow_older_weights: bool = False, warn: Warn = print_warning
) -> Learned:
    """The anonymizer of the finished init or adversarial run in `folder`.

    Args:
        folder: of the run
        attribute_names: if given, those that an adversarial run must have been trained against
        allow_older_weights: take those of an earlier step where the final ones are damaged
        warn: gets a sentence where that happens

    Raises: ValueError: no run, one that is not finished or of another phase, one of other attributes, or weights that
        do not fit its settings. CheckpointError: the final checkpoint, or without it every one, is damaged.
    """
    return _load(_read_run(folder), attribute_names, allow_older_weights, warn)


def check_trained(folder: Path, allow_older_weights: bool) -> None:
    """Check that `load_anonymizer` finds a finished run with whole weights. Raises: ValueError: as that does."""
    _final_checkpoint(_read_run(folder), allow_older_weights, lambda message: None)


def weights_fingerprint(folder: Path) -> str:
    """What identifies the final weights of the finished run in `folder`; empty if there are none."""
    result = read_result(folder)
    found = newest_first(folder / CHECKPOINTS) if result else []
    named = [path for path in found if path.name == result.get(FINAL, path.name)]
    return recorded_digest(named[0]) if named else ""


def weights_prefix(phase: str) -> str:
    """What the names of STPrivacy's weights begin with in a checkpoint of an init or adversarial run."""
    # In its own phase 1, STPrivacy carries a classification head.
    return "self_recognizer.anonymizer." if phase == "init" else "anonymizer."


@dataclass(frozen=True)
class _Run:
    """What the folder of a finished run says of it."""

    folder: Path
    phase: str
    anonymizer: str
    data: str
    model: ModelConfig
    result: Mapping[str, Any]


def _read_run(folder: Path) -> _Run:
    config = read_object(folder / CONFIG)
    if not config:
        raise ValueError(f"{folder} is not a run folder: it has no {CONFIG}. Give the --out of an earlier job")
    phase, anonymizer = str(config.get("phase", "")), str(config.get("anonymizer", "stprivacy"))
    if phase not in _PHASES:
        raise ValueError(f"{folder} is an {phase} run: it holds no anonymizer. Give an init or adversarial run")
    if anonymizer not in LEARNED:
        raise ValueError(f"{folder / CONFIG}: anonymizer {anonymizer} is not one that is trained, {', '.join(LEARNED)}")
    result = read_result(folder)
    if not result:
        raise ValueError(f"{folder} has no {RESULT}: that run is not finished. Run its job again first")
    try:
        model = from_dict(ModelConfig, config.get("model", {}), "model.")
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} cannot be used: {error}") from error
    return _Run(folder, phase, anonymizer, str(config.get("data", "")), model, result)


def _load(run: _Run, attribute_names: Sequence[str], allow_older_weights: bool, warn: Warn) -> Learned:
    checkpoint = _final_checkpoint(run, allow_older_weights, warn)
    expected: dict[str, Any] = {"clip": to_dict(run.model.clip)}
    if attribute_names and run.phase == "adversarial":
        expected["attributes"] = list(attribute_names)
    check_about(checkpoint, expected)
    prefix = weights_prefix(run.phase if run.anonymizer == "stprivacy" else "adversarial")
    _check_size(run, checkpoint, prefix)
    model = LEARNED[run.anonymizer](run.model)  # type: ignore[index]  # _read_run has looked
    load_weights(model, checkpoint, prefix)
    return model


def _check_size(run: _Run, checkpoint: Checkpoint, prefix: str) -> None:
    """Check that the network of the settings has the checkpoint's weights before memory is taken for it."""
    fault = ""
    if sum(run.model.stage_depths) + run.model.anonymizer_depth > len(checkpoint.model):
        fault = f"it has more layers than {checkpoint.path} has weights"
    else:
        try:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                shapes = LEARNED[run.anonymizer](run.model)  # type: ignore[index]
        except (RuntimeError, OverflowError) as error:
            fault = str(error).splitlines()[0]
    if fault:
        raise ValueError(f"{run.folder / CONFIG}: no network can be made from these settings ({fault}): {DAMAGED}")
    check_weights(shapes, checkpoint, prefix)


def _final_checkpoint(run: _Run, allow_older_weights: bool, warn: Warn) -> Checkpoint:
    """The weights that are the run's result.

    A run from before results named their step is taken at its word that the newest folder is the last one.
    """
    folder = run.folder / CHECKPOINTS
    checkpoint, damaged = newest_whole(folder)
    again = f"restore it from a copy, or delete {run.folder / RESULT} and run its job again"
    if checkpoint is None:
        raise ValueError(f"{run.folder} has no checkpoint: {again}")
    named = str(run.result.get(FINAL, max([*damaged, checkpoint.number])))
    if not re.fullmatch(r"[0-9]{1,12}", named):
        raise ValueError(f"{run.folder / RESULT} is damaged ({FINAL} is {named[:40]!r}, not a step): {DAMAGED}")
    final = int(named)
    if checkpoint.number == final:
        return checkpoint
    fault = f"its final checkpoint {final:06d} is " + (f"damaged ({damaged[final]})" if final in damaged else "missing")
    if not allow_older_weights:
        raise CheckpointError(
            f"{run.folder}: {fault}: {again}, which continues from step {checkpoint.number}. "
            "--allow-older-weights uses the weights of that step as they are"
        )
    warn(f"{run.folder}: {fault}; the older weights of step {checkpoint.number} are used")
    return checkpoint
