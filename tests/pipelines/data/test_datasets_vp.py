"""VP-HMDB51 and VP-UCF101: official splits and privacy labels, on the real files and on faulty ones."""

import os
import pickle
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.pa_hmdb51 import read_annotations
from pipelines.data.datasets.vp import VPLabels
from pipelines.data.manifest import VP_LABEL_ORDER, Manifest, ManifestError, Sources
from pipelines.data.preview import floors
from tests.support.places import ANNOTATIONS
from tests.support.published_files import needs_real_files, write_hmdb51, write_ucf101, write_vp_labels

HMDB51 = {"wave/(x)#1&.avi": (1, 0, 2), "wave/x1.avi": (2, 1, 0), "clap/a.avi": (0, 2, 1)}
TRAINED = ["Archery/v_Archery_g02_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi"]
TESTED = ["Archery/v_Archery_g01_c01.avi"]


def load(dataset: str, folder: Path, videos: Path = Path("none"), **options: object) -> Manifest:
    return load_manifest(dataset, Sources(videos, folder, **options))  # type: ignore[arg-type]


def split_counts(manifest: Manifest) -> list[Counter[str]]:
    return [Counter(entry.splits[number] for entry in manifest.entries) for number in range(manifest.splits)]


def test_floors_of_known_labels() -> None:
    f1, cmap = floors([b"\1\0", b"\1\1", b"\1\0", b"\1\0"])
    assert (f1, cmap) == (pytest.approx((1 + 0.4) / 2), pytest.approx(62.5))


@needs_real_files
def test_the_real_hmdb51_files() -> None:
    manifest = load("hmdb51", ANNOTATIONS)
    assert (len(manifest.entries), len(manifest.action_names), manifest.rejected) == (6766, 51, ())
    assert split_counts(manifest) == [{"train": 3570, "test": 1530, "unused": 1666}] * 3
    tested = [entry.privacy for entry in manifest.entries if entry.splits[0] == "test"]
    f1, cmap = floors(tested)
    assert (round(f1, 3), round(cmap, 1)) == (0.696, 58.8)
    assert sum(any(letter in entry.video_id for letter in "!()#[]&+;~@") for entry in manifest.entries) > 500


@needs_real_files
def test_the_real_ucf101_files() -> None:
    manifest = load("ucf101", ANNOTATIONS)
    assert (len(manifest.entries), len(manifest.action_names), manifest.rejected) == (13320, 101, ())
    assert split_counts(manifest) == [
        {"train": 9537, "test": 3783},
        {"train": 9586, "test": 3734},
        {"train": 9624, "test": 3696},
    ]
    f1, cmap = floors([entry.privacy for entry in manifest.entries if entry.splits[0] == "test"])
    assert (round(f1, 3), round(cmap, 1)) == (0.694, 58.7)
    assert any(entry.video_id.startswith("HandstandPushups/v_HandStandPushups") for entry in manifest.entries)


@needs_real_files
def test_each_attribute_of_pa_hmdb51_agrees_best_with_its_own_label_column() -> None:
    labels = VPLabels(ANNOTATIONS / "vp" / "hmdb51_privacy_attribute_label.pickle", VP_LABEL_ORDER)
    videos = dict(read_annotations(ANNOTATIONS))
    columns = np.array([list(labels.of(video)) for video in videos], dtype=float)
    shown = np.array(
        [
            [max(max(values) for _, _, values in annotation[name]) > 0 for name in VP_LABEL_ORDER]
            for annotation in videos.values()
        ],
        dtype=float,
    )
    assert len(videos) == 515
    correlations = np.corrcoef(shown.T, columns.T)[:5, 5:]  # attributes of PA-HMDB51 x columns
    assert correlations.argmax(1).tolist() == [0, 1, 2, 3, 4]
    orders = list(permutations(range(5)))
    assert max(orders, key=lambda order: correlations[range(5), order].sum()) == (0, 1, 2, 3, 4)
    own = dict(zip(VP_LABEL_ORDER, correlations.diagonal().round(2).tolist(), strict=True))
    assert own == {"skin_color": 0.47, "face": 0.54, "gender": 0.24, "nudity": 0.52, "relationship": 0.45}


