"""Person boxes out of a file: JSON lines {"video": id, "boxes": [[[x0, y0, x1, y1], ...] of each source frame]}."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.data.manifest import Manifest, ManifestError, PersonBoxes

_EXPECTED = (
    'expected {"video": ..., "boxes": [...]}: for each source frame a list of boxes [x0, y0, x1, y1], fractions of '
    "width and height with 0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1"
)


def read_boxes(path: Path) -> dict[str, PersonBoxes]:
    """Person boxes by video. Raises: ManifestError: unreadable, a malformed line, or a video in two lines."""
    return {video: boxes for _, video, boxes in _read_lines(path)}


def with_boxes(manifest: Manifest, path: Path) -> Manifest:
    """The manifest with the person boxes of a file in place of its own.

    Raises: ManifestError: as `read_boxes`; a video that the manifest does not list.
    """
    listed = {entry.video_id for entry in manifest.entries} | {video.video_id for video in manifest.rejected}
    boxes: dict[str, PersonBoxes] = {}
    for place, video, frames in _read_lines(path):
        if video not in listed:
            raise ManifestError(f"{place}: the data set {manifest.dataset} lists no video {video!r}")
        boxes[video] = frames
    entries = (replace(entry, person_boxes=boxes.get(entry.video_id, entry.person_boxes)) for entry in manifest.entries)
    return replace(manifest, entries=tuple(entries))


def _read_lines(path: Path) -> Iterator[tuple[str, str, PersonBoxes]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as person boxes: {error}") from error
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        video, boxes = _parse(f"{path}:{number}", line)
        if video in seen:
            raise ManifestError(f"{path}:{number}: video {video!r} has boxes in line {seen[video]} already")
        seen[video] = number
        yield f"{path}:{number}", video, boxes


def _parse(place: str, line: str) -> tuple[str, PersonBoxes]:
    try:
        record = json.loads(line)
        video, boxes = record["video"], record["boxes"]
        if not isinstance(video, str):
            raise ManifestError(f"{place}: video is {video!r}; {_EXPECTED}")
        for number, frame in enumerate(boxes):
            for box in frame:
                if not _is_box(box):
                    raise ManifestError(f"{place}: frame {number} has the box {box!r}; {_EXPECTED}")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{place}: not a line of person boxes ({error!r}); {_EXPECTED}") from error
    return video, boxes


def _is_box(box: Any) -> bool:
    x0, y0, x1, y1 = box if isinstance(box, list) and len(box) == 4 else (1, 1, 0, 0)
    return bool(0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1)
