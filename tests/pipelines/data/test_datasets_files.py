"""Annotation files found by name wherever they lie, and video files by what the annotations call them."""

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.data.annotation_files import read_json_object, read_lines
from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.files import Annotations, VideoFiles, random_split, read_table
from pipelines.data.listings import Listed, check_listed
from pipelines.data.manifest import ManifestError, Sources
from tests.support.published_files import write_hmdb51, write_pa_hmdb51

COLUMNS = ("Tag", "Category")


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_file_is_found_however_deep_and_through_links(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere" / "classInd.txt")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "link").symlink_to(path.parent)
    (tmp_path / "a" / "b" / "loop").symlink_to(tmp_path / "a")
    assert Annotations(tmp_path / "a").file("classInd.txt").samefile(path)


def test_a_file_that_is_nowhere_is_named(tmp_path: Path) -> None:
    for call in (
        lambda: Annotations(tmp_path).file("classInd.txt"),
        lambda: Annotations(tmp_path).ending("classInd.txt"),
        lambda: Annotations(tmp_path).inside("x", "classInd.txt"),
    ):
        with pytest.raises(ManifestError, match=rf"neither {tmp_path} nor a folder below it holds .*classInd\.txt"):
            call()
    with pytest.raises(ManifestError, match="none is no folder: --annotations must hold"):
        Annotations(tmp_path / "none")


def test_copies_are_no_trouble_and_different_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a" / "list.txt", "same"), write(tmp_path / "b" / "list.txt", "same")
    assert Annotations(tmp_path).file("list.txt") == one
    other.write_text("different")
    with pytest.raises(ManifestError, match=f"{one} and {other} have one name and differ"):
        Annotations(tmp_path).file("list.txt")


def test_files_of_one_name_in_other_folders_are_not_taken(tmp_path: Path) -> None:
    write_pa_hmdb51(tmp_path / "data", {"wave/a.avi": {}})
    write(tmp_path / "drafts" / "wave.json", "{}")
    assert [path.parent.name for path in Annotations(tmp_path).inside("PrivacyAttributes", ".json")] == [
        "PrivacyAttributes"
    ]


def test_a_split_file_twice_with_different_content_is_refused(tmp_path: Path) -> None:
    write_hmdb51(tmp_path, {"wave/a.avi": (1, 1, 1)})
    write(tmp_path / "old" / "wave_test_split2.txt", "b.avi 1\n")
    with pytest.raises(ManifestError, match=r"old/wave_test_split2\.txt and .*splits/wave_test_split2\.txt"):
        Annotations(tmp_path).ending("_test_split2.txt")


def test_lines_end_as_they_like_and_blank_ones_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa 1 \r\n\r\nb 2\n  \nc 3")
    assert list(read_lines(tmp_path / "list.txt")) == [
        (f"{tmp_path}/list.txt:1", "a 1"),
        (f"{tmp_path}/list.txt:3", "b 2"),
        (f"{tmp_path}/list.txt:5", "c 3"),
    ]
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"list\.txt is not text in UTF-8"):
        list(read_lines(tmp_path / "list.txt"))


