"""What is wrong with the shards that an ingest finds in its folder: their pairs of files, and asked to, every frame."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.data.checksums import DamagedDataError, check_slots
from pipelines.data.records import QUARANTINE, VIDEOS, Quarantine, Seal, read_quarantine, read_shards
from pipelines.data.schema import Description, IngestSettings, plain_rows, read_description
from pipelines.data.stored import small_parts
from pipelines.data.tasks import run_tasks
from stprivacy.storage import absolute_location, is_remote, local_copy

_REMOTE_SHARDS = 16  # looked at together


@dataclass(frozen=True)
class Found:
    """The shards of a data set that are as they were written, and what is wrong with the others, by their names."""

    whole: dict[str, Quarantine]
    damaged: dict[str, str]


@dataclass(frozen=True)
class Finished:
    """What a finished data set's own files say of it: the seals of its shards, and digests of their quarantine."""

    description: Description
    shards: Mapping[str, tuple[Seal, str]]


def finished(out: Path) -> Finished | None:
    """What an earlier ingest wrote last; nothing if it never ended, or if that is damaged and to be written again."""
    try:
        description = read_description(out)
        return Finished(description, read_shards(out, description.shards_digest))
    except ValueError:
        return None


def inspect(out: Path, names: Sequence[str], before: Finished | None, settings: IngestSettings) -> Found:
    """Look at what is there of these shards: size and digest of a file, and whether a pair belongs together.

    A shard that lacks one of its files counts as neither whole nor damaged, unless the data set was finished. Videos
    that may now take longer are tried again: their shards count as neither.
    """
    found = Found({}, {})
    with ThreadPoolExecutor(_REMOTE_SHARDS if is_remote(out) else 1, "shards") as pool:
        for name, result in zip(names, pool.map(partial(_inspect, out, before), names), strict=True):
            if isinstance(result, str):
                found.damaged[name] = result
            elif result is not None and result.record:
                more = settings.seconds_per_video > result.record.seconds_per_video
                if not (more and any(row["error"] == "timed-out" for row in result.rows)):
                    found.whole[name] = result
    return found


def _inspect(out: Path, before: Finished | None, name: str) -> Quarantine | str | None:
    seal, digest = before.shards.get(name, (None, "")) if before else (None, "")
    files = [(out / folder / name).is_file() for folder in (VIDEOS, QUARANTINE)]
    if not all(files) and not seal:
        return None
    try:
        quarantine = read_quarantine(out / QUARANTINE / name, digest)
        if quarantine.record is None:  # that of rejected videos under a wrong name
            return f"{out / QUARANTINE / name} says nothing of its shard"
        with small_parts(out / VIDEOS / name, quarantine.record.seal):
            return quarantine
    except DamagedDataError as error:
        return error.fault


def inspect_frames(out: Path, found: Found, workers: int | None) -> Iterator[tuple[str, str]]:
    """Read every frame of the shards that seem whole, through Ray: each shard's name, and what is wrong with it.

    Raises: IngestError: as `run_tasks`.
    """
    folder = absolute_location(out) / VIDEOS
    items = [(folder / name, one.record.seal) for name, one in found.whole.items() if one.record]
    for position, fault in run_tasks(items, _frame_damage, workers):
        yield items[position][0].name, fault


def _frame_damage(shard: tuple[Path, Seal]) -> str:
    """What is wrong with a shard's frames; nothing if they are those that were ingested."""
    path, seal = shard
    try:
        with small_parts(path, seal), local_copy(path) as local, local.open("rb") as file:
            columns = pq.ParquetFile(local, pre_buffer=False).read(columns=["video_id", "slot_crc32", "shape"])
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as pixels:
                for row, (offset, length) in zip(plain_rows(columns), seal.frames, strict=True):
                    checksums = row["slot_crc32"]
                    with pixels[offset : offset + length] as frames:
                        check_slots(frames, checksums, range(len(checksums)), path, row["video_id"], row["shape"][0])
    except DamagedDataError as error:
        return error.fault
    return ""