def test_hmdb51_takes_names_exactly_and_labels_under_mp4(tmp_path: Path) -> None:
    for name in ("wave/(x)#1&.avi", "wave/x1.avi"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    manifest = load("hmdb51", write_hmdb51(tmp_path / "lists", HMDB51), tmp_path / "videos")
    found = {entry.video_id: entry for entry in manifest.entries}
    assert {video: entry.splits for video, entry in found.items()} == {
        "clap/a.avi": ("unused", "test", "train"),
        "wave/(x)#1&.avi": ("train", "unused", "test"),
        "wave/x1.avi": ("test", "train", "unused"),
    }
    assert manifest.action_names == ("clap", "wave")
    assert manifest.attribute_names == ("skin_color", "face", "gender", "nudity", "relationship")
    assert [found[video].privacy for video in HMDB51] == [b"\0\0\0\0\0", b"\1\0\0\0\0", b"\0\1\0\0\0"]
    assert [found[video].is_present for video in HMDB51] == [True, True, False]


def test_the_column_order_can_be_given_and_must_be_whole(tmp_path: Path) -> None:
    folder = write_hmdb51(tmp_path, HMDB51)
    order = ("face,skin_color,gender,nudity,relationship",)
    turned = {entry.video_id: entry.privacy for entry in load("hmdb51", folder, label_order=order).entries}
    assert [turned[video] for video in HMDB51] == [b"\0\0\0\0\0", b"\0\1\0\0\0", b"\1\0\0\0\0"]
    assert load("hmdb51", folder, label_order=tuple(order[0].split(","))) == load("hmdb51", folder, label_order=order)
    for wrong in (("face",), ("face,face,gender,nudity,relationship",), ("age,face,gender,nudity,relationship",)):
        with pytest.raises(ManifestError, match="label_order must hold skin_color, face, gender, nudity, relationship"):
            load("hmdb51", folder, label_order=wrong)


def test_ucf101_reads_both_line_ends_and_labels_in_test_lists(tmp_path: Path) -> None:
    manifests = []
    for end in ("\r\n", "\n"):
        folder = write_ucf101(tmp_path / str(len(end)), TRAINED, TESTED, end)
        manifests.append(load("ucf101", folder))
        (folder / "testlist02.txt").write_text(f"{TESTED[0]} 1{end}", newline="")
        manifests.append(load("ucf101", folder))
    assert all(manifest == manifests[0] for manifest in manifests)
    assert [(entry.actions, entry.splits[0]) for entry in manifests[0].entries] == [
        (("Archery",), "test"),
        (("Archery",), "train"),
        (("HandstandPushups",), "train"),
    ]


def test_ucf101_matches_files_and_labels_whatever_their_case(tmp_path: Path) -> None:
    folder = write_ucf101(tmp_path / "lists", TRAINED, TESTED)
    write_vp_labels(
        folder / "ucf101_privacy_attribute_label.pickle",
        {video[:-4].replace("HandS", "Hands") + ".mp4": [1, 0, 0, 0, 1] for video in [*TRAINED, *TESTED]},
    )
    path = tmp_path / "videos" / "HandStandPushups" / "v_HandstandPushups_g01_c01.avi"
    path.parent.mkdir(parents=True)
    path.touch()
    manifest = load("ucf101", folder, tmp_path / "videos")
    assert [entry.path for entry in manifest.entries if entry.is_present] == [str(path)]
    assert {entry.privacy for entry in manifest.entries} == {b"\1\0\0\0\1"}


def replace(path: Path, old: str, new: str) -> None:
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new).encode())


def test_hmdb51_does_not_take_names_of_another_case(tmp_path: Path) -> None:
    replace(write_hmdb51(tmp_path, HMDB51) / "splits/wave_test_split1.txt", "x1.avi", "X1.avi")
    with pytest.raises(ManifestError, match=r"wave_test_split[12]\.txt does not list [xX]1\.avi"):
        load("hmdb51", tmp_path)
    for number in (2, 3):
        replace(tmp_path / f"splits/wave_test_split{number}.txt", "x1.avi", "X1.avi")
    with pytest.raises(ManifestError, match=r"no labels for wave/X1\.avi"):
        load("hmdb51", tmp_path)


def test_ucf101_labels_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    folder = write_ucf101(tmp_path, TRAINED, TESTED)
    write_vp_labels(folder / "ucf101_privacy_attribute_label.pickle", {key: [0] * 5 for key in ("a/B.mp4", "a/b.mp4")})
    with pytest.raises(ManifestError, match=r"a/b\.mp4: another key differs from it in case only"):
        load("ucf101", folder)


