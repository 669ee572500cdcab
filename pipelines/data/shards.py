"""One shard: a fixed run of the manifest, decoded into a pair of Parquet files that appear whole or not at all."""

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data.checksums import digest_around, slot_checksums
from pipelines.data.decoder import process_decoder
from pipelines.data.decoder_process import described, flat
from pipelines.data.detectors import make_detector
from pipelines.data.manifest import SPLITS, Manifest, VideoEntry
from pipelines.data.records import QUARANTINE, VIDEOS, Seal, ShardRecord, quarantine_content, quarantine_row
from pipelines.data.schema import FORMAT_VERSION, VIDEO_SCHEMA, IngestSettings
from pipelines.data.stored import frame_offsets
from pipelines.text import printable
from stprivacy.storage import StorageError, atomic_file, is_uri, local_copy, location, object_state, write_whole
from stprivacy.video.decoding import VideoError
from stprivacy.video.sampled import VideoFrames

SHARD_NAME = re.compile(r"\d{5,}-[0-9a-f]{16}\.parquet")
_GONE, _LOCKED = (-1, -1), (-2, -2)  # in place of size and time


@dataclass(frozen=True)
class Shard:
    """Entries of the manifest that share a file, and the file's name: their place in order and a hash of all input."""

    name: str
    entries: tuple[VideoEntry, ...]
    actions: tuple[tuple[int, ...], ...]


def plan_shards(manifest: Manifest, settings: IngestSettings) -> list[Shard]:
    """Cut the manifest into shards. A name changes with labels, settings, and the size or time of any of its files."""
    index = {name: number for number, name in enumerate(manifest.action_names)}
    identity, shards = settings.identity(), list[Shard]()
    for begin in range(0, len(manifest.entries), settings.shard_videos):
        entries = manifest.entries[begin : begin + settings.shard_videos]
        actions = tuple(tuple(index[action] for action in entry.actions) for entry in entries)
        inputs = [[asdict(entry), _file_state(entry.path)] for entry in entries]
        name = shard_name(len(shards), [inputs, manifest.action_names, manifest.attribute_names, identity])
        shards.append(Shard(name, entries, actions))
    return shards


def shard_name(number: int, inputs: object) -> str:
    """`NNNNN-<hash of inputs>.parquet`."""
    content = json.dumps([FORMAT_VERSION, inputs], sort_keys=True, default=bytes.hex).encode()
    return f"{number:05d}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"


def _file_state(path: str) -> tuple[int, int | str]:
    """What changes when a file does, or when it becomes one that can be read."""
    try:
        if is_uri(path):
            return object_state(location(path))
        state = os.stat(path)
    except OSError:
        return _GONE  # since it was listed, or in a locked folder: decoding will say so
    return (state.st_size, state.st_mtime_ns) if os.access(path, os.R_OK) else _LOCKED


def write_shard(shard: Shard, out: Path, settings: IngestSettings) -> None:
    """Decode a shard's videos and write its rows and its quarantine. Each row is a row group of its own.

    Raises: Exception: what is not a video's fault: the output cannot be written, a store does not answer, or no process
        can be started to read videos.
    """
    rejects: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    layout = {"compression": "NONE", "use_dictionary": False, "write_statistics": False, "data_page_version": "1.0"}
    # A quarantine file beside videos that it does not describe would be noticed, and done again.
    with atomic_file(out / VIDEOS / shard.name) as draft:
        with pq.ParquetWriter(draft, VIDEO_SCHEMA, **layout) as writer:
            for entry, actions in zip(shard.entries, shard.actions, strict=True):
                try:
                    row = _row(entry, actions, settings)
                except VideoError as error:
                    rejects.append(quarantine_row(entry.video_id, entry.path, error.error, flat(str(error))))
                else:
                    writer.write_table(row, row_group_size=1)
                    rows += row.drop_columns("frames").to_pylist()
        record = _record(_seal(draft, [math.prod(row["shape"]) for row in rows]), rows, settings)
        write_whole(out / QUARANTINE / shard.name, quarantine_content(rejects, record))


