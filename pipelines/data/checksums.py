"""Checksums of shards: of each tubelet slot of frames, and of all that lies around the frames."""

import hashlib
import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Frames = Sequence[tuple[int, int]]  # first byte and length of each row's frames in a shard, in order


class DamagedDataError(ValueError):
    """A file of a data set is not the one that was ingested; `fault` says which, the message also what to do."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}: run jobs/ingest.py again with --verify to repair it")
        self.fault = fault

    def __reduce__(self) -> tuple[type["DamagedDataError"], tuple[str]]:
        return type(self), (self.fault,)


def slot_checksums(frames: NDArray[np.uint8], tubelet_frames: int) -> list[int]:
    """CRC-32 of each slot of `tubelet_frames` frames [t h w c]."""
    slots = frames.reshape(len(frames) // tubelet_frames, -1)
    return [zlib.crc32(slot.data) for slot in slots]


def check_slots(
    pixels: memoryview, checksums: Sequence[int], slots: range, shard: Path, video_id: str, frames: int
) -> None:
    """Compare slots of a video of so many frames with their CRC-32. Raises: DamagedDataError: one has another."""
    size = len(pixels) // len(checksums)
    for slot in slots:
        if zlib.crc32(pixels[slot * size : (slot + 1) * size]) != checksums[slot]:
            each = frames // len(checksums)
            shown = f"frames {slot * each} to {(slot + 1) * each - 1}"
            raise DamagedDataError(f"{shard} is damaged (video {video_id}, {shown} have another checksum)")


def surroundings(size: int, frames: Frames) -> list[tuple[int, int]]:
    """First and last byte (exclusive) of what lies around the frames in a file of `size` bytes."""
    firsts = [0, *(offset + length for offset, length in frames)]
    lasts = [*(offset for offset, _ in frames), size]
    return list(zip(firsts, lasts, strict=True))


def digest_around(path: Path, frames: Frames) -> str:
    """Digest of all bytes of a local file but the frames."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            return digest.hexdigest()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for first, last in surroundings(size, frames):
                digest.update(content[first:last])
    return digest.hexdigest()


def file_digest(content: bytes) -> str:
    """Digest of a small file."""
    return hashlib.sha256(content).hexdigest()
