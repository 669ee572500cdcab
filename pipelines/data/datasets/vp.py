"""The privacy labels of VP-HMDB51 and VP-UCF101: a pickle, read without running it."""

import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.datasets.files import VideoFiles
from pipelines.data.manifest import VP_LABEL_ORDER, ManifestError, VideoEntry

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


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy arrays are allowed")
        return super().find_class(module, name)


def load_label_pickle(path: Path, attributes: int) -> Mapping[str, NDArray[np.int64]]:
    """Published privacy labels: a pickled dict from `action/NAME.mp4` to an integer array (1, attributes).

    Nothing but dicts, strings and numpy arrays is unpickled: a pickle can otherwise run any program.
    Raises: ManifestError: missing, not such a pickle, it asks for anything else, or a video has other attributes.
    """
    try:
        with path.open("rb") as file:
            labels = _ArrayUnpickler(file).load()
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ManifestError(f"{path} cannot be read as privacy labels: {error}") from error
    if not isinstance(labels, dict) or not all(isinstance(key, str) for key in labels):
        raise ManifestError(f"{path} holds a {type(labels).__name__}, not a dict of privacy labels by video name")
    for key, label in labels.items():
        if not isinstance(label, np.ndarray) or label.shape != (1, attributes) or label.dtype.kind not in "bui":
            raise ManifestError(f"{path}, {key}: expected an array of 1 x {attributes} integers, got {label!r}")
    return labels


class VPLabels:
    """VP labels by video, in the order of VP_LABEL_ORDER whatever the order of the file's columns."""

    def __init__(self, path: Path, label_order: Sequence[str], ignore_case: bool = False) -> None:
        """Read the pickle. Raises: ManifestError: as load_label_pickle; an order that is none of the attributes."""
        columns = ",".join(label_order).split(",")
        if sorted(columns) != sorted(VP_LABEL_ORDER):
            raise ManifestError(f"label_order must hold {', '.join(VP_LABEL_ORDER)}, each once; got {columns}")
        self._path, self._ignore_case = path, ignore_case
        own = [columns.index(name) for name in VP_LABEL_ORDER]
        self._labels: dict[str, bytes] = {}
        for key, label in load_label_pickle(path, len(columns)).items():
            values = label[0].tolist()
            if not all(value in (0, 1) for value in values):
                raise ManifestError(f"{path}, {key}: labels must be 0 or 1, got {values}")
            if self._key(key) in self._labels:
                raise ManifestError(f"{path}, {key}: another key differs from it in case only")
            self._labels[self._key(key)] = bytes(int(values[column]) for column in own)

    def of(self, video_id: str) -> bytes:
        """The labels of `action/NAME.avi`, whose key ends in .mp4. Raises: ManifestError: there are none."""
        label = self._labels.get(self._key(video_id.removesuffix(".avi") + ".mp4"))
        if label is None:
            raise ManifestError(f"{self._path}: no labels for {video_id}, which the split files list")
        return label

    def _key(self, name: str) -> str:
        return name.casefold() if self._ignore_case else name


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
