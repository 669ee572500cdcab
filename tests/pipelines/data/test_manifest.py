"""Lists of videos: what is usable, what is rejected with a reason, and what makes a whole list unusable."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.vp import load_label_pickle
from pipelines.data.manifest import Manifest, ManifestError, Sources, check_present
from tests.support.bad_corpus import write_video

HEADER = "path,action,split,privacy_face,privacy_skin\n"


def load_csv(folder: Path, text: str, videos: Path | None = None) -> Manifest:
    (folder / "list.csv").write_text(text)
    return load_manifest("csv", Sources(videos=videos, manifest=folder / "list.csv"))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"not opened here")
    return tmp_path


def test_csv_gives_entries_in_order_with_sorted_actions(videos: Path) -> None:
    manifest = load_csv(videos, HEADER + "c.mp4,run,train,1,0\nb b.mp4,jump,test,0,1\n\na.mp4,run,unused,1,1\n")
    assert [entry.video_id for entry in manifest.entries] == ["c.mp4", "b b.mp4", "a.mp4"]
    assert [entry.privacy for entry in manifest.entries] == [b"\1\0", b"\0\1", b"\1\1"]
    assert [entry.splits for entry in manifest.entries] == [("train",), ("test",), ("unused",)]
    assert manifest.action_names == ("jump", "run")
    assert manifest.attribute_names == ("face", "skin")
    assert manifest.rejected == ()


def test_relative_paths_start_at_the_videos_folder_if_one_is_given(
    videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("lists")
    manifest = load_csv(other, HEADER + "a.mp4,run,train,1,0\n", videos=videos)
    assert manifest.entries[0].path == str(videos / "a.mp4")


def test_a_spreadsheet_s_byte_order_mark_and_line_ends_are_no_trouble(videos: Path) -> None:
    (videos / "list.csv").write_bytes(
        b"\xef\xbb\xbf" + (HEADER + "a.mp4,run,train,1,0\n").replace("\n", "\r\n").encode()
    )
    assert len(load_manifest("csv", Sources(manifest=videos / "list.csv")).entries) == 1


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ("c.mp4,run,train,2,1", "bad-label", "face='2'"),
        ("c.mp4,run,train,0,", "bad-label", "skin=''"),
        ("c.mp4,run,train,yes,1", "bad-label", "must be 0 or 1"),
        ("c.mp4,run", "bad-label", "face=''"),
        ("c.mp4,,train,0,1", "bad-label", "action"),
        ("c.mp4,run,validation,0,1", "bad-split", "train, test, unused"),
        ("a.mp4,run,train,0,1", "duplicate", "already listed"),
        ("./a.mp4,run,train,0,1", "duplicate", "already listed"),
    ],
)
def test_an_unusable_row_is_rejected_and_the_others_stay(videos: Path, row: str, error: str, words: str) -> None:
    manifest = load_csv(videos, HEADER + f"a.mp4,run,train,1,0\n{row}\nb b.mp4,run,test,0,0\n")
    assert [entry.video_id for entry in manifest.entries] == ["a.mp4", "b b.mp4"]
    assert [rejection.error for rejection in manifest.rejected] == [error]
    assert words in manifest.rejected[0].message
    assert manifest.videos_in == 3


def test_videos_that_are_not_on_disk_are_listed_with_their_labels(videos: Path) -> None:
    rows = [f"{at}.mp4,run,train,1,0\n" for at in range(12)]
    manifest = load_csv(videos, HEADER + "a.mp4,hop,test,1,0\n" + "".join(rows))
    assert [entry.is_present for entry in manifest.entries] == [True] + [False] * 12
    with pytest.raises(ManifestError) as caught:
        check_present(manifest)
    message = str(caught.value).splitlines()
    assert message[0].startswith("12 of 13 videos of csv are not on disk; --allow-missing")
    assert [line.strip() for line in message[1:]] == [str(videos / f"{at}.mp4") for at in range(10)]
    check_present(load_csv(videos, HEADER + "a.mp4,hop,test,1,0\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,action,split,privacy_face,colour\n", "unknown column colour; known columns are path, action, split"),
        ("path,action,split,privacy_\n", "unknown column privacy_;"),
        ("file,action,split,privacy_face\n", "unknown column file"),
        ("action,split,privacy_face\n", "missing column path"),
        ("path,action,split\n", "missing column privacy_<attribute>"),
        ("path,path,action,split,privacy_face\n", "repeated column path"),
        ("", "missing column path"),
        (HEADER, "lists no videos"),
        (HEADER + 'a.mp4,"run,train,0,1\n', "cannot be read as CSV"),
    ],
)
def test_an_unusable_csv_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load_csv(tmp_path, text)
    assert words in str(caught.value)


def test_errors_say_what_is_needed(tmp_path: Path) -> None:
    for dataset, sources, words in (
        ("csv", Sources(), "--manifest FILE"),
        ("csv", Sources(manifest=tmp_path / "none.csv"), "cannot be read"),
        ("vp-synth", Sources(videos=tmp_path), "--annotations DIR"),
        ("hmbd", Sources(), "known are csv, vp-synth, hmdb51, ucf101, pa-hmdb51, celebv-hq, p-hvu"),
    ):
        with pytest.raises(ManifestError, match=words):
            load_manifest(dataset, sources)


class Attack:
    """Unpickled, it would run a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pickle_was_run",)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_label_pickles_hold_arrays_and_nothing_else(
    tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "labels.pickle"
    path.write_bytes(pickle.dumps({"a/b.mp4": np.array([[0, 1, 1]])}, protocol))
    assert load_label_pickle(path, 3)["a/b.mp4"].tolist() == [[0, 1, 1]]
    path.write_bytes(pickle.dumps({"a/b.mp4": Attack()}, protocol))
    with pytest.raises(ManifestError, match="only numpy arrays are allowed"):
        load_label_pickle(path, 3)
    assert not (tmp_path / "pickle_was_run").exists()


