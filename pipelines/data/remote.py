"""Shards in an object store: what an index needs of them, and the frames of many clips at once."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from stprivacy.storage import read_ranges

_TAIL_BYTES = 1 << 16  # the footer of a shard of 32 videos with room to spare
_FOOTER_END_BYTES = 8  # the footer's length, and Parquet's mark
_PAGE_HEADER_BYTES = 256  # before a value: its page's header, and its length


@contextmanager
def with_holes(shard: Path, size: int, ranges: Sequence[tuple[int, int]]) -> Iterator[Path]:
    """A local copy of a shard of `size` bytes, with holes but for these ranges of bytes, read at the same time.

    Raises: OSError: the object cannot be read.
    """
    with tempfile.NamedTemporaryFile(prefix="stprivacy-", suffix=".parquet") as file:
        file.truncate(size)
        _fetch(shard, ranges, Path(file.name))
        yield Path(file.name)


@contextmanager
def without_frames(shard: Path) -> Iterator[Path]:
    """A local copy of a shard of which no seal is known, with holes in place of the frames.

    It takes two requests, and one more for each video. Columns of other layouts than ours may fall into the holes; who
    reads them finds zeros. Raises: OSError, pyarrow.ArrowException: the object cannot be read, or is not Parquet.
    """
    size = shard.stat().st_size
    tail = min(size, _TAIL_BYTES)
    with with_holes(shard, size, [(size - tail, size)]) as copy:
        with copy.open("rb") as file:
            file.seek(max(0, size - _FOOTER_END_BYTES))
            footer = int.from_bytes(file.read(4), "little") + _FOOTER_END_BYTES
        if tail < footer <= size:
            _fetch(shard, [(size - footer, size - tail)], copy)
        _fetch(shard, _between_frames(pq.read_metadata(copy), size - max(tail, footer)), copy)
        yield copy


def _fetch(shard: Path, ranges: Sequence[tuple[int, int]], copy: Path) -> None:
    parts = read_ranges([shard] * len(ranges), [first for first, _ in ranges], [last for _, last in ranges])
    with copy.open("r+b") as file:
        for (first, _), part in zip(ranges, parts, strict=True):
            file.seek(first)
            file.write(part)


def _between_frames(metadata: pq.FileMetaData, end: int) -> list[tuple[int, int]]:
    """What lies between the frames of one video and those of the next, and before `end`."""
    names = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    ranges, first = [], 0
    for number in range(metadata.num_row_groups if "frames" in names else 0):
        chunk = metadata.row_group(number).column(names.index("frames"))
        ranges.append((first, min(chunk.data_page_offset + _PAGE_HEADER_BYTES, end)))
        first = chunk.data_page_offset + chunk.total_compressed_size
    return [(first, last) for first, last in [*ranges, (first, end)] if first < last]


def read_spans(
    shards: Sequence[Path],
    offsets: Sequence[int],
    shapes: Sequence[tuple[int, int, int, int]],
    spans: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """Videos [t h w c] uint8 of which a span of frames is read, each with one request, all at the same time.

    The other frames are whatever was in memory.
    """
    sizes = [math.prod(shape[1:]) for shape in shapes]  # bytes of a frame
    starts = [offset + size * first for offset, size, (first, _) in zip(offsets, sizes, spans, strict=True)]
    ends = [offset + size * last for offset, size, (_, last) in zip(offsets, sizes, spans, strict=True)]
    videos = [torch.empty(shape, dtype=torch.uint8) for shape in shapes]
    parts = read_ranges(list(shards), starts, ends)
    for video, (first, last), part in zip(videos, spans, parts, strict=True):
        video[first:last] = torch.frombuffer(bytearray(part), dtype=torch.uint8).reshape(video[first:last].shape)
    return videos