def test_a_table_is_read_from_a_zip_without_unpacking(tmp_path: Path) -> None:
    content = "Tag,Category\r\ntree,object\r\n"
    with zipfile.ZipFile(tmp_path / "tags.zip", "w") as archive:
        archive.writestr("inner/tags.csv", content)
    before = sorted(tmp_path.iterdir())
    assert list(read_table(Annotations(tmp_path), "tags", COLUMNS)) == [
        (f"{tmp_path}/tags.zip/inner/tags.csv:2", ["tree", "object"])
    ]
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "tags.csv").write_text(content, newline="")
    assert len(list(read_table(Annotations(tmp_path), "tags", COLUMNS))) == 1
    (tmp_path / "tags.csv").write_text("Tag,Category\ntree,scene\n")
    with pytest.raises(ManifestError, match=r"tags\.csv and .*tags\.zip/inner/tags\.csv differ"):
        list(read_table(Annotations(tmp_path), "tags", COLUMNS))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Category,Tag\n", r"tags\.csv:1: expected columns Tag,Category, got 'Category,Tag'"),
        ("Tag,Category\ntree\n", r"tags\.csv:2: expected columns Tag,Category, got 'tree'"),
        ("Tag,Category\na,b,c\n", r"tags\.csv:2"),
        ('Tag,Category\na,"b\n', r"tags\.csv:2: the row that begins here cannot be read as CSV"),
    ],
)
def test_another_table_is_refused_with_its_row(tmp_path: Path, content: str, words: str) -> None:
    write(tmp_path / "tags.csv", content)
    with pytest.raises(ManifestError, match=words):
        list(read_table(Annotations(tmp_path), "tags", COLUMNS))


def test_zips_without_the_table_and_broken_ones_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tags.zip", "w") as archive:
        archive.writestr("other.csv", "")
    with pytest.raises(ManifestError, match=r"tags\.zip holds 0 files named tags\.csv"):
        list(read_table(Annotations(tmp_path), "tags", COLUMNS))
    write(tmp_path / "tags.zip", "no zip")
    with pytest.raises(ManifestError, match=r"tags\.zip cannot be read as a zip file"):
        list(read_table(Annotations(tmp_path), "tags", COLUMNS))


def test_json_that_is_no_object_is_named(tmp_path: Path) -> None:
    for content, words in (("{", "is not JSON"), ("[1]", "holds a list, not an object")):
        with pytest.raises(ManifestError, match=rf"x\.json {words}"):
            read_json_object(write(tmp_path / "x.json", content))


def test_videos_are_found_by_exact_name_whatever_their_suffix(tmp_path: Path) -> None:
    for name in ("wave/(a)#1&+;~@.avi", "wave/a.b.mp4", "wave/A.avi", "wave/notes.txt", "clap/a.avi"):
        write(tmp_path / name)
    files = VideoFiles(tmp_path, parts=2)
    assert files.path("wave/(a)#1&+;~@.avi") == f"{tmp_path}/wave/(a)#1&+;~@.avi"
    assert files.path("wave/a.b.avi") == f"{tmp_path}/wave/a.b.mp4"
    # Where a video is not, its path is where it should lie.
    for absent in ("wave/a.avi", "wave/1&.avi", "wave/notes.avi"):
        assert files.path(absent) == f"{tmp_path}/{absent}"
    assert VideoFiles(tmp_path / "none", parts=2).path("wave/a.avi") == f"{tmp_path}/none/wave/a.avi"
    assert VideoFiles(tmp_path, parts=2, ignore_case=True).path("Wave/a.B.avi") == f"{tmp_path}/wave/a.b.mp4"


def test_videos_by_stem_are_found_in_any_folder(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "er" / "x_1.mp4")
    assert VideoFiles(tmp_path, parts=1).path("x_1.mp4") == f"{tmp_path}/deep/er/x_1.mp4"


def test_two_files_for_one_video_are_both_named(tmp_path: Path) -> None:
    for name in ("wave/a.avi", "wave/a.mp4", "wave/b.avi", "wave/B.avi"):
        write(tmp_path / name)
    with pytest.raises(ManifestError, match=r"wave/a\.avi and .*wave/a\.mp4 are both taken for wave/a\.avi"):
        VideoFiles(tmp_path, parts=2).path("wave/a.avi")
    with pytest.raises(ManifestError, match=r"wave/B\.avi and .*wave/b\.avi are both taken"):
        VideoFiles(tmp_path, parts=2, ignore_case=True).path("wave/b.avi")


