"""Which videos a data set has, and what is known of each, before any is opened."""

import os
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "test", "unused")
# One list for each source frame, in it one [x0, y0, x1, y1] for each person, as fractions of width and height.
PersonBoxes = Sequence[Sequence[Sequence[float]]]

_ARRAY_GLOBALS = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    ),
}


@dataclass(frozen=True)
class Sources:
    """Where a data set lies; each data set says which of these it needs.

    Args:
        videos: folder of the videos (vp-synth; csv: where relative paths start, by default the manifest's folder)
        annotations: folder of the annotations (vp-synth)
        manifest: CSV file with columns path, action, split and a 0/1 column privacy_NAME for each attribute (csv)
    """

    videos: Path | None = None
    annotations: Path | None = None
    manifest: Path | None = None


class ManifestError(ValueError):
    """A list of videos that cannot be used as a whole."""


@dataclass(frozen=True)
class VideoEntry:
    """One video: a unique and stable id, its file, its labels (privacy: 0 or 1 in attribute order), its split."""

    video_id: str
    path: str
    action: str
    privacy: tuple[int, ...]
    split: str
    person_boxes: PersonBoxes | None = None


@dataclass(frozen=True)
class Rejection:
    """A listed video that is unusable before it is opened: a short code and the reason in words."""

    video_id: str
    path: str
    error: str
    message: str


@dataclass(frozen=True)
class Manifest:
    """All videos of a data set in order, names of actions sorted, names of attributes in label order."""

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    entries: tuple[VideoEntry, ...]
    rejected: tuple[Rejection, ...] = ()

    @property
    def videos_in(self) -> int:
        """Videos that were listed, usable or not."""
        return len(self.entries) + len(self.rejected)


@dataclass(frozen=True)
class Listed:
    """A video as a data set lists it, labels unchecked: `privacy` holds whatever stood there."""

    video_id: str
    path: str
    action: str
    privacy: Sequence[object]
    split: str
    person_boxes: PersonBoxes | None = None


def check_listed(dataset: str, attribute_names: Sequence[str], listed: Iterable[Listed]) -> Manifest:
    """Sort what a data set lists into usable entries and rejections, in order.

    Rejected are: missing files, labels not in {0, 1}, unknown splits, empty actions, and every listing of a file or
    an id after the first. Raises: ManifestError: nothing is listed.
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
            privacy = tuple(int(str(value)) for value in video.privacy)
            boxes = video.person_boxes
            entries.append(VideoEntry(video.video_id, video.path, video.action, privacy, video.split, boxes))
    if not entries and not rejected:
        raise ManifestError(f"{dataset} lists no videos")
    actions = tuple(sorted({entry.action for entry in entries}))
    return Manifest(dataset, actions, tuple(attribute_names), tuple(entries), tuple(rejected))


def _names(video: Listed) -> set[str]:
    return {f"id {video.video_id}", f"path {os.path.abspath(video.path)}"}


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
    if not os.path.isfile(video.path):
        return "missing", "no such file"
    return None


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy arrays are allowed")
        return super().find_class(module, name)


def load_label_pickle(path: Path, attributes: int) -> Mapping[str, NDArray[np.int64]]:
    """Published privacy labels: a pickled dict from `action/NAME.mp4` to an integer array (1, attributes).

    Nothing but dicts, strings and numpy arrays is unpickled: a pickle can otherwise run any program.
    Raises: ManifestError: missing, not such a pickle, or it asks for anything else.
    """
    try:
        with path.open("rb") as file:
            labels = _ArrayUnpickler(file).load()
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ManifestError(f"{path} cannot be read as privacy labels: {error}") from error
    if not isinstance(labels, dict):
        raise ManifestError(f"{path} holds a {type(labels).__name__}, not a dict of privacy labels")
    shapes = Counter(np.shape(label) for label in labels.values())
    if set(shapes) - {(1, attributes)}:
        raise ManifestError(f"{path} holds labels of shapes {sorted(shapes)}, not (1, {attributes})")
    return labels
