"""Which videos a data set has, and what is known of each, before any is opened."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.locations import Location
from pipelines.text import printable
from stprivacy.storage import is_uri, is_utf8, location

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
        manifest: CSV file in UTF-8 with columns path, action, split and a 0/1 column privacy_NAME for each attribute;
            1.0, 0.0, True and False are read as such. A path may name any file that you can read, here or in an object
            store: ingest no manifest that you do not trust (csv)
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


_LONGEST_LINE = 1000  # characters of a message


class ManifestError(ValueError):
    """A list of videos that cannot be used as a whole.

    What the message quotes was written by others: each of its lines is made printable and kept short.
    """

    def __init__(self, message: str) -> None:
        lines = (printable(line) for line in message.split("\n"))
        super().__init__("\n".join(f"{line[:_LONGEST_LINE]}{'...' * (len(line) > _LONGEST_LINE)}" for line in lines))


@dataclass(frozen=True)
class VideoEntry:
    """One video: a unique and stable id, the file where it lies or should lie, and its labels.

    The path is as the system has it: bytes of a local name that are not UTF-8 stand in it as lone surrogates. Print and
    store `printable(path)`.

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
        """The file exists and can be seen."""
        return location(self.path).is_file() if is_uri(self.path) else os.path.isfile(self.path)


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

    notes: what the user should read, a line each.
    Raises: ManifestError: nothing is listed, a video twice, or one whose name cannot be stored.
    """

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    entries: tuple[VideoEntry, ...]
    rejected: tuple[Rejection, ...] = ()
    multi_label: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.videos_in:
            raise ManifestError(f"{self.dataset} lists no videos")
        seen: set[str] = set()
        for entry in self.entries:
            if entry.video_id in seen:
                raise ManifestError(f"{self.dataset} lists {printable(entry.video_id)} twice")
            seen.add(entry.video_id)
            if not entry.video_id or not is_utf8(entry.video_id) or "\0" in entry.video_id + entry.path:
                raise ManifestError(
                    f"{self.dataset} lists the name {printable(entry.video_id)!r}, which is not text in UTF-8 without "
                    "NUL: rename the video"
                )

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
    """The first of many paths, a line each, as they can be printed."""
    title = f"The first {shown}:" if len(paths) > shown else "They are:"
    return "\n  ".join([title, *map(printable, paths[:shown])])
