"""Whose a run folder is: the run's settings and inputs, and the launch that works in it."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.runs.config import SETTINGS
from pipelines.runs.folder import CONFIG, DESCRIPTION, FAILURE, LAUNCH, PROGRESS, RunRequest, read_json, write_json
from pipelines.runs.inputs import check_inputs, check_unchanged, note_inputs
from stprivacy.deploy.load import check_trained
from stprivacy.plain import shown
from stprivacy.storage import absolute_location, location, make_folder, remove_partials


def check_all(runs: Sequence[RunRequest]) -> None:
    """Find out, before anything starts, what would keep runs from being done or from being taken for done.

    Raises: ValueError: a folder holds a run with another configuration or of other data, two runs have the same
        folder, or a run starts from one that is not finished, or is damaged.
    """
    folders = [absolute_location(run.folder) for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"each run needs a folder of its own, but two are to go to {folder}")
    for run in runs:
        check(run)
    for run in runs:
        if not run.finished and (source := run.config.get("from_run")):
            _check_source(run, absolute_location(location(source)), folders)


def claim_all(runs: Sequence[RunRequest]) -> str:
    """Make the folders of those that are not finished the ones of a new launch, whose identity is returned.

    Raises: ValueError: as `check_all`.
    """
    check_all(runs)
    identity = uuid.uuid4().hex[:12]
    for run in runs:
        if not run.finished:
            claim(run, identity)
    return identity


def check(run: RunRequest) -> None:
    """See whether the folder is this run's, or free.

    Raises: ValueError: the folder holds a run with another configuration, or of other data.
    """
    wanted, defaults = json.loads(json.dumps([run.config, dict(run.defaults)]))
    present = read_json(run.folder / CONFIG)
    # Files of earlier versions hold the settings of all phases.
    present = {name: value for name, value in present.items() if name in wanted or name not in SETTINGS}
    present = present and _filled(present, defaults)
    if present and present != wanted:
        raise ValueError(
            f"{run.folder} holds a run with other settings ({_differences(present, wanted)}): "
            "choose another --out, or delete that folder to start over"
        )
    check_inputs(run)


def claim(run: RunRequest, launch: str) -> None:
    """Make the folder this launch's: from now on, workers of any other launch stop when they touch it.

    Raises: ValueError: as `check`.
    """
    check(run)
    make_folder(run.folder)
    remove_partials(run.folder)
    if not (run.folder / CONFIG).exists():
        write_json(run.folder / CONFIG, run.config)
    note_inputs(run)
    for name in (FAILURE, PROGRESS):
        (run.folder / name).unlink(missing_ok=True)
    write_json(run.folder / LAUNCH, {"launch": launch})


def _check_source(run: RunRequest, source: Path, folders: Sequence[Path]) -> None:
    """The run that another starts from; one of `folders` is done before."""
    if source not in folders:
        check_trained(source, bool(run.config.get("allow_older_weights")))
    data = run.config.get("data")
    if isinstance(data, str) and (location(data) / DESCRIPTION).is_file():
        check_unchanged(source, data)


def _filled(present: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, and the defaults of those that are missing."""
    filled = {**defaults, **present}
    for key, value in present.items():
        if isinstance(value, Mapping) and isinstance(defaults.get(key), Mapping):
            filled[key] = _filled(value, defaults[key])
    return filled


def _differences(present: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    words = []
    for key in sorted({*present, *wanted}):
        old, new = present.get(key, "unset"), wanted.get(key, "unset")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            words.append(_differences(old, new, f"{prefix}{shown(key)}."))
        elif old != new:
            words.append(f"{prefix}{shown(key)} was {shown(old)}, now {shown(new)}")
    return ", ".join(filter(None, words))
