"""The rows of one shard without their frames, and where these are, checked before anything relies on them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from pipelines.data.checksums import DamagedDataError, digest_around, surroundings
from pipelines.data.records import Seal
from pipelines.data.remote import with_holes, without_frames
from pipelines.data.schema import Description, plain_rows
from stprivacy.storage import is_remote

FRAME_LABELS = "privacy_frames"
BOXES = "person_boxes"
CHECKSUMS = "slot_crc32"
WITHOUT_BOXES = (
    "Ingest into another --out with jobs/ingest.py and --detector hog or --boxes FILE; without any boxes, obscure the "
    "whole frame: jobs/evaluate.py --region frame"
)
_COLUMNS = ("video_id", "actions", "privacy", "splits", "shape")
_AS_BYTES: Mapping[str, DTypeLike] = {"privacy": np.int8, FRAME_LABELS: np.int8, CHECKSUMS: np.uint32}
_PREFIX_BYTES = 4  # PLAIN encoding writes a value's length before it


@dataclass(frozen=True)
class VideoRow:
    """One stored video: its labels, its shape [t h w c], and where its frames start in the shard, in bytes.

    actions: indices, exactly one unless the data set is multi-label; privacy: a byte, 0 or 1, for each attribute (a
    data set can have thousands); splits: the video's part in each official split; slot_crc32: a uint32 for each tubelet
    slot, none in a data set of the older format; privacy_frames: labels for each stored frame, and person_boxes: the
    float32 values of [t k 4], where the index was asked for them.
    """

    video_id: str
    actions: tuple[int, ...]
    privacy: bytes
    splits: tuple[str, ...]
    shape: tuple[int, int, int, int]
    shard: Path
    offset: int
    slot_crc32: bytes = b""
    privacy_frames: bytes = b""
    person_boxes: bytes = b""

    @property
    def boxes(self) -> Tensor:
        """Corners x0, y0, x1, y1 of each frame's person boxes, as fractions: [t k 4]; the missing ones are 0."""
        if not self.person_boxes:
            return torch.zeros(self.shape[0], 0, 4)
        return torch.frombuffer(bytearray(self.person_boxes), dtype=torch.float32).reshape(self.shape[0], -1, 4)

    @property
    def checksums(self) -> Sequence[int]:
        """CRC-32 of each tubelet slot."""
        return memoryview(self.slot_crc32).cast("I")


def read_rows(path: Path, description: Description, extra: Sequence[str], seal: Seal | None) -> Iterator[VideoRow]:
    """The rows of a shard, with the columns `extra` out of labels and person boxes of frames.

    Args: seal: what the file must be; none in the older format. Raises: DamagedDataError: it is another. ValueError: it
        has no such columns, or rows that contradict themselves.
    """
    try:
        records, offsets = _read_table(path, [*_COLUMNS, *extra, *([CHECKSUMS] if seal else [])], seal)
    except DamagedDataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a shard of this format ({error}): ingest again") from error
    for record, offset in zip(records, offsets, strict=True):
        row = VideoRow(
            video_id=record["video_id"],
            actions=tuple(record["actions"]),
            privacy=record["privacy"],
            splits=tuple(record["splits"]),
            shape=tuple(record["shape"]),
            shard=path,
            offset=offset,
            slot_crc32=record.get(CHECKSUMS, b""),
            privacy_frames=record.get(FRAME_LABELS, b""),
            person_boxes=_box_bytes(record, path) if BOXES in extra else b"",
        )
        _check_row(row, description)
        if FRAME_LABELS in extra and len(row.privacy_frames) != row.shape[0] * len(row.privacy):
            raise ValueError(
                f"{path}, video {row.video_id}: it has no labels for each of its {row.shape[0]} frames. Give a data "
                "set whose frames are labelled, as those of pa-hmdb51 are"
            )
        yield row


def _read_table(path: Path, columns: Sequence[str], seal: Seal | None) -> tuple[list[dict[str, Any]], Sequence[int]]:
    """Each row's small columns, those of numbers packed into bytes, and where its frames start."""
    # A third of the time it takes with pre_buffer, which plans reads ahead for each of the many row groups.
    with (
        small_parts(path, seal) as local,
        pa.memory_map(str(local)) as source,
        pq.ParquetFile(source, pre_buffer=False) as file,
    ):
        missing = {"frames", *columns} - set(file.schema_arrow.names)
        if missing:
            raise ValueError(f"it has no column {', '.join(sorted(missing))}")
        table = file.read(columns=columns, use_threads=False)
        numbers = {name: dtype for name, dtype in _AS_BYTES.items() if name in columns}
        records = plain_rows(table.drop_columns(list(numbers)))
        for name, dtype in numbers.items():
            for record, packed in zip(records, _packed(table.column(name).combine_chunks(), dtype), strict=True):
                record[name] = packed
        sizes = [math.prod(record["shape"]) for record in records]
        return records, seal.offsets if seal else frame_offsets(file, source, sizes)


