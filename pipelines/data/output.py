"""The folder that an ingest writes to: what it was begun for, and what may lie in it."""

import json
from pathlib import Path
from typing import Any

from pipelines.data.records import QUARANTINE, VIDEOS
from pipelines.data.schema import FORMAT_VERSION, IngestSettings
from pipelines.data.shards import SHARD_NAME
from pipelines.data.tasks import IngestError
from stprivacy.output_lock import LOCK_NAME
from stprivacy.storage import PARTIAL_SUFFIX, make_folder, remove_partials, write_whole

STARTED_FILE = "ingest.json"


def check_claim(out: Path, dataset: str, settings: IngestSettings) -> None:
    """See whether a folder is empty, or was begun with these settings: shards of several must not mix.

    Raises: IngestError: it is neither.
    """
    path, claim = out / STARTED_FILE, _claim(dataset, settings)
    if path.is_file():
        _compare(out, _read_claim(path), claim)
    elif out.is_dir() and any(_is_foreign(found.name) for found in out.iterdir()):
        raise IngestError(f"{out} is not empty and not an ingested data set: give a new or empty folder as --out")


def claim(out: Path, dataset: str, settings: IngestSettings) -> None:
    """Note what a folder is for, if it is not noted yet. Raises: IngestError: as `check_claim`."""
    check_claim(out, dataset, settings)
    for folder in (out, out / VIDEOS, out / QUARANTINE):
        make_folder(folder)
    if not (out / STARTED_FILE).is_file():
        write_whole(out / STARTED_FILE, (json.dumps(_claim(dataset, settings), indent=2) + "\n").encode())


def clean(out: Path, keep: set[str]) -> None:
    """Remove what killed tasks left half-written, and shards whose input changed: all but those to keep.

    Raises: IngestError: a Parquet file that no ingest wrote, with which the data set could not be read.
    """
    remove_partials(out)
    for folder in (out / VIDEOS, out / QUARANTINE):
        remove_partials(folder)
        for path in [path for path in folder.glob("*.parquet") if path.name not in keep]:
            if not SHARD_NAME.fullmatch(path.name):
                raise IngestError(f"{path} is not a shard of this data set: remove it and run again")
            path.unlink(missing_ok=True)


def _claim(dataset: str, settings: IngestSettings) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "dataset": dataset, "settings": settings.identity()}


def _is_foreign(name: str) -> bool:
    return name != LOCK_NAME and not (name.startswith(".") and name.endswith(PARTIAL_SUFFIX))


def _read_claim(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        return {"format_version": found["format_version"], "dataset": found["dataset"], **dict(found["settings"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IngestError(f"{path} is damaged ({type(error).__name__}): ingest into another --out") from error


def _compare(out: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before["format_version"] != FORMAT_VERSION:
        raise IngestError(
            f"{out} was begun in format {before['format_version']}, this program writes {FORMAT_VERSION}: "
            "ingest into another --out"
        )
    old = {"detector": "none", "detector_weights": ""} | before
    new = {"detector": "none", "detector_weights": "", "dataset": now["dataset"], **now["settings"]}
    changed = [f"{name} {old.get(name)} → {new[name]}" for name in new if old.get(name) != new[name]]
    if changed:
        raise IngestError(
            f"{out} was begun with other settings ({', '.join(changed)}): use the old ones, or another --out"
        )
