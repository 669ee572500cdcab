"""P-HVU: the rows of HVU with an action, an object and a scene."""

import zipfile
from pathlib import Path

import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import Manifest, ManifestError, Sources
from tests.support.places import ANNOTATIONS
from tests.support.published_files import needs_real_files

TAGS = {"run": "action", "sit": "action", "tree": "object", "dog": "object", "park": "scene", "fun": "concept"}
HEADER = "Tags,youtube_id,time_start,time_end\n"
ROWS = [
    "run|tree|park|fun,aaaaaaaaaaa,101.5,103.5",
    "dog|tree|park|sit|run,aaaaaaaaaaa,10,20",
    "run|tree,bbbbbbbbbbb,0,10",  # no scene
    "tree|park|fun,ccccccccccc,0,10",  # no action
    "run|park,ddddddddddd,0,10",  # no object
]


def write(folder: Path, rows: list[str], stem: str = "HVU_Val_V1.0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tags = "".join(f"{tag},{kind}\n" for tag, kind in TAGS.items())
    (folder / "HVU_Tags_Categories_V1.0.csv").write_text("Tag,Category\n" + tags)
    (folder / f"{stem}.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return folder


def load(folder: Path, videos: Path = Path("none")) -> Manifest:
    return load_manifest("p-hvu", Sources(videos, folder))


@needs_real_files
def test_the_real_validation_file_in_its_zip() -> None:
    manifest = load(ANNOTATIONS)
    assert len(manifest.entries) == 16012
    assert (len(manifest.action_names), manifest.rejected, manifest.multi_label) == (739, (), True)
    kinds = [name.partition("_")[0] for name in manifest.attribute_names]
    assert (kinds.count("object"), kinds.count("scene")) == (1678, 248)
    assert kinds == sorted(kinds)
    assert {entry.splits for entry in manifest.entries} == {("test",)}
    assert all(entry.actions and any(entry.privacy[:1678]) and any(entry.privacy[1678:]) for entry in manifest.entries)
    assert len({entry.video_id for entry in manifest.entries}) == 16012


def test_rows_with_all_three_kinds_are_kept_with_all_their_tags(tmp_path: Path) -> None:
    manifest = load(write(tmp_path, ROWS))
    assert manifest.action_names == ("run", "sit")
    assert manifest.attribute_names == ("object_tree", "object_dog", "scene_park")
    assert [(entry.actions, entry.privacy) for entry in manifest.entries] == [
        (("run",), b"\1\0\1"),
        (("sit", "run"), b"\1\1\1"),
    ]


def test_the_train_list_is_read_where_there_is_one_zipped_or_not(tmp_path: Path) -> None:
    folder = write(tmp_path, ROWS[:1])
    assert [entry.splits for entry in load(folder).entries] == [("test",)]
    write(folder, ROWS[1:], "HVU_Train_V1.0")
    assert [entry.splits for entry in load(folder).entries] == [("train",), ("test",)]
    with zipfile.ZipFile(folder / "HVU_Train_V1.0.zip", "w") as archive:
        archive.write(folder / "HVU_Train_V1.0.csv", "HVU_Train_V1.0.csv")
    (folder / "HVU_Train_V1.0.csv").unlink()
    assert [entry.splits for entry in load(folder).entries] == [("train",), ("test",)]


def test_clips_are_found_under_either_crawler_s_name(tmp_path: Path) -> None:
    for name in ("x/aaaaaaaaaaa_001015_001035.mp4", "x/aaaaaaaaaaa_000010_000020.mkv", "x/aaaaaaaaaaa.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    entries = load(write(tmp_path / "lists", ROWS), tmp_path / "videos").entries
    assert [entry.video_id for entry in entries] == ["aaaaaaaaaaa_001015_001035", "aaaaaaaaaaa_000100_000200"]
    assert [Path(entry.path).name for entry in entries] == [
        "aaaaaaaaaaa_001015_001035.mp4",
        "aaaaaaaaaaa_000010_000020.mkv",
    ]
    (tmp_path / "videos" / "aaaaaaaaaaa_000100_000200.mp4").touch()
    with pytest.raises(ManifestError, match="are both taken for aaaaaaaaaaa_000100_000200"):
        load(tmp_path / "lists", tmp_path / "videos")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("run|tree|park|ski,a,0,10", r"HVU_Val_V1\.0\.csv:2: the tags ski are not in HVU_Tags_Categories"),
        ("run|tree|park,a,zero,10", r"HVU_Val_V1\.0\.csv:2: times must be seconds, got 'zero' and '10'"),
        ("run|tree|park,a,nan,10", "times must be seconds"),
        ("run|tree|park,a,0", r"HVU_Val_V1\.0\.csv:2: expected columns Tags,youtube_id,time_start,time_end"),
    ],
)
def test_a_faulty_row_is_one_error_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        load(write(tmp_path, [row]))


def test_an_unknown_category_and_one_without_tags_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS) / "HVU_Tags_Categories_V1.0.csv"
    whole = path.read_text()
    path.write_text(whole.replace("park,scene", "park,Scene"))
    with pytest.raises(ManifestError, match=r"V1\.0\.csv:6: the category of park must be one of .*, got 'Scene'"):
        load(tmp_path)
    path.write_text(whole.replace("park,scene\n", ""))
    with pytest.raises(ManifestError, match=r"HVU_Tags_Categories_V1\.0 must hold tags of the category scene"):
        load(tmp_path)


def test_missing_files_and_tags_listed_twice_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, ROWS)
    with (folder / "HVU_Tags_Categories_V1.0.csv").open("a") as file:
        file.write("run,scene\n")
    with pytest.raises(ManifestError, match=r"Categories_V1\.0\.csv:8: the tag run is already listed as action"):
        load(folder)
    write(folder, ROWS)
    (folder / "HVU_Val_V1.0.csv").unlink()
    with pytest.raises(ManifestError, match=r"holds a file named HVU_Val_V1\.0\.csv"):
        load(folder)
