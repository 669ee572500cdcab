"""Where every video of an ingested data set lies in its Parquet shards, and its frames without a copy."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pipelines.data.remote import read_shown, without_frames
from pipelines.data.schema import FORMAT_VERSION
from stprivacy.storage import is_remote

_COLUMNS = ("video_id", "actions", "privacy", "splits", "shape")
_FRAME_LABELS = "privacy_frames"
_BOXES = "person_boxes"
_LABELS = ("privacy", _FRAME_LABELS)
WITHOUT_BOXES = (
    "Ingest into another --out with jobs/ingest.py and --detector hog or --boxes FILE; without any boxes, obscure the "
    "whole frame: jobs/evaluate.py --region frame"
)
_REMOTE_SHARDS = 16  # read at a time
_PREFIX_BYTES = 4  # PLAIN encoding writes a value's length before it


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says; names are in label order, `fingerprint` is that of rows, labels and settings."""

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    multi_label: bool
    splits: int
    stride: int
    tubelet_frames: int
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class VideoRow:
    """One stored video: its labels, its shape [t h w c], and where its frames start in the shard, in bytes.

    actions: indices, exactly one unless the data set is multi-label; privacy: a byte, 0 or 1, for each attribute (a
    data set can have thousands); splits: the video's part in each official split; privacy_frames: the same bytes for
    each stored frame, and person_boxes: the float32 values of [t k 4], where the index was asked for them.
    """

    video_id: str
    actions: tuple[int, ...]
    privacy: bytes
    splits: tuple[str, ...]
    shape: tuple[int, int, int, int]
    shard: Path
    offset: int
    privacy_frames: bytes = b""
    person_boxes: bytes = b""

    @property
    def boxes(self) -> Tensor:
        """Corners x0, y0, x1, y1 of each frame's person boxes, as fractions: [t k 4]; the missing ones are 0."""
        if not self.person_boxes:
            return torch.zeros(self.shape[0], 0, 4)
        return torch.frombuffer(bytearray(self.person_boxes), dtype=torch.float32).reshape(self.shape[0], -1, 4)


class VideoIndex:
    """All rows of an ingested data set in order, without their frames.

    Local shards are mapped when first touched; a pickled index has no maps. Of shards in an object store, frames are
    read when they are asked for.
    """

    def __init__(self, folder: Path, frame_labels: bool = False, person_regions: bool = False) -> None:
        """Read `dataset.json` and the small columns; asked to, also the labels and person boxes of each frame.

        Raises: ValueError: not, or not wholly, an ingested data set, or one without labels of frames or person boxes.
        """
        self.description = read_description(folder)
        shards = sorted((folder / "videos").glob("*.parquet"))
        extra = [*([_FRAME_LABELS] if frame_labels else []), *([_BOXES] if person_regions else [])]
        # A store answers slowly, but many at a time; of a local disk, one thread reads as fast as several.
        with ThreadPoolExecutor(_REMOTE_SHARDS if is_remote(folder) else 1, "index") as pool:
            parts = pool.map(lambda shard: list(_read_shard(shard, self.description, extra)), shards)
            self.rows = tuple(row for part in parts for row in part)
        if len(self.rows) != self.description.rows:
            raise ValueError(
                f"{folder / 'videos'} holds {len(self.rows)} videos, but {folder / 'dataset.json'} counts "
                f"{self.description.rows}: shards are missing or foreign; ingest into an empty folder again"
            )
        self._maps: dict[Path, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def split(self, name: str, number: int = 1) -> tuple[VideoRow, ...]:
        """The train, test or unused rows of an official split, in stored order.

        Raises: ValueError: the data set has no split of this number, from 1.
        """
        if not 1 <= number <= self.description.splits:
            has = "one split" if self.description.splits == 1 else f"{self.description.splits} splits, 1 the first"
            raise ValueError(f"there is no split {number}: the data set {self.description.dataset} has {has}")
        return tuple(row for row in self.rows if row.splits[number - 1] == name)

    def frames(self, row: VideoRow) -> Tensor:
        """All frames [t h w c] uint8; of a local shard a view: only what is then used of it is read from disk."""
        return self.clips([row], [torch.arange(row.shape[0])])[0]

    def clips(self, rows: Sequence[VideoRow], shown: Sequence[Tensor]) -> list[Tensor]:
        """Several videos [t h w c] uint8, of which only the frames `shown` [n] will be looked at.

        Out of an object store, each is one request for these frames, all at a time; the others are not defined.
        """
        if rows and is_remote(rows[0].shard):
            offsets, shapes = [row.offset for row in rows], [row.shape for row in rows]
            return read_shown([row.shard for row in rows], offsets, shapes, shown)
        return [self._mapped(row) for row in rows]

    def _mapped(self, row: VideoRow) -> Tensor:
        if row.shard not in self._maps:
            self._maps[row.shard] = torch.from_file(
                str(row.shard), shared=False, size=row.shard.stat().st_size, dtype=torch.uint8
            )
        return self._maps[row.shard][row.offset : row.offset + math.prod(row.shape)].reshape(row.shape)


def read_description(folder: Path) -> Description:
    """`dataset.json` of an ingested data set. Raises: ValueError: missing, unreadable or of another format."""
    path = folder / "dataset.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: this is not a finished ingest; run jobs/ingest.py with --out {folder}")
    try:
        fields = json.loads(path.read_text())
        version = fields["format_version"]
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version is {version}, this program reads {FORMAT_VERSION}")
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
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used ({type(error).__name__}: {error}): ingest again") from error


