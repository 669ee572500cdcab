"""One shard: a fixed run of the manifest, decoded into a pair of Parquet files that appear whole or not at all."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data.detectors import make_detector
from pipelines.data.manifest import Manifest, VideoEntry
from pipelines.data.schema import FORMAT_VERSION, QUARANTINE_SCHEMA, VIDEO_SCHEMA, IngestSettings
from stprivacy.decoding import VideoError
from stprivacy.durable import sync_folder
from stprivacy.storage import is_remote, is_uri, local_copy, local_draft, location, object_state
from stprivacy.video import VideoFrames, read_video

VIDEOS, QUARANTINE = "videos", "quarantine"
SHARD_NAME = re.compile(r"\d{5,}-[0-9a-f]{16}\.parquet")
TEMPORARY_NAME = re.compile(r"\.(\d{5,}-[0-9a-f]{16}\.parquet|dataset\.json|ingest\.json)\.\d+\.partial")


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
    try:
        if is_uri(path):
            return object_state(location(path))
        state = os.stat(path)
    except OSError:
        return -1, -1  # gone since it was listed: decoding will say so
    return state.st_size, state.st_mtime_ns


def write_shard(shard: Shard, out: Path, settings: IngestSettings) -> None:
    """Decode a shard's videos and write its rows and its quarantine.

    The videos file is put into place last: it marks the pair as complete. Each row is a row group of its own.
    """
    rejects: list[dict[str, str]] = []
    with _atomic(out / VIDEOS / shard.name) as videos, _atomic(out / QUARANTINE / shard.name) as quarantine:
        with _video_writer(videos) as writer:
            for entry, actions in zip(shard.entries, shard.actions, strict=True):
                try:
                    writer.write_table(_row(entry, actions, settings), row_group_size=1)
                except VideoError as error:
                    rejects.append(quarantine_row(entry.video_id, entry.path, error.error, str(error)))
        write_quarantine_table(quarantine, rejects)


def quarantine_row(video_id: str, path: str, error: str, message: str) -> dict[str, str]:
    """One unusable video: a short code and the reason in words."""
    return {"video_id": video_id, "path": path, "error": error, "message": message}


def write_quarantine(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """A quarantine file that appears whole or not at all."""
    with _atomic(path) as temporary:
        write_quarantine_table(temporary, rows)


def write_quarantine_table(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """A quarantine file under exactly this name."""
    pq.write_table(pa.Table.from_pylist(list(rows), QUARANTINE_SCHEMA), path)


def _video_writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path, VIDEO_SCHEMA, compression="NONE", use_dictionary=False, write_statistics=False, data_page_version="1.0"
    )


def _row(entry: VideoEntry, actions: tuple[int, ...], settings: IngestSettings) -> pa.Table:
    with _on_disk(entry.path) as file:
        checksum = _checksum(file)
        video = read_video(
            file,
            stride=settings.stride,
            short_side_px=settings.short_side_px,
            tubelet_frames=settings.tubelet_frames,
            limits=settings.limits,
        )
    values = {
        "video_id": entry.video_id,
        "actions": actions,
        "privacy": list(entry.privacy),
        "splits": entry.splits,
        "shape": video.frames.shape,
        "fps": video.fps,
        "stride": settings.stride,
        "source_frames": video.source_frames,
        "checksum": checksum,
        "person_boxes": _person_boxes(entry, video, settings),
        "privacy_frames": _sampled(entry.privacy_frames, video, settings),
    }
    columns = [
        _frames_column(video) if field.name == "frames" else pa.array([values[field.name]], field.type)
        for field in VIDEO_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=VIDEO_SCHEMA)


def _frames_column(video: VideoFrames) -> pa.Array:
    """The pixels as one binary value, without a copy."""
    offsets = pa.array([0, video.frames.nbytes], pa.int64()).buffers()[1]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(video.frames)])


@contextmanager
def _on_disk(path: str) -> Iterator[str]:
    """The video as a local file. Raises: VideoError: the store has none, or does not give it to us.

    Any other fault is the network's, not the video's: it ends the task, which is then tried again.
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
        yield str(file)


def _checksum(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        raise VideoError(code, f"cannot be read: {error.strerror}") from error


def _person_boxes(entry: VideoEntry, video: VideoFrames, settings: IngestSettings) -> list[Any] | None:
    """Boxes of each stored frame: those that are known, or else the detector's, if there is one."""
    if entry.person_boxes or settings.detector == "none":
        return _sampled(entry.person_boxes, video, settings)
    return make_detector(settings.detector, settings.detector_weights)(video.frames)


def _sampled(values: Sequence[Any] | None, video: VideoFrames, settings: IngestSettings) -> list[Any] | None:
    """What is known of the sampled frames out of what is known of each source frame, the last repeated as they are."""
    if not values:
        return None
    last = min(video.source_frames, len(values)) - 1
    last_sampled = (video.source_frames - 1) // settings.stride
    return [values[min(min(slot, last_sampled) * settings.stride, last)] for slot in range(len(video.frames))]


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """A name to write to; what was written is put into place as `path` if nothing failed, else removed."""
    if is_remote(path):
        with local_draft(path) as draft:
            yield draft
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """A small text file that appears whole or not at all."""
    with _atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
