"""What is known of a shard beside its rows: kept in its quarantine file, and of all shards in one file of the data set.

A shard is a pair of files. The quarantine file is written second and names the other's size and digest, so that a pair
that does not belong together is noticed. `shards.parquet` has what a reader checks when it opens a data set, and
`dataset.json` the digest of that.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data.checksums import DamagedDataError, Frames, file_digest
from pipelines.data.schema import QUARANTINE_SCHEMA, plain_rows
from pipelines.text import printable

VIDEOS, QUARANTINE = "videos", "quarantine"
SHARDS_FILE = "shards.parquet"
_METADATA_KEY = b"stprivacy_shard"
_SHARDS_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),  # its name in videos/ and in quarantine/
        pa.field("bytes", pa.int64(), nullable=False),  # of the file in videos/
        pa.field("digest", pa.string(), nullable=False),  # SHA-256 of all of these but the frames
        pa.field("offsets", pa.list_(pa.int64()), nullable=False),  # first byte of each row's frames
        pa.field("lengths", pa.list_(pa.int64()), nullable=False),  # and their number
        pa.field("quarantine_digest", pa.string(), nullable=False),  # SHA-256 of the file in quarantine/
    ]
)


@dataclass(frozen=True)
class Seal:
    """A file in videos/ as it was written: its bytes, the SHA-256 of all but the frames, and where these are.

    offsets and lengths, in bytes, are those of each row's frames.
    """

    size: int
    digest: str
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def frames(self) -> Frames:
        """First byte and length of each row's frames."""
        return list(zip(self.offsets, self.lengths, strict=True))


@dataclass(frozen=True)
class ShardRecord:
    """A shard as it was written.

    Args:
        seal: of its file in videos/
        content: digest of labels and pixels, whatever the file's layout
        splits: rows that are train, test and unused, for each official split
        with_boxes: rows whose person boxes are known
        without_person: of these, rows without any box
        notes: what the decoder says of rows: pairs of video and note
        seconds_per_video: what a video was allowed to take
    """

    seal: Seal
    content: str
    splits: tuple[Mapping[str, int], ...]
    with_boxes: int
    without_person: int
    notes: tuple[tuple[str, str], ...]
    seconds_per_video: float


@dataclass(frozen=True)
class Quarantine:
    """A quarantine file: its rows, the record of its shard (none for videos that no shard was made of), its digest."""

    rows: Sequence[Mapping[str, str]]
    record: ShardRecord | None
    digest: str


def quarantine_row(video_id: str, path: str, error: str, message: str) -> dict[str, str]:
    """One unusable video: a short code and the reason in words."""
    values = {"video_id": video_id, "path": path, "error": error, "message": message}
    return {name: printable(value) for name, value in values.items()}


def quarantine_content(rows: Sequence[Mapping[str, str]], record: ShardRecord | None = None) -> bytes:
    """A quarantine file."""
    metadata = {_METADATA_KEY: json.dumps(asdict(record)).encode()} if record else {}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], QUARANTINE_SCHEMA.with_metadata(metadata)), buffer)
    return buffer.getvalue()


def read_quarantine(path: Path, digest: str = "") -> Quarantine:
    """What a quarantine file holds; its digest, where it is given, is checked.

    Raises: DamagedDataError: it is missing, another, or not as `quarantine_content` makes them.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing") from error
    found = file_digest(content)
    if digest and digest != found:
        raise DamagedDataError(f"{path} is damaged, or that of another data set")
    try:
        table = pq.read_table(io.BytesIO(content))
        fields = json.loads((table.schema.metadata or {}).get(_METADATA_KEY, b"null"))
        record = _record(**fields) if fields else None
        rows = plain_rows(table.select(QUARANTINE_SCHEMA.names))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedDataError(f"{path} is damaged ({type(error).__name__})") from error
    return Quarantine(rows, record, found)


def _record(seal: Mapping[str, Any], splits: Sequence[Any], notes: Sequence[Any], **counts: Any) -> ShardRecord:
    """A record out of JSON, which has lists in place of tuples."""
    return ShardRecord(
        Seal(seal["size"], seal["digest"], tuple(seal["offsets"]), tuple(seal["lengths"])),
        splits=tuple(splits),
        notes=tuple((video, note) for video, note in notes),
        **counts,
    )


def shards_content(quarantines: Mapping[str, Quarantine]) -> bytes:
    """`shards.parquet` of the shards by name, in their order."""
    rows = [
        {
            "shard": name,
            "bytes": found.record.seal.size,
            "digest": found.record.seal.digest,
            "offsets": found.record.seal.offsets,
            "lengths": found.record.seal.lengths,
            "quarantine_digest": found.digest,
        }
        for name, found in quarantines.items()
        if found.record
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, _SHARDS_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def read_shards(folder: Path, digest: str) -> dict[str, tuple[Seal, str]]:
    """The seal of each shard of a data set, and the digest of its quarantine file.

    Args: digest: what `dataset.json` says of `shards.parquet`. Raises: DamagedDataError: it is missing or another.
    """
    path = folder / SHARDS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing") from error
    if file_digest(content) != digest:
        raise DamagedDataError(f"{path} is damaged, or that of another data set")
    return {
        row["shard"]: (
            Seal(row["bytes"], row["digest"], tuple(row["offsets"]), tuple(row["lengths"])),
            row["quarantine_digest"],
        )
        for row in plain_rows(pq.read_table(io.BytesIO(content)))
    }