def _read_shard(path: Path, description: Description, extra: Sequence[str]) -> Iterator[VideoRow]:
    """The rows of a shard, with the columns `extra` out of labels and person boxes of frames."""
    columns = [*_COLUMNS, *extra]
    try:
        # A third of the time it takes with pre_buffer, which plans reads ahead for each of the many row groups.
        with (
            without_frames(path) if is_remote(path) else nullcontext(path) as local,
            pa.memory_map(str(local)) as source,
            pq.ParquetFile(source, pre_buffer=False) as file,
        ):
            missing = {"frames", *columns} - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"it has no column {', '.join(sorted(missing))}")
            table = file.read(columns=columns, use_threads=False)
            labels = [_label_bytes(table.column(name).combine_chunks()) for name in columns if name in _LABELS]
            records = table.drop_columns([name for name in columns if name in _LABELS]).to_pylist()
            offsets = _frame_offsets(file, source, [math.prod(record["shape"]) for record in records])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a shard of this format ({error}): ingest again") from error
    for record, offset, *privacy in zip(records, offsets, *labels, strict=True):
        row = VideoRow(
            video_id=record["video_id"],
            actions=tuple(record["actions"]),
            privacy=privacy[0],
            splits=tuple(record["splits"]),
            shape=tuple(record["shape"]),
            shard=path,
            offset=offset,
            privacy_frames=b"".join(privacy[1:]),
            person_boxes=_box_bytes(record, path) if _BOXES in extra else b"",
        )
        _check_row(row, description)
        if _FRAME_LABELS in extra and len(row.privacy_frames) != row.shape[0] * len(row.privacy):
            raise ValueError(
                f"{path}, video {row.video_id}: it has no labels for each of its {row.shape[0]} frames. Give a data "
                "set whose frames are labelled, as those of pa-hmdb51 are"
            )
        yield row


def _label_bytes(column: pa.ListArray) -> list[bytes]:
    """The int8 labels of each row, in one list or a list of lists, without a Python object for each label."""
    ends = column.offsets
    while pa.types.is_list(column.values.type):
        column = column.values
        ends = column.offsets.take(ends)
    values = column.values.to_numpy(zero_copy_only=False).astype("int8").tobytes()
    return [values[first:last] for first, last in pairwise(ends.to_pylist())]


def _box_bytes(record: Mapping[str, Any], path: Path) -> bytes:
    """Person boxes of each frame as float32 [t k 4], filled up with 0. Raises: ValueError: none are known."""
    boxes = record[_BOXES]
    if boxes is None or len(boxes) != record["shape"][0]:
        raise ValueError(
            f"{path}, video {record['video_id']}: it has no person boxes for each of its {record['shape'][0]} frames. "
            f"{WITHOUT_BOXES}"
        )
    padded = np.zeros((len(boxes), max(map(len, boxes), default=0), 4), np.float32)
    for row, frame in zip(padded, boxes, strict=True):
        row[: len(frame)] = np.reshape(frame, (-1, 4))
    return padded.tobytes()


def _frame_offsets(file: pq.ParquetFile, source: pa.MemoryMappedFile, sizes: Sequence[int]) -> list[int]:
    """Each row's first byte of `frames`: with one plain value in a column chunk, it is the end of the chunk."""
    metadata = file.metadata
    if metadata.num_row_groups != len(sizes):
        raise ValueError(f"{len(sizes)} rows lie in {metadata.num_row_groups} row groups, not in one each")
    leaves = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    column = leaves.index("frames")
    offsets = []
    for number, size in enumerate(sizes):
        chunk = metadata.row_group(number).column(column)
        offset = chunk.data_page_offset + chunk.total_compressed_size - size
        plain = chunk.compression == "UNCOMPRESSED" and not chunk.has_dictionary_page and offset >= _PREFIX_BYTES
        prefix = source.read_at(_PREFIX_BYTES, offset - _PREFIX_BYTES) if plain else b""
        if prefix != size.to_bytes(_PREFIX_BYTES, "little"):
            raise ValueError(f"frames of row {number} are not {size} plain, uncompressed bytes ending their chunk")
        offsets.append(offset)
    return offsets


def _check_row(row: VideoRow, description: Description) -> None:
    slot, attributes = description.tubelet_frames, len(description.attribute_names)
    if len(row.shape) != 4 or row.shape[3] != 3 or min(row.shape) < 1:
        fault = f"shape {row.shape} is not [T H W 3]"
    elif row.shape[0] % slot:
        fault = f"T = {row.shape[0]} is not a multiple of tubelet_frames {slot}"
    elif len(row.privacy) != attributes or row.privacy.strip(b"\0\1"):
        fault = f"privacy {list(row.privacy)} is not a 0 or 1 for each of {attributes} attributes"
    elif len(row.splits) != description.splits:
        fault = f"splits {row.splits} are not {description.splits}"
    else:
        fault = _action_fault(row.actions, description)
    if fault:
        raise ValueError(f"{row.shard}, video {row.video_id}: {fault}; ingest again")


def _action_fault(actions: tuple[int, ...], description: Description) -> str:
    names = len(description.action_names)
    if len(actions) != 1 and not (description.multi_label and actions):
        return f"it has {len(actions)} actions; multi_label is {description.multi_label}"
    if min(actions) < 0 or max(actions) >= names:
        return f"actions {list(actions)} are not in [0, {names})"
    return ""