def _seal(path: Path, lengths: Sequence[int]) -> Seal:
    with pa.memory_map(str(path)) as source, pq.ParquetFile(source, pre_buffer=False) as file:
        offsets = tuple(frame_offsets(file, source, lengths))
    digest = digest_around(path, list(zip(offsets, lengths, strict=True)))
    return Seal(path.stat().st_size, digest, offsets, tuple(lengths))


def _record(seal: Seal, rows: Sequence[Mapping[str, Any]], settings: IngestSettings) -> ShardRecord:
    """What is known of a shard, by its rows without frames: these are in the digest by their checksums."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps({**row, "notes": []}, sort_keys=True).encode())
    counts = [Counter(split) for split in zip(*(row["splits"] for row in rows), strict=True)]
    boxes = [sum(map(len, row["person_boxes"])) for row in rows if row["person_boxes"] is not None]
    return ShardRecord(
        seal,
        content=digest.hexdigest(),
        splits=tuple({name: count[name] for name in SPLITS} for count in counts),
        with_boxes=len(boxes),
        without_person=boxes.count(0),
        notes=tuple((row["video_id"], note) for row in rows for note in row["notes"]),
        seconds_per_video=settings.seconds_per_video,
    )


def _row(entry: VideoEntry, actions: tuple[int, ...], settings: IngestSettings) -> pa.Table:
    """Raises: VideoError: the video, or what is known of it, cannot be a row."""
    with _on_disk(entry.path) as file:
        video, checksum = process_decoder().read(file, settings)
    with _failure_named("finding persons in it"):
        if entry.person_boxes or settings.detector == "none":
            boxes = _sampled(entry.person_boxes, video, settings)
        else:
            boxes = make_detector(settings.detector, settings.detector_weights)(video.frames)
    with _failure_named("storing it"):
        # The pixels as one binary value, without a copy.
        offsets = pa.array([0, video.frames.nbytes], pa.int64()).buffers()[1]
        pixels = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(video.frames)])
        values = {
            "video_id": printable(entry.video_id),
            "actions": actions,
            "privacy": list(entry.privacy),
            "splits": entry.splits,
            "shape": video.frames.shape,
            "fps": video.fps,
            "stride": settings.stride,
            "source_frames": video.source_frames,
            "checksum": checksum,
            "slot_crc32": slot_checksums(video.frames, settings.tubelet_frames),
            "notes": [printable(note) for note in video.notes],
            "person_boxes": boxes,
            "privacy_frames": _sampled(entry.privacy_frames, video, settings),
        }
        columns = [
            pixels if field.name == "frames" else pa.array([values[field.name]], field.type) for field in VIDEO_SCHEMA
        ]
        return pa.Table.from_arrays(columns, schema=VIDEO_SCHEMA)


@contextmanager
def _failure_named(part: str) -> Iterator[None]:
    """Inside it, whatever fails is the video's fault. Raises: VideoError: failed."""
    try:
        yield
    except Exception as error:  # a detector, or labels of any kind
        raise VideoError("failed", f"{part} failed: {described(error)}") from error


@contextmanager
def _on_disk(path: str) -> Iterator[str]:
    """The video as a local file.

    Raises: VideoError: the store has none, or does not give it to us. StorageError: any other fault is the network's.
    """
    if not is_uri(path):
        yield path
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(local_copy(location(path)))
        except FileNotFoundError as error:
            raise VideoError("missing", "no such object") from error
        except PermissionError as error:
            raise VideoError("unreadable", f"cannot be read: {error}") from error
        except Exception as error:  # each store has errors of its own
            raise StorageError(f"{path} cannot be fetched: {described(error)}") from error
        yield str(file)


def _sampled(values: Sequence[Any] | None, video: VideoFrames, settings: IngestSettings) -> list[Any] | None:
    """What is known of the sampled frames out of what is known of each source frame, the last repeated as they are."""
    if not values:
        return None
    last = min(video.source_frames, len(values)) - 1
    last_sampled = (video.source_frames - 1) // settings.stride
    return [values[min(min(slot, last_sampled) * settings.stride, last)] for slot in range(len(video.frames))]
