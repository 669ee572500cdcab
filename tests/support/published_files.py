"""Published annotation files in small, and where the real ones lie."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.places import ANNOTATIONS

needs_real_files = pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason=f"the real annotations are not at {ANNOTATIONS}")


def write_vp_labels(path: Path, labels: Mapping[str, Sequence[int]]) -> None:
    """A pickle of labels by `action/NAME.mp4`, as published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({key: np.array([values], dtype=np.int64) for key, values in labels.items()}, 4))


def write_hmdb51(folder: Path, videos: Mapping[str, Sequence[int]]) -> Path:
    """Split files for `action/NAME.avi` with its three codes, and labels that differ from video to video."""
    for action in {video.partition("/")[0] for video in videos}:
        for number in range(3):
            names = {video.partition("/")[2]: codes[number] for video, codes in videos.items() if f"{action}/" in video}
            lines = "".join(f"{name} {code} \n" for name, code in names.items())
            (folder / "splits").mkdir(parents=True, exist_ok=True)
            (folder / "splits" / f"{action}_test_split{number + 1}.txt").write_text(lines)
    labels = {video[:-4] + ".mp4": [at >> bit & 1 for bit in range(5)] for at, video in enumerate(videos)}
    write_vp_labels(folder / "vp" / "hmdb51_privacy_attribute_label.pickle", labels)
    return folder


def write_ucf101(folder: Path, trained: Sequence[str], tested: Sequence[str], end: str = "\r\n") -> Path:
    """Class index, three equal splits of `Action/NAME.avi`, and labels."""
    actions = sorted({video.partition("/")[0] for video in [*trained, *tested]})
    folder.mkdir(parents=True, exist_ok=True)
    index = "".join(f"{number} {action}{end}" for number, action in enumerate(actions, start=1))
    (folder / "classInd.txt").write_text(index, newline="")
    for number in (1, 2, 3):
        train = "".join(f"{video} {actions.index(video.partition('/')[0]) + 1}{end}" for video in trained)
        (folder / f"trainlist0{number}.txt").write_text(train, newline="")
        (folder / f"testlist0{number}.txt").write_text("".join(video + end for video in tested), newline="")
    labels = {video[:-4] + ".mp4": [0, 1, 0, 1, 0] for video in [*trained, *tested]}
    write_vp_labels(folder / "ucf101_privacy_attribute_label.pickle", labels)
    return folder


def write_pa_hmdb51(folder: Path, videos: Mapping[str, Mapping[str, Any]]) -> Path:
    """PrivacyAttributes/<action>.json for `action/NAME.avi`; attributes not given are invisible in frames 0 to 9."""
    by_action: dict[str, dict[str, Any]] = {}
    for video, given in videos.items():
        action, _, name = video.partition("/")
        unseen = {key: [[0, 9, 0]] for key in ("skin_color", "face", "gender", "nudity", "relationship")}
        by_action.setdefault(action, {})[name] = {**unseen, "review": True, **given}
    (folder / "PrivacyAttributes").mkdir(parents=True, exist_ok=True)
    for action, content in by_action.items():
        (folder / "PrivacyAttributes" / f"{action}.json").write_text(json.dumps(content, indent=1))
    return folder
