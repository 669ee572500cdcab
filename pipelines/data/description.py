"""`dataset.json`: what an ingested data set is.

It has a digest of itself and one of the list of its shards, which has those of the shards: no byte changes unnoticed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.checksums import DamagedDataError, description_digest
from pipelines.data.schema import FORMAT_VERSION, WITHOUT_CHECKSUMS

DESCRIPTION_FILE = "dataset.json"


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says; names are in label order, `fingerprint` is that of rows, labels, names and settings.

    shards_digest: of the file with the seals of all shards; empty in the older format, which has none.
    """

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    multi_label: bool
    splits: int
    stride: int
    tubelet_frames: int
    rows: int
    fingerprint: str
    shards_digest: str = ""


def read_description(folder: Path) -> Description:
    """`dataset.json` of an ingested data set.

    Raises: ValueError: missing, unreadable or of another format. DamagedDataError: it is not as it was written.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: this is not a finished ingest; run jobs/ingest.py with --out {folder}")
    try:
        fields = json.loads(path.read_bytes())
        version = fields["format_version"]
        if version not in (FORMAT_VERSION, WITHOUT_CHECKSUMS):
            raise ValueError(f"format_version is {version}, this program reads {FORMAT_VERSION}")
        # The older format has no digest, which does not make a damaged version number one of that format.
        if (version == FORMAT_VERSION or "digest" in fields) and fields.get("digest") != description_digest(fields):
            raise DamagedDataError(f"{path} is not as it was written")
        return _description(fields)
    except DamagedDataError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be used ({type(error).__name__}: {error}): ingest again") from error


def _description(fields: Mapping[str, Any]) -> Description:
    return Description(
        dataset=fields["dataset"],
        action_names=tuple(fields["action_names"]),
        attribute_names=tuple(fields["attribute_names"]),
        multi_label=fields["multi_label"],
        splits=fields["splits"],
        stride=fields["settings"]["stride"],
        tubelet_frames=fields["settings"]["tubelet_frames"],
        rows=fields["counts"]["rows"],
        fingerprint=fields["fingerprint"],
        shards_digest=fields.get("shards_digest", ""),
    )


def description_text(fields: Mapping[str, Any]) -> str:
    """`dataset.json` with these fields and their digest."""
    return json.dumps({**fields, "digest": description_digest(fields)}, indent=2) + "\n"
