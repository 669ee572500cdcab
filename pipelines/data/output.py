"""The folder that an ingest writes to: what it was begun for, and what may lie in it."""

from pathlib import Path

from pipelines.data.records import QUARANTINE, VIDEOS
from pipelines.data.schema import FORMAT_VERSION, IngestSettings
from pipelines.data.shards import SHARD_NAME
from pipelines.data.tasks import IngestError
from stprivacy.claims import Claim
from stprivacy.output_lock import LOCK_NAME
from stprivacy.storage import PARTIAL_SUFFIX, remove_partials

STARTED_FILE = "ingest.json"


def output_claim(dataset: str, settings: IngestSettings) -> Claim:
    """What an ingest's folder is for: shards of several settings must not mix."""
    return Claim(
        STARTED_FILE,
        {"format_version": FORMAT_VERSION, "dataset": dataset, "settings": settings.identity()},
        "an ingested data set",
        defaults={"settings": {"detector": "none", "detector_weights": ""}},
        is_ours=lambda name: name == LOCK_NAME or (name.startswith(".") and name.endswith(PARTIAL_SUFFIX)),
    )


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
