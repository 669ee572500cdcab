"""Where every video of an ingested data set lies in its Parquet shards, and its frames without a copy."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.data.checksums import DamagedDataError, check_slots
from pipelines.data.records import VIDEOS, Seal, read_shards
from pipelines.data.remote import read_spans
from pipelines.data.schema import Description, read_description
from pipelines.data.stored import BOXES, FRAME_LABELS, WITHOUT_BOXES, VideoRow, read_rows
from stprivacy.storage import is_remote

__all__ = ["WITHOUT_BOXES", "Description", "VideoIndex", "VideoRow", "read_description"]

_REMOTE_SHARDS = 16  # read at a time


class _SeenSlots:
    """Which tubelet slots of a shard have been found whole; a few nanoseconds for a video that wholly is."""

    def __init__(self) -> None:
        self._slots: dict[int, bytearray | None] = {}  # by the video's offset; none is left where all are whole

    def new(self, row: VideoRow, shown: Tensor, tubelet_frames: int) -> range | None:
        """The slots from the first to the last shown frame [n], if any of them is new."""
        slots = self._slots.get(row.offset, b"")
        if slots is None or not row.slot_crc32:
            return None
        first, last = int(shown.min()) // tubelet_frames, int(shown.max()) // tubelet_frames + 1
        return range(first, last) if not slots or 0 in slots[first:last] else None

    def check(self, row: VideoRow, frames: Tensor, slots: range) -> None:
        """Compare slots of frames [t h w c] with what was ingested. Raises: DamagedDataError: one is another."""
        check_slots(frames.numpy().reshape(-1).data, row.checksums, slots, row.shard, row.video_id, row.shape[0])
        marks = self._slots.get(row.offset, bytearray(len(row.checksums)))
        if marks is not None:
            marks[slots.start : slots.stop] = b"\1" * len(slots)
            self._slots[row.offset] = marks if 0 in marks else None


class VideoIndex:
    """All rows of an ingested data set in order, without their frames.

    Local shards are mapped when first touched; a pickled index has no maps. Of shards in an object store, frames are
    read when they are asked for. What is opened is compared with its checksum at once, frames when they are first read.
    """

    def __init__(self, folder: Path, frame_labels: bool = False, person_regions: bool = False) -> None:
        """Read `dataset.json` and the small columns; asked to, also the labels and person boxes of each frame.

        Raises: DamagedDataError: a file is not the one that was ingested, missing or foreign. ValueError: not, or not
            wholly, an ingested data set, or one without labels of frames or person boxes.
        """
        self.description = read_description(folder)
        shards = _sealed_shards(folder, self.description)
        extra = [*([FRAME_LABELS] if frame_labels else []), *([BOXES] if person_regions else [])]

        def read(shard: tuple[Path, Seal | None]) -> list[VideoRow]:
            return list(read_rows(shard[0], self.description, extra, shard[1]))

        # A store answers slowly, but many at a time; of a local disk, one thread reads as fast as several.
        with ThreadPoolExecutor(_REMOTE_SHARDS if is_remote(folder) else 1, "index") as pool:
            self.rows = tuple(row for part in pool.map(read, shards.items()) for row in part)
        if len(self.rows) != self.description.rows:
            raise ValueError(
                f"{folder / VIDEOS} holds {len(self.rows)} videos, but {folder / 'dataset.json'} counts "
                f"{self.description.rows}: shards are missing or foreign; ingest into an empty folder again"
            )
        self._maps: dict[Path, Tensor] = {}
        self._seen = {shard: _SeenSlots() for shard in shards}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}, "_seen": {shard: _SeenSlots() for shard in self._seen}}

    def split(self, name: str, number: int = 1) -> tuple[VideoRow, ...]:
        """The train, test or unused rows of an official split, in stored order.

        Raises: ValueError: the data set has no split of this number, from 1.
        """
        if not 1 <= number <= self.description.splits:
            has = "one split" if self.description.splits == 1 else f"{self.description.splits} splits, 1 the first"
            raise ValueError(f"there is no split {number}: the data set {self.description.dataset} has {has}")
        return tuple(row for row in self.rows if row.splits[number - 1] == name)

    def frames(self, row: VideoRow) -> Tensor:
        """All frames [t h w c] uint8; of a local shard a view: only what is then used of it is read from disk.

        Raises: DamagedDataError: they are not the ones that were ingested.
        """
        return self.clips([row], [torch.arange(row.shape[0])])[0]

    def clips(self, rows: Sequence[VideoRow], shown: Sequence[Tensor]) -> list[Tensor]:
        """Several videos [t h w c] uint8, of which only the frames `shown` [n] will be looked at.

        Out of an object store, each is one request for these frames, all at a time; the others are not defined.
        Raises: DamagedDataError: they are not the ones that were ingested.
        """
        videos, checks = self._read(rows, shown)
        for check in checks:
            check()
        return videos

    @contextmanager
    def reading(self, rows: Sequence[VideoRow], shown: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """The same, with frames that are compared with their checksums while the block works on them.

        What the block makes of them counts only if it ends without a DamagedDataError.
        """
        videos, checks = self._read(rows, shown)
        if not checks:
            yield videos
            return
        faults: list[DamagedDataError] = []

        def run() -> None:
            try:
                for check in checks:
                    check()
            except DamagedDataError as error:
                faults.append(error)

        thread = threading.Thread(target=run, name="checksums")
        thread.start()
        try:
            yield videos
        finally:
            thread.join()
        if faults:
            raise faults[0]

    def _read(
        self, rows: Sequence[VideoRow], shown: Sequence[Tensor]
    ) -> tuple[list[Tensor], Sequence[Callable[[], None]]]:
        """The videos, and the checks of what nobody has read of them before."""
        slot = self.description.tubelet_frames
        new = [self._seen[row.shard].new(row, frames, slot) for row, frames in zip(rows, shown, strict=True)]
        if rows and is_remote(rows[0].shard):
            spans = [
                (slots.start * slot, slots.stop * slot) if slots else (int(frames.min()), int(frames.max()) + 1)
                for slots, frames in zip(new, shown, strict=True)
            ]
            offsets, shapes = [row.offset for row in rows], [row.shape for row in rows]
            videos = read_spans([row.shard for row in rows], offsets, shapes, spans)
        else:
            videos = [self._mapped(row) for row in rows]
        checks = [
            partial(self._seen[row.shard].check, row, video, slots)
            for row, video, slots in zip(rows, videos, new, strict=True)
            if slots
        ]
        return videos, checks

    def _mapped(self, row: VideoRow) -> Tensor:
        if row.shard not in self._maps:
            self._maps[row.shard] = torch.from_file(
                str(row.shard), shared=False, size=row.shard.stat().st_size, dtype=torch.uint8
            )
        return self._maps[row.shard][row.offset : row.offset + math.prod(row.shape)].reshape(row.shape)


def _sealed_shards(folder: Path, description: Description) -> dict[Path, Seal | None]:
    """The shards in order, each with what it must be; with nothing in the older format."""
    found = {path.name: path for path in sorted((folder / VIDEOS).glob("*.parquet"))}
    if not description.shards_digest:
        return dict.fromkeys(found.values())
    listed = {name: seal for name, (seal, _) in read_shards(folder, description.shards_digest).items()}
    missing, foreign = [name for name in listed if name not in found], [name for name in found if name not in listed]
    for fault, names in (("is missing", missing), ("does not belong to this data set", foreign)):
        if names:
            more = f", as {len(names) - 1} others" if len(names) > 1 else ""
            raise DamagedDataError(f"{folder / VIDEOS / names[0]} {fault}{more}")
    return {found[name]: seal for name, seal in listed.items()}
