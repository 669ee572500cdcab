"""PA-HMDB51: frame-wise attributes as labels of videos and of frames."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import Manifest, ManifestError, Sources
from tests.support.places import ANNOTATIONS
from tests.support.published_files import needs_real_files, write_pa_hmdb51


def load(folder: Path, split_seed: int = 0) -> Manifest:
    return load_manifest("pa-hmdb51", Sources(Path("none"), folder, split_seed=split_seed))


@needs_real_files
def test_the_real_files() -> None:
    manifest = load(ANNOTATIONS)
    assert (len(manifest.entries), len(manifest.action_names), manifest.rejected) == (515, 51, ())
    assert Counter(entry.splits for entry in manifest.entries) == {("train",): 309, ("test",): 206}
    rates = np.array([list(entry.privacy) for entry in manifest.entries]).mean(0)
    assert dict(zip(manifest.attribute_names, rates.round(3).tolist(), strict=True)) == {
        "skin_color": 0.967,
        "face": 0.54,
        "gender": 0.983,
        "nudity": 0.594,
        "relationship": 0.171,
    }
    tested = np.array([list(entry.privacy) for entry in manifest.entries if entry.splits == ("test",)])
    assert ((tested.mean(0) > 0) & (tested.mean(0) < 1)).all()
    frames = np.concatenate([np.array(entry.privacy_frames) for entry in manifest.entries])
    assert frames.mean(0).round(2).tolist() == [0.97, 0.37, 0.98, 0.6, 0.16]
    hmdb51 = {entry.video_id for entry in load_manifest("hmdb51", Sources(Path("none"), ANNOTATIONS)).entries}
    assert {entry.video_id for entry in manifest.entries} <= hmdb51


def test_intervals_become_labels_of_frames_and_a_video_shows_what_any_frame_shows(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "face": [[0, 2, 1], [3, 4, 2], [4, 5, 0]],  # partial, complete, and an overlap
        "gender": [[2, 5, [1, 2]]],  # several values; the first frames lie in no interval
        "skin_color": [[0, 3, [1, 3]], [4, 5, 0]],
        "nudity": [[0, 5, 0]],
        "relationship": [[0, 5, 1]],
        "note": "",
    }
    manifest = load(write_pa_hmdb51(tmp_path, {"hug/a(1).avi": given, "wave/b.avi": {}}))
    first, second = manifest.entries
    assert (first.video_id, first.actions, first.path) == ("hug/a(1).avi", ("hug",), "none/hug/a(1).avi")
    assert manifest.attribute_names == ("skin_color", "face", "gender", "nudity", "relationship")
    assert first.privacy_frames == [
        [1, 0, 0, 0, 1],
        [1, 0, 0, 0, 1],
        [1, 0, 1, 0, 1],
        [1, 1, 1, 0, 1],
        [0, 1, 1, 0, 1],
        [0, 0, 1, 0, 1],
    ]
    assert first.privacy == b"\1\1\1\0\1"
    assert (second.privacy, len(second.privacy_frames or [])) == (b"\0\0\0\0\0", 10)


def test_partial_faces_alone_do_not_count(tmp_path: Path) -> None:
    manifest = load(write_pa_hmdb51(tmp_path, {"hug/a.avi": {"face": [[0, 9, 1]]}}))
    assert manifest.entries[0].privacy == b"\0\0\0\0\0"


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    folder = write_pa_hmdb51(tmp_path, {f"hug/{at}.avi": {} for at in range(20)})
    splits = [tuple(entry.splits for entry in load(folder, seed).entries) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert {Counter(split)["train",] for split in splits} == {12}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"face": []}, r"hug\.json, a\.avi: no intervals for face"),
        ({"face": None, "gender": None}, r"hug\.json, a\.avi: no intervals for face, gender"),
        ({"face": 2}, "no intervals for face"),
        ({"face": [[0, 9.5, 2]]}, "face must be"),
        ({"face": [[0, 9, 3]]}, r"hug\.json, a\.avi: face must be .* in 0\.\.2\], got \[0, 9, 3\]"),
        ({"relationship": [[0, 9, [0, 2]]]}, r"relationship must be .* in 0\.\.1"),
        ({"nudity": [[9, 0, 1]]}, r"nudity must be"),
        ({"nudity": [[-1, 0, 1]]}, r"nudity must be"),
        ({"gender": [[0, 9]]}, r"gender must be"),
        ({"gender": [[0, 9, []]]}, r"gender must be"),
        ({"gender": [[0, 9, "male"]]}, r"gender must be"),
        ({"gender": [7]}, r"gender must be"),
    ],
)
def test_a_faulty_annotation_is_one_error_with_file_and_video(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        load(write_pa_hmdb51(tmp_path, {"hug/a.avi": given}))
