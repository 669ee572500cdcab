"""Stored frames against their checksums: each tubelet slot once, when it is first read."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from pipelines.data.checksums import DamagedDataError, check_slots
from pipelines.data.stored import VideoRow


@dataclass(frozen=True)
class Unchecked:
    """Slots [first, last) of a video's frames [t h w c], some of which nobody has read before."""

    row: VideoRow
    frames: Tensor
    first: int
    last: int


class SeenSlots:
    """Which tubelet slots of a shard have been found whole; a few nanoseconds for a video that wholly is."""

    def __init__(self) -> None:
        self._slots: dict[int, bytearray | None] = {}  # by the video's offset; none is left where all are whole

    def new(self, row: VideoRow, shown: Tensor, tubelet_frames: int) -> tuple[int, int] | None:
        """The slots [first, last) from the first to the last shown frame [n], if any of them is new."""
        slots = self._slots.get(row.offset, b"")
        if slots is None or not row.slot_crc32:
            return None
        first, last = int(shown.min()) // tubelet_frames, int(shown.max()) // tubelet_frames + 1
        return (first, last) if not slots or 0 in slots[first:last] else None

    def add(self, row: VideoRow, first: int, last: int) -> None:
        """These slots are whole."""
        marks = self._slots.get(row.offset, bytearray(len(row.checksums)))
        if marks is not None:
            marks[first:last] = b"\1" * (last - first)
            self._slots[row.offset] = marks if 0 in marks else None


def check(unchecked: Unchecked, seen: SeenSlots) -> None:
    """Compare with what was ingested. Raises: DamagedDataError: a slot has another checksum."""
    row, slots = unchecked.row, range(unchecked.first, unchecked.last)
    pixels = unchecked.frames.numpy().reshape(-1).data
    check_slots(pixels, row.checksums, slots, row.shard, row.video_id, row.shape[0])
    seen.add(row, slots.start, slots.stop)


@contextmanager
def checked_meanwhile(todo: Sequence[tuple[Unchecked, SeenSlots]]) -> Iterator[None]:
    """Check in a thread while the block works on the frames; it ends when both are done.

    Raises: DamagedDataError: as `check`.
    """
    faults: list[DamagedDataError] = []

    def run() -> None:
        try:
            for unchecked, seen in todo:
                check(unchecked, seen)
        except DamagedDataError as error:
            faults.append(error)

    if not todo:
        yield
        return
    thread = threading.Thread(target=run, name="checksums")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if faults:
        raise faults[0]
