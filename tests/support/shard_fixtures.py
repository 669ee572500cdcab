"""A tiny ingested data set, written with plain pyarrow to the layout that `pipelines.data.reader` expects.

A square moves over a plain background: its direction tells the action, its and the background's colours tell
the attributes, so that a small model can learn both.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.data.checksums import digest_around, file_digest, slot_checksums
from pipelines.data.records import SHARDS_FILE, Quarantine, Seal, ShardRecord, shards_content
from pipelines.data.schema import FORMAT_VERSION, VIDEO_SCHEMA, WITHOUT_CHECKSUMS, description_text
from pipelines.data.stored import frame_offsets

DIRECTIONS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}  # name: steps in (y, x)
ATTRIBUTES = ("skin_color", "face", "gender", "nudity", "relationship")


def write_tiny_dataset(
    folder: Path,
    videos: int = 8,
    test_videos: int = 4,
    frames: int | Sequence[int] = 16,
    height: int = 32,
    width: int = 40,
    actions: Sequence[str] = ("down", "up"),
    attributes: int = 5,
    seed: int = 0,
    tubelet_frames: int = 2,
    shard_videos: int = 5,
    extra_splits: Sequence[str] = (),
    second_split: Sequence[str] = (),
    multi_label: bool = False,
    attribute_names: Sequence[str] = ATTRIBUTES,
    frame_labels: bool = False,
    dataset: str = "tiny",
    stride: int = 1,
    person_boxes: Mapping[int, Any] = {},
    checksums: bool = True,
) -> Path:
    """Write `videos` training and `test_videos` test videos of uint8 frames; give back the folder.

    `frames` may be a list of lengths, used in turn; `actions` names DIRECTIONS; up to 5 `attributes`;
    `extra_splits` adds one row each. Actions are balanced, attributes are independent coin flips. `second_split`
    names each row's part in a second official split; with `multi_label`, every second row shows all actions; with
    `frame_labels`, the second half of each video draws its attributes anew, and every frame is labelled. Boxes are the
    square's, unless `person_boxes` has others for a row's number. Without `checksums` it is of the older format.
    """
    rng = np.random.default_rng(seed)
    lengths = [frames] if isinstance(frames, int) else list(frames)
    names = sorted(actions)
    splits = ["train"] * videos + ["test"] * test_videos + list(extra_splits)
    rows = [
        _row(i, split, names, attributes, (lengths[i % len(lengths)], height, width), rng, stride, frame_labels)
        for i, split in enumerate(splits)
    ]
    for row, part in zip(rows, second_split, strict=False):
        row["splits"].append(part)
    for number, boxes in person_boxes.items():
        rows[number]["person_boxes"] = boxes
    for row in rows[::2] if multi_label else []:
        row["actions"] = list(range(len(names)))
    for row in rows:
        video = np.frombuffer(row["frames"], np.uint8).reshape(row["shape"])
        row["slot_crc32"] = slot_checksums(video, tubelet_frames)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for shard, first in enumerate(range(0, len(rows), shard_videos)):
        path = folder / "videos" / f"{shard:05d}-{shard:016x}.parquet"
        write_shard(path, rows[first : first + shard_videos], checksums)
    settings = {"stride": stride, "short_side_px": min(height, width), "tubelet_frames": tubelet_frames}
    identity = json.dumps([[row["video_id"], row["checksum"]] for row in rows] + [settings])
    description = {
        "format_version": FORMAT_VERSION if checksums else WITHOUT_CHECKSUMS,
        "dataset": dataset,
        "action_names": names,
        "attribute_names": list(attribute_names[:attributes]),
        "multi_label": multi_label,
        "splits": 2 if second_split else 1,
        "counts": {"videos_in": len(rows), "rows": len(rows), "quarantined": 0}
        | {split: splits.count(split) for split in ("train", "test", "unused")},
        "settings": settings,
        "fingerprint": hashlib.sha256(identity.encode()).hexdigest(),
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    if checksums:
        seal_dataset(folder)
    return folder


def write_shard(path: Path, rows: list[dict[str, Any]], checksums: bool = True, **layout: Any) -> None:
    """Write rows as one shard; `layout` replaces options of the layout that the reader expects."""
    options = {"row_group_size": 1, "use_dictionary": False, "compression": "none", "data_page_version": "1.0"}
    schema = (
        VIDEO_SCHEMA if checksums else pa.schema([x for x in VIDEO_SCHEMA if x.name not in ("slot_crc32", "notes")])
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, **(options | layout))


def seal_dataset(folder: Path, **changes: Any) -> None:
    """Write down the checksums of what lies there, as an ingest does; `changes` replace fields of its description."""
    quarantines = {}
    for path in sorted((folder / "videos").glob("*.parquet")):
        with pa.memory_map(str(path)) as source, pq.ParquetFile(source) as file:
            lengths = tuple(map(len, file.read(columns=["frames"]).column("frames").to_pylist()))
            offsets = tuple(frame_offsets(file, source, lengths))
        digest = digest_around(path, list(zip(offsets, lengths, strict=True)))
        record = ShardRecord(Seal(path.stat().st_size, digest, offsets, lengths), "", (), 0, 0, (), 0.0)
        quarantines[path.name] = Quarantine([], record, "")
    content = shards_content(quarantines)
    (folder / SHARDS_FILE).write_bytes(content)
    fields = json.loads((folder / "dataset.json").read_text()) | {"shards_digest": file_digest(content)} | changes
    (folder / "dataset.json").write_text(description_text(fields))


def _row(
    index: int,
    split: str,
    action_names: Sequence[str],
    attributes: int,
    size: tuple[int, int, int],
    rng: np.random.Generator,
    stride: int,
    frame_labels: bool,
) -> dict[str, Any]:
    action = action_names[index % len(action_names)]
    labels = np.tile(rng.integers(0, 2, attributes), (size[0], 1))  # t p
    if frame_labels:
        labels[size[0] // 2 :] = rng.integers(0, 2, attributes)
    frames, boxes = draw_video(action, labels, size, rng)
    return {
        "video_id": f"{action}/{index:04d}.mp4",
        "actions": [index % len(action_names)],
        "privacy": labels.max(0).tolist(),
        "splits": [split],
        "frames": frames.tobytes(),
        "shape": list(frames.shape),
        "fps": 25.0,
        "stride": stride,
        "source_frames": len(frames),
        "checksum": hashlib.sha256(frames.tobytes()).hexdigest(),
        "notes": [],
        "person_boxes": boxes,
        "privacy_frames": labels.tolist() if frame_labels else None,
    }


def draw_video(
    action: str, labels: NDArray[np.int64], size: tuple[int, int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[list[list[float]]]]:
    """One video [t h w 3] and its box [x0, y0, x1, y1] (fractions) in each frame.

    `labels` [t p]: the square's red, green and blue tell attributes 0 to 2; the background's red and green 3 and 4.
    """
    count, height, width = size
    bits = np.zeros((count, 6), dtype=np.int64)
    bits[:, : labels.shape[1]] = labels
    side = max(2, min(height, width) // 3)
    spans = np.array([height - side, width - side])
    step = np.array(DIRECTIONS[action])
    middle = (spans * rng.uniform(0.2, 0.8, 2)).astype(int)
    video = np.empty((count, height, width, 3), dtype=np.uint8)
    boxes = []
    for frame in range(count):
        place = frame / max(count - 1, 1)
        travel = np.where(step > 0, place, 1 - place) * spans
        y, x = np.where(step != 0, travel, middle).astype(int)
        video[frame] = 20 + 80 * bits[frame, 3:]
        video[frame, y : y + side, x : x + side] = 150 + 100 * bits[frame, :3]
        boxes.append([[x / width, y / height, (x + side) / width, (y + side) / height]])
    noise = rng.integers(-5, 6, video.shape)
    return np.clip(video + noise, 0, 255).astype(np.uint8), boxes
