"""What a run is made from, by content: its data sets, the run it starts from and files of pretrained weights.

RUN/inputs.json has a fingerprint of each, so that a run is neither taken for one over other data nor continued on them.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.data.index import read_description
from pipelines.runs.folder import CONFIG, DESCRIPTION, INPUTS, RunRequest, read_json, write_json
from stprivacy.deploy.load import weights_fingerprint
from stprivacy.run_files import read_result
from stprivacy.storage import location

_DATA_SETTINGS = ("data", "exclude", "action_data")
_SHOWN_DIGITS = 12

Input = Mapping[str, Any]


def check_inputs(run: RunRequest) -> dict[str, Input]:
    """Check that what a run was begun with is what is there now; returns all that is known of it.

    What is gone cannot differ; a run from before inputs were noted is known by the data set that its result names.
    Raises: ValueError: something differs; the message says what, and how to continue.
    """
    begun, now = _noted(run.folder), present_inputs(run.config)
    changed = [
        f"{name} was {described(begun[name])}, now {described(found)}"
        for name, found in now.items()
        if name in begun and is_other(begun[name], found)
    ]
    if changed:
        raise ValueError(
            f"{run.folder} was {'made' if run.finished else 'begun'} from other inputs ({'; '.join(changed)}): choose "
            "another --out, restore what has changed, or delete that folder to start over"
        )
    return now | begun


def note_inputs(run: RunRequest) -> None:
    """Check, and note what is known of a run's inputs. Raises: ValueError: as `check_inputs`."""
    known = check_inputs(run)
    if known and known != read_json(run.folder / INPUTS):
        write_json(run.folder / INPUTS, known)


def trained_on(folder: Path) -> dict[str, Input]:
    """The data sets of the run in `folder` when it was trained, by the setting that names them, as far as is known."""
    return {name: found for name, found in _noted(folder).items() if name in _DATA_SETTINGS}


def check_unchanged(source: Path, data: str) -> None:
    """Check that the run in `source`, if trained on the data set `data`, was trained on its current state.

    Raises: ValueError: the data set has changed since.
    """
    begun, now = trained_on(source).get("data", {}), data_input(location(data))
    if location(str(begun.get("path", ""))) == location(data) and is_other(begun, now):
        raise ValueError(
            f"{source} was trained on {described(begun)}, which has changed since and is now {described(now)}: restore "
            "the data set, or train that run again into another --out"
        )


def is_other(one: Input, other: Input) -> bool:
    """Whether two inputs are known to differ."""
    first, second = one.get("fingerprint"), other.get("fingerprint")
    return bool(first and second) and first != second


def described(found: Input) -> str:
    """An input in words."""
    parts = [str(found[name]) for name in ("dataset", "path") if found.get(name)]
    rows = [f"{found['rows']} rows"] if "rows" in found else []
    return ", ".join([" in ".join(parts), *rows, f"fingerprint {str(found['fingerprint'])[:_SHOWN_DIGITS]}"])


def data_input(folder: Path) -> Input:
    """An ingested data set as an input. Raises: ValueError: it is none."""
    found = read_description(folder)
    return {"path": str(folder), "dataset": found.dataset, "rows": found.rows, "fingerprint": found.fingerprint}


def _noted(folder: Path) -> dict[str, Input]:
    noted = read_json(folder / INPUTS)
    if faulty := [name for name, found in noted.items() if not isinstance(found, dict) or "fingerprint" not in found]:
        raise ValueError(f"{folder / INPUTS} is damaged ({faulty[0]} has no fingerprint): restore it from a copy")
    result = read_result(folder)
    if "data" not in noted and "data_fingerprint" in result:
        path, dataset = str(read_json(folder / CONFIG).get("data", "")), result.get("dataset", "")
        noted["data"] = {"path": path, "dataset": dataset, "fingerprint": result["data_fingerprint"]}
    return noted


def present_inputs(config: Mapping[str, Any]) -> dict[str, Input]:
    """The inputs that the settings name and that are there, by setting."""
    found: dict[str, Input] = {}
    for name in _DATA_SETTINGS:
        folder = config.get(name)
        if folder and isinstance(folder, str) and (location(folder) / DESCRIPTION).is_file():
            found[name] = data_input(location(folder))
    source = config.get("from_run")
    if source and (weights := weights_fingerprint(location(source))):
        found["from_run"] = {"path": source, "fingerprint": weights}
    for name in ("model", "recognizer"):
        file = str((config.get(name) or {}).get("pretrained", ""))
        if file and Path(file).is_file():
            digest = _file_digest(file, Path(file).stat().st_mtime_ns)
            found[f"{name}.pretrained"] = {"path": file, "fingerprint": digest}
    return found


@lru_cache(maxsize=8)
def _file_digest(file: str, changed_ns: int) -> str:
    """SHA-256 of a file; the time of its last change tells its versions apart."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