def test_a_random_split_depends_on_seed_and_ids_alone() -> None:
    ids = [f"v{at}" for at in range(101)]
    split = random_split(ids, 0)
    assert list(split.values()).count("train") == 61
    assert random_split(ids[::-1], 0) == split
    assert random_split(ids, 1) != split
    assert [video for video in ids[:6] if split[video] == "train"] == ["v0"]  # for ever, on every machine


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Inside it, permissions count: the superuser may read everything."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A data set of two videos, one of them in a folder that cannot be entered; everybody may read the others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_hmdb51(folder / "lists", {"wave/a.avi": (1, 1, 1), "clap/b.avi": (2, 2, 2)})
        for video in ("wave/a.avi", "clap/b.avi"):
            write(folder / "videos" / video)
        (folder / "videos" / "clap").chmod(0)
        yield folder
        (folder / "videos" / "clap").chmod(0o755)


def test_a_folder_that_cannot_be_entered_is_named(locked: Path) -> None:
    with ordinary_user():
        manifest = load_manifest("hmdb51", Sources(locked / "videos", locked / "lists"))
        with pytest.raises(
            ManifestError, match=rf"{locked}/videos/clap cannot be entered \(Permission denied\): it may"
        ):
            Annotations(locked)
    assert {entry.video_id: Path(entry.path).name for entry in manifest.entries} == {
        "wave/a.avi": "a.avi",
        "clap/b.avi": "b.avi",
    }
    assert manifest.notes == (
        f"{locked}/videos/clap cannot be entered (Permission denied): the videos below it count as absent",
    )
    assert load_manifest("hmdb51", Sources(locked / "none", locked / "lists")).notes == ()


def test_links_to_one_file_are_no_two_videos_and_links_to_nowhere_are_none(tmp_path: Path) -> None:
    write(tmp_path / "wave" / "a.mp4")
    (tmp_path / "wave" / "a.avi").symlink_to("a.mp4")
    (tmp_path / "wave" / "a.mkv").symlink_to("gone.mkv")
    (tmp_path / "wave" / "b.avi").symlink_to("gone.avi")
    (tmp_path / "wave" / "b.mp4").symlink_to("b.mp4")
    files = VideoFiles(tmp_path, parts=2)
    assert Path(files.path("wave/a.avi")).samefile(tmp_path / "wave" / "a.mp4")
    assert files.path("wave/b.avi") == f"{tmp_path}/wave/b.avi"


def test_an_annotation_file_that_is_gone_or_no_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "classInd.txt").symlink_to("gone.txt")
    with pytest.raises(ManifestError, match=r"classInd\.txt cannot be read as a list: .*No such file"):
        list(read_lines(Annotations(tmp_path).file("classInd.txt")))
    write(tmp_path / "other" / "classInd.txt")
    with pytest.raises(ManifestError, match=r"classInd\.txt cannot be read as an annotation file: .*No such file"):
        Annotations(tmp_path).file("classInd.txt")


@pytest.mark.parametrize("suffix", ["ts", "M2TS", "mpg", "flv", "wmv", "3gp", "ogv", "m4v", "ivf", "nut", "h264"])
def test_videos_are_found_in_every_container_that_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "wave" / f"a.{suffix}")
    write(tmp_path / "wave" / "a.gif")  # a preview beside it is no second video
    write(tmp_path / "wave" / "a.jpg")
    assert VideoFiles(tmp_path, parts=2).path("wave/a.avi") == str(path)


def test_names_that_are_not_utf8_are_found_and_opened_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write(folder / "wave" / "a.avi")
    path = VideoFiles(folder, parts=2).path("wave/a.avi")
    assert os.path.isfile(path)
    row = Listed("wave/a.avi", path, "wave", (1,), "train")
    assert check_listed("x", ("face",), [row]).entries[0].is_present
    write(folder / "wave" / "a.mp4")
    with pytest.raises(ManifestError) as caught:
        VideoFiles(folder, parts=2).path("wave/a.avi")
    assert rf"{tmp_path}/caf\xe9/wave/a.avi" in str(caught.value)
