"""Videos as a list of one split has them, sorted into usable entries and rejections with a reason."""

import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from pipelines.data.annotation_files import brief
from pipelines.data.manifest import SPLITS, Manifest, PersonBoxes, Rejection, VideoEntry
from pipelines.text import printable
from stprivacy.storage import is_uri


@dataclass(frozen=True)
class Listed:
    """A video as a list gives it, labels unchecked: `privacy` holds whatever stood there.

    fault: a short code and the reason, where the reader has found the listing unusable itself.
    """

    video_id: str
    path: str
    action: str
    privacy: Sequence[object]
    split: str
    person_boxes: PersonBoxes | None = None
    fault: tuple[str, str] | None = None


def check_listed(
    dataset: str, attribute_names: Sequence[str], listed: Iterable[Listed], notes: Sequence[str] = ()
) -> Manifest:
    """Sort what a data set lists into usable entries and rejections, in order; names of actions sorted.

    Rejected are: what the reader rejects, labels not in {0, 1}, unknown splits, empty actions, and every listing of an
    id or a file after the first, under whatever name: links are seen through, so that no video is both trained on and
    tested on. Raises: ManifestError: nothing is listed.
    """
    entries: list[VideoEntry] = []
    rejected: list[Rejection] = []
    ids: set[str] = set()
    files: dict[Hashable, str] = {}  # the id under which each came first
    for video in listed:
        fault = video.fault or _repetition(video, ids, files) or _fault(video, attribute_names)
        if fault:
            rejected.append(Rejection(video.video_id, video.path, *fault))
        else:
            privacy = bytes(int(str(value)) for value in video.privacy)
            entries.append(
                VideoEntry(video.video_id, video.path, (video.action,), privacy, (video.split,), video.person_boxes)
            )
    actions = tuple(sorted({action for entry in entries for action in entry.actions}))
    return Manifest(dataset, actions, tuple(attribute_names), tuple(entries), tuple(rejected), notes=tuple(notes))


def _repetition(video: Listed, ids: set[str], files: dict[Hashable, str]) -> tuple[str, str] | None:
    """Why the listing repeats an earlier one, if it does; it is added to the ids and files."""
    first = files.setdefault(_file_identity(video.path), video.video_id)
    is_repeated = first != video.video_id or video.video_id in ids
    ids.add(video.video_id)
    if not is_repeated:
        return None
    other = f", as {printable(first)}" if first != video.video_id else ""
    return "duplicate", f"this file is already listed above{other}"


def _file_identity(path: str) -> Hashable:
    """What is the same for all names of one file; of an object, which has one name, or an absent file: the name."""
    if is_uri(path):
        return path
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    # Some network file systems number no files.
    return (state.st_dev << 64) | state.st_ino if state.st_ino else os.path.realpath(path)


def _fault(video: Listed, attribute_names: Sequence[str]) -> tuple[str, str] | None:
    bad = [
        f"{name}={brief(value)}"
        for name, value in zip(attribute_names, video.privacy, strict=True)
        if str(value) not in {"0", "1"}
    ]
    if bad:
        return "bad-label", f"privacy labels must be 0 or 1, got {', '.join(bad)}"
    if not video.action:
        return "bad-label", "no action is given"
    if video.split not in SPLITS:
        return "bad-split", f"split must be one of {', '.join(SPLITS)}, got {brief(video.split)}"
    return None
