"""Person boxes out of a file: JSON lines {"video": id, "boxes": [[[x0, y0, x1, y1], ...] of each source frame]}."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.data.annotation_files import brief, decoded, faults_named, parse_json
from pipelines.data.manifest import Manifest, ManifestError, PersonBoxes

_LONGEST_LINE = 64 << 20  # two minutes of 240 frames a second, each with thirty boxes, as Python writes them
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
            raise ManifestError(f"{place}: the data set {manifest.dataset} lists no video {brief(video)}")
        boxes[video] = frames
    entries = (replace(entry, person_boxes=boxes.get(entry.video_id, entry.person_boxes)) for entry in manifest.entries)
    return replace(manifest, entries=tuple(entries))


def _read_lines(path: Path) -> Iterator[tuple[str, str, PersonBoxes]]:
    """Place, video and boxes of each line; a line ends where JSON lines do, at a line feed alone."""
    seen: dict[str, int] = {}
    with faults_named(path, "person boxes"), path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE + 1), b""), start=1):
            place = f"{path}:{number}"
            if len(line) > _LONGEST_LINE:
                raise ManifestError(f"{place}: the line is longer than {_LONGEST_LINE >> 20} MiB, the limit")
            if not line.strip():
                continue
            video, boxes = _parse(place, decoded(place, line))
            if video in seen:
                raise ManifestError(f"{place}: video {brief(video)} has boxes in line {seen[video]} already")
            seen[video] = number
            yield place, video, boxes


def _parse(place: str, line: str) -> tuple[str, PersonBoxes]:
    try:
        record = parse_json(line)
        video, boxes = record["video"], record["boxes"]
    except Exception as error:  # a line can be nested too deeply, or too large, as well as wrong
        raise ManifestError(f"{place}: not a line of person boxes ({brief(error)}); {_EXPECTED}") from error
    if not isinstance(video, str):
        raise ManifestError(f"{place}: video is {brief(video)}; {_EXPECTED}")
    if not isinstance(boxes, list):
        raise ManifestError(f"{place}: boxes is {brief(boxes)}; {_EXPECTED}")
    for number, frame in enumerate(boxes):
        if not isinstance(frame, list):
            raise ManifestError(f"{place}: frame {number} is {brief(frame)}; {_EXPECTED}")
        for box in frame:
            if not _is_box(box):
                raise ManifestError(f"{place}: frame {number} has the box {brief(box)}; {_EXPECTED}")
    return video, boxes


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        return False
    x0, y0, x1, y1 = box
    return bool(0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1)
