"""Which videos a data set has, and what is known of each, before any is opened."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.locations import Location
from stprivacy.storage import is_uri, location

SPLITS = ("train", "test", "unused")
# Columns of the published VP label files. The paper lists its attributes in another order; in this one, each attribute
# of PA-HMDB51 agrees better with its own column than with any other, on the 515 videos that both label.
VP_LABEL_ORDER = ("skin_color", "face", "gender", "nudity", "relationship")
# One list for each source frame, in it one [x0, y0, x1, y1] for each person, as fractions of width and height.
PersonBoxes = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Sources:
    """Where a data set lies and how its annotations are read; each data set says which of these it needs.

    Args:
        videos: folder of the videos (csv: where relative paths start, by default the manifest's folder)
        annotations: folder below which the published annotation files lie (all but csv)
        manifest: CSV file with columns path, action, split and a 0/1 column privacy_NAME for each attribute (csv)
        label_order: the attributes in column order of the VP label file, comma-separated (hmdb51, ucf101)
        split_seed: of the random 60/40 split (pa-hmdb51, celebv-hq)
        boxes: person boxes as JSON lines {"video": path in the manifest, "boxes": [[[x0, y0, x1, y1], ...], ...]}: for
            each source frame a list of boxes, in fractions of width and height (all; elsewhere video is the video's id)
    """

    videos: Location | None = None
    annotations: Location | None = None
    manifest: Location | None = None
    label_order: tuple[str, ...] = VP_LABEL_ORDER
    split_seed: int = 0
    boxes: Location | None = None

    def folders(self, dataset: str) -> tuple[Location, Location]:
        """Videos and annotations. Raises: ManifestError: one of them is not given."""
        if self.videos is None or self.annotations is None:
            raise ManifestError(f"the data set {dataset} needs --videos DIR and --annotations DIR")
        return self.videos, self.annotations


class ManifestError(ValueError):
    """A list of videos that cannot be used as a whole."""


@dataclass(frozen=True)
class VideoEntry:
    """One video: a unique and stable id, the file where it lies or should lie, and its labels.

    actions: one, or in a multi-label data set one or more; privacy: a byte, 0 or 1, for each attribute in order;
    splits: train, test or unused in each official split; person_boxes and privacy_frames, where they are known: a
    value for each source frame, the latter 0 or 1 for each attribute in order.
    """

    video_id: str
    path: str
    actions: tuple[str, ...]
    privacy: bytes
    splits: tuple[str, ...]
    person_boxes: PersonBoxes | None = None
    privacy_frames: Sequence[Sequence[int]] | None = None

    @property
    def is_present(self) -> bool:
        """The file exists."""
        return location(self.path).is_file()


@dataclass(frozen=True)
class Rejection:
    """A listed video that is unusable before it is opened: a short code and the reason in words."""

    video_id: str
    path: str
    error: str
    message: str


@dataclass(frozen=True)
class Manifest:
    """All videos of a data set in order, on disk or not, and the names of actions and attributes in label order.

    Raises: ManifestError: nothing is listed.
    """

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    entries: tuple[VideoEntry, ...]
    rejected: tuple[Rejection, ...] = ()
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not self.videos_in:
            raise ManifestError(f"{self.dataset} lists no videos")

    @property
    def videos_in(self) -> int:
        """Videos that were listed, usable or not."""
        return len(self.entries) + len(self.rejected)

    @property
    def splits(self) -> int:
        """Official splits."""
        return len(self.entries[0].splits) if self.entries else 1


def check_present(manifest: Manifest) -> None:
    """Stop before a data set is ingested that is not whole. Raises: ManifestError: files that are not on disk."""
    absent = [entry.path for entry in manifest.entries if not entry.is_present]
    if absent:
        raise ManifestError(
            f"{len(absent)} of {manifest.videos_in} videos of {manifest.dataset} are not on disk; --allow-missing goes "
            f"on and quarantines them. {listing(absent)}"
        )


def split_counts(counts: Mapping[str, int]) -> str:
    """How many videos of an official split are train, test and unused."""
    return ", ".join(f"{counts[part]} {part}" for part in SPLITS)


def listing(paths: Sequence[str], shown: int = 10) -> str:
    """The first of many paths, a line each."""
    title = f"The first {shown}:" if len(paths) > shown else "They are:"
    return "\n  ".join([title, *paths[:shown]])


@dataclass(frozen=True)
class Listed:
    """A video as a list of one split gives it, labels unchecked: `privacy` holds whatever stood there."""

    video_id: str
    path: str
    action: str
    privacy: Sequence[object]
    split: str
    person_boxes: PersonBoxes | None = None


def check_listed(dataset: str, attribute_names: Sequence[str], listed: Iterable[Listed]) -> Manifest:
    """Sort what a data set lists into usable entries and rejections, in order; names of actions sorted.

    Rejected are: labels not in {0, 1}, unknown splits, empty actions, and every listing of a file or an id after the
    first. Raises: ManifestError: nothing is listed.
    """
    entries: list[VideoEntry] = []
    rejected: list[Rejection] = []
    seen: set[str] = set()
    for video in listed:
        fault = _fault(video, attribute_names, seen)
        seen |= _names(video)
        if fault:
            rejected.append(Rejection(video.video_id, video.path, *fault))
        else:
            privacy = bytes(int(str(value)) for value in video.privacy)
            entries.append(
                VideoEntry(video.video_id, video.path, (video.action,), privacy, (video.split,), video.person_boxes)
            )
    actions = tuple(sorted({action for entry in entries for action in entry.actions}))
    return Manifest(dataset, actions, tuple(attribute_names), tuple(entries), tuple(rejected))


def _names(video: Listed) -> set[str]:
    return {f"id {video.video_id}", f"path {video.path if is_uri(video.path) else os.path.abspath(video.path)}"}


def _fault(video: Listed, attribute_names: Sequence[str], seen: set[str]) -> tuple[str, str] | None:
    bad = [
        f"{name}={value!r}"
        for name, value in zip(attribute_names, video.privacy, strict=True)
        if str(value) not in {"0", "1"}
    ]
    if _names(video) & seen:
        return "duplicate", "this file is already listed above"
    if bad:
        return "bad-label", f"privacy labels must be 0 or 1, got {', '.join(bad)}"
    if not video.action:
        return "bad-label", "no action is given"
    if video.split not in SPLITS:
        return "bad-split", f"split must be one of {', '.join(SPLITS)}, got {video.split!r}"
    return None