@pytest.mark.parametrize("content", [b"", b"noise", pickle.dumps([1]), pickle.dumps({"a": np.zeros((2, 5))})])
def test_other_label_files_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.pickle").write_bytes(content)
    with pytest.raises(ManifestError, match=r"labels\.pickle"):
        load_label_pickle(tmp_path / "labels.pickle", 5)


def write_vp_synth(folder: Path, lines: Sequence[str], labels: dict[str, np.ndarray]) -> Sources:
    (folder / "annotations" / "splits").mkdir(parents=True)
    (folder / "annotations" / "splits" / "wave_test_split1.txt").write_text("".join(f"{line} \n" for line in lines))
    (folder / "annotations" / "vp-synth_privacy_attribute_label.pickle").write_bytes(pickle.dumps(labels, 4))
    for name in ("x(1)&.mp4", "y.mp4", "z.mp4"):
        write_video(folder / "videos" / "wave" / name, frames=1)
    return Sources(folder / "videos", folder / "annotations")


def test_vp_synth_is_read_as_hmdb51_is(tmp_path: Path) -> None:
    labels = {"wave/x(1)&.mp4": np.array([[1, 0, 1, 0, 1]]), "wave/y.mp4": np.array([[0, 0, 3, 0, 0]])}
    lines = ["x(1)&.mp4 1", "y.mp4 2", "z.mp4 0", "gone.mp4 1"]
    manifest = load_manifest("vp-synth", write_vp_synth(tmp_path, lines, labels))
    assert manifest.attribute_names == ("skin_color", "face", "gender", "nudity", "relationship")
    assert [(entry.video_id, entry.splits, entry.privacy) for entry in manifest.entries] == [
        ("wave/x(1)&.mp4", ("train",), b"\1\0\1\0\1")
    ]
    assert [(rejection.video_id, rejection.error) for rejection in manifest.rejected] == [
        ("wave/y.mp4", "bad-label"),
        ("wave/z.mp4", "bad-label"),
        ("wave/gone.mp4", "bad-label"),
    ]


def test_the_actions_tell_vp_synth_from_vp_synth_b(tmp_path: Path) -> None:
    sources = write_vp_synth(tmp_path, ["y.mp4 1"], {"wave/y.mp4": np.array([[0, 0, 1, 0, 0]])})
    assert load_manifest("vp-synth", sources).dataset == "vp-synth"
    splits = tmp_path / "annotations" / "splits"
    (splits / "wave_test_split1.txt").rename(splits / "drum_test_split1.txt")
    assert load_manifest("vp-synth", sources).dataset == "vp-synth-b"


def test_a_malformed_split_line_is_named(tmp_path: Path) -> None:
    sources = write_vp_synth(tmp_path, ["x(1)&.mp4 1", "y.mp4 7"], {})
    with pytest.raises(ManifestError, match=r"wave_test_split1\.txt:2"):
        load_manifest("vp-synth", sources)
