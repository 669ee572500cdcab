"""The privacy labels of VP-HMDB51 and VP-UCF101: a pickle, read without running it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.data.annotation_files import brief, faults_named, read_bounded
from pipelines.data.datasets.files import VideoFiles
from pipelines.data.datasets.label_pickle import read_label_pickle
from pipelines.data.manifest import VP_LABEL_ORDER, ManifestError, VideoEntry
from pipelines.text import printable

# The largest published file has 1.5 MB.
_LARGEST_BYTES = 8 << 20
_KIND = "privacy labels"


def load_label_pickle(path: Path, attributes: int) -> Mapping[str, NDArray[np.int64]]:
    """Published privacy labels: a pickled dict from `action/NAME.mp4` to an integer array (1, attributes).

    Nothing but dicts, strings and arrays of integers is read: a pickle can otherwise run any program.
    Raises: ManifestError: missing, not such a pickle, it asks for anything else, or a video has other attributes.
    """
    content = read_bounded(path, _KIND, _LARGEST_BYTES)
    with faults_named(path, _KIND):
        labels = read_label_pickle(content)
    for key, label in labels.items():
        if label.shape != (1, attributes):
            place = f"{path}, {printable(key)}"
            raise ManifestError(f"{place}: expected an array of 1 x {attributes} integers, got {brief(label)}")
    return labels


class VPLabels:
    """VP labels by video, in the order of VP_LABEL_ORDER whatever the order of the file's columns."""

    def __init__(self, path: Path, label_order: Sequence[str], ignore_case: bool = False) -> None:
        """Read the pickle. Raises: ManifestError: as load_label_pickle; an order that is none of the attributes."""
        columns = ",".join(label_order).split(",")
        if sorted(columns) != sorted(VP_LABEL_ORDER):
            raise ManifestError(f"label_order must hold {', '.join(VP_LABEL_ORDER)}, each once; got {columns}")
        self._path = path
        self._key: Callable[[str], str] = str.casefold if ignore_case else str
        own = [columns.index(name) for name in VP_LABEL_ORDER]
        self._labels: dict[str, bytes] = {}
        for key, label in load_label_pickle(path, len(columns)).items():
            values = label[0].tolist()
            if not all(value in (0, 1) for value in values):
                raise ManifestError(f"{path}, {printable(key)}: labels must be 0 or 1, got {values}")
            if self._key(key) in self._labels:
                raise ManifestError(f"{path}, {printable(key)}: another key differs from it in case only")
            self._labels[self._key(key)] = bytes(int(values[column]) for column in own)

    def of(self, video_id: str) -> bytes:
        """The labels of `action/NAME.avi`, whose key ends in .mp4. Raises: ManifestError: there are none."""
        label = self._labels.get(self._key(video_id.removesuffix(".avi") + ".mp4"))
        if label is None:
            raise ManifestError(f"{self._path}: no labels for {video_id}, which the split files list")
        return label


def labelled_entries(
    video_ids: Iterable[str], files: VideoFiles, labels: VPLabels, splits: Sequence[Mapping[str, str]]
) -> tuple[VideoEntry, ...]:
    """An entry for each `action/NAME.avi`, with its VP labels and its part of every split."""
    return tuple(
        VideoEntry(
            video_id,
            files.path(video_id),
            (video_id.partition("/")[0],),
            labels.of(video_id),
            tuple(split[video_id] for split in splits),
        )
        for video_id in video_ids
    )