HMDB51_FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda f: replace(f / "splits/wave_test_split2.txt", "x1.avi 1", "x1.avi 3"),
        r"wave_test_split2\.txt:2: expected",
    ),
    (lambda f: replace(f / "splits/wave_test_split2.txt", "x1.avi 1", "x1.avi"), r"wave_test_split2\.txt:2: expected"),
    (lambda f: replace(f / "splits/wave_test_split2.txt", "x1.avi", "x2.avi"), "wave_test_split.* does not list x"),
    (lambda f: replace(f / "splits/wave_test_split3.txt", "x1.avi", "(x)#1&.avi"), r"split3\.txt:2: .* listed twice"),
    (lambda f: (f / "splits/clap_test_split3.txt").unlink(), r"holds a file named clap_test_split3\.txt"),
    (lambda f: (f / "vp/hmdb51_privacy_attribute_label.pickle").unlink(), "hmdb51_privacy_attribute_label"),
    (
        lambda f: write_vp_labels(f / "vp/hmdb51_privacy_attribute_label.pickle", {"wave/x1.mp4": [0, 1, 2, 0, 0]}),
        r"label\.pickle, wave/x1\.mp4: labels must be 0 or 1, got \[0, 1, 2, 0, 0\]",
    ),
    (
        lambda f: write_vp_labels(f / "vp/hmdb51_privacy_attribute_label.pickle", {"wave/x1.mp4": [0, 1, 1, 0, 0]}),
        r"label\.pickle: no labels for .*, which the split files list",
    ),
    (
        lambda f: write_vp_labels(f / "vp/hmdb51_privacy_attribute_label.pickle", {"wave/x1.mp4": [0, 1]}),
        r"label\.pickle, wave/x1\.mp4: expected an array of 1 x 5 integers, got array\(\[\[0, 1\]\]\)",
    ),
    (
        lambda f: (f / "vp/hmdb51_privacy_attribute_label.pickle").write_bytes(
            pickle.dumps({"wave/x1.mp4": np.zeros((1, 5), int), "clap/a.mp4": [[0, 1], [1]]})
        ),
        r"label\.pickle cannot be read as privacy labels: it holds the instruction EMPTY_LIST",
    ),
    (
        lambda f: (f / "splits/juggle_test_split2.txt").write_text("a.avi 1 \n"),
        r"juggle_test_split2\.txt: juggle is none of the 2 actions that have a \*_test_split1\.txt",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), HMDB51_FAULTS)
def test_faulty_hmdb51_files_are_one_error_with_the_place(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(write_hmdb51(tmp_path, HMDB51))
    with pytest.raises(ManifestError, match=words):
        load("hmdb51", tmp_path)


UCF101_LABELS = "ucf101_privacy_attribute_label.pickle"
UCF101_FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda f: replace(f / "trainlist02.txt", "Archery/", "Bowling/"),
        r"trainlist02\.txt:1: Bowling is none of the 2 actions in classInd\.txt",
    ),
    (
        lambda f: replace(f / "trainlist02.txt", "c01.avi 1", "c01.avi 2"),
        r"trainlist02\.txt:1: expected label 1 \(Archery\), got '2'",
    ),
    (lambda f: replace(f / "trainlist01.txt", "c01.avi 1", "c01.avi"), r"trainlist01\.txt:1: expected label 1"),
    (lambda f: replace(f / "testlist01.txt", "c01.avi", "c01.avi 2"), r"testlist01\.txt:1: expected label 1"),
    (lambda f: replace(f / "testlist01.txt", "Archery/", ""), r"testlist01\.txt:1: expected `Action/NAME\.avi`"),
    (lambda f: replace(f / "testlist03.txt", "g01", "g02"), r"testlist03\.txt:1: .* already listed as train"),
    (
        lambda f: replace(f / "testlist03.txt", "g01", "g07"),
        r"neither trainlist01\.txt nor testlist01.*g07",
    ),
    (lambda f: replace(f / "classInd.txt", "2 ", "3 "), r"classInd\.txt:2: expected `2 NewAction`"),
    (lambda f: (f / "testlist02.txt").unlink(), r"holds a file named testlist02\.txt"),
    (
        lambda f: write_vp_labels(f / UCF101_LABELS, {"Archery/v_Archery_g01_c01.mp4": [0, 1, 0, -1, 0]}),
        r"ucf101_privacy_attribute_label\.pickle, Archery/v_Archery_g01_c01\.mp4: labels must be 0 or 1, got",
    ),
    (
        lambda f: write_vp_labels(f / UCF101_LABELS, {"Archery/v_Archery_g01_c01.mp4": [0, 1, 0, 0]}),
        r"ucf101_.*\.pickle, Archery/v_Archery_g01_c01\.mp4: expected an array of 1 x 5 integers",
    ),
    (
        lambda f: write_vp_labels(f / UCF101_LABELS, {"Archery/v_Archery_g01_c01.mp4": [0, 1, 0, 0, 1]}),
        r"ucf101_.*\.pickle: no labels for Archery/v_Archery_g02_c01\.avi, which the split files list",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), UCF101_FAULTS)
def test_faulty_ucf101_files_are_one_error_with_the_place(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(write_ucf101(tmp_path, TRAINED, TESTED))
    with pytest.raises(ManifestError, match=words):
        load("ucf101", tmp_path)


class Attack:
    """Unpickled, it would run a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pickle_was_run",)


def test_a_label_file_that_asks_for_other_globals_is_refused_unrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_hmdb51(tmp_path, HMDB51)
    (folder / "vp/hmdb51_privacy_attribute_label.pickle").write_bytes(pickle.dumps({"wave/x1.mp4": Attack()}))
    with pytest.raises(ManifestError, match="only numpy arrays are allowed"):
        load("hmdb51", folder)
    assert not (tmp_path / "pickle_was_run").exists()