@contextmanager
def small_parts(path: Path, seal: Seal | None) -> Iterator[Path]:
    """A local file with all of a shard but, where it lies in an object store, the frames.

    Raises: DamagedDataError: it is not what the seal says. OSError: it cannot be read.
    """
    whole_or_copy: AbstractContextManager[Path] = nullcontext(path)
    if seal is None:
        if is_remote(path):
            whole_or_copy = without_frames(path)
        with whole_or_copy as local:
            yield local
        return
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing") from error
    if size != seal.size:
        raise DamagedDataError(f"{path} is damaged (it has {size} bytes, not {seal.size})")
    if is_remote(path):
        whole_or_copy = with_holes(path, size, surroundings(size, seal.frames))
    with whole_or_copy as local:
        # Before anything parses it.
        if digest_around(local, seal.frames) != seal.digest:
            raise DamagedDataError(f"{path} is damaged (labels or layout have another checksum)")
        yield local


def frame_offsets(file: pq.ParquetFile, source: pa.MemoryMappedFile, sizes: Sequence[int]) -> list[int]:
    """Each row's first byte of `frames`: with one plain value in a column chunk, it is the end of the chunk.

    Raises: ValueError: the file has another layout.
    """
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


def _packed(column: pa.ListArray, dtype: DTypeLike) -> list[bytes]:
    """The numbers of each row, in one list or a list of lists, without a Python object for each."""
    ends = column.offsets
    while pa.types.is_list(column.values.type):
        column = column.values
        ends = column.offsets.take(ends)
    numbers = column.values.to_numpy(zero_copy_only=False).astype(dtype)
    values = numbers.tobytes()
    return [values[first * numbers.itemsize : last * numbers.itemsize] for first, last in pairwise(ends.to_pylist())]


def _box_bytes(record: Mapping[str, Any], path: Path) -> bytes:
    """Person boxes of each frame as float32 [t k 4], filled up with 0. Raises: ValueError: none are known."""
    boxes = record[BOXES]
    if boxes is None or len(boxes) != record["shape"][0]:
        raise ValueError(
            f"{path}, video {record['video_id']}: it has no person boxes for each of its {record['shape'][0]} frames. "
            f"{WITHOUT_BOXES}"
        )
    padded = np.zeros((len(boxes), max(map(len, boxes), default=0), 4), np.float32)
    for row, frame in zip(padded, boxes, strict=True):
        row[: len(frame)] = np.reshape(frame, (-1, 4))
    return padded.tobytes()


def _check_row(row: VideoRow, description: Description) -> None:
    slot, attributes = description.tubelet_frames, len(description.attribute_names)
    if len(row.shape) != 4 or row.shape[3] != 3 or min(row.shape) < 1:
        fault = f"shape {row.shape} is not [T H W 3]"
    elif row.shape[0] % slot:
        fault = f"T = {row.shape[0]} is not a multiple of tubelet_frames {slot}"
    elif row.slot_crc32 and len(row.checksums) != row.shape[0] // slot:
        fault = f"it has {len(row.checksums)} checksums for {row.shape[0] // slot} tubelet slots"
    elif len(row.privacy) != attributes or row.privacy.strip(b"\0\1"):
        fault = f"privacy {list(row.privacy)} is not a 0 or 1 for each of {attributes} attributes"
    elif len(row.splits) != description.splits:
        fault = f"splits {row.splits} are not {description.splits}"
    elif len(row.actions) != 1 and not (description.multi_label and row.actions):
        fault = f"it has {len(row.actions)} actions; multi_label is {description.multi_label}"
    elif min(row.actions) < 0 or max(row.actions) >= len(description.action_names):
        fault = f"actions {list(row.actions)} are not in [0, {len(description.action_names)})"
    else:
        return
    raise ValueError(f"{row.shard}, video {row.video_id}: {fault}; ingest again")
