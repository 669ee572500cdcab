"""Which files are released and what they are called; the sidecar's masks; what may share a folder."""

import json
import stat
from pathlib import Path

import pytest
import torch

from pipelines.release.inputs import check_apart, list_inputs
from pipelines.release.keys import KeyFile
from pipelines.release.names import ReleaseItem, plain_names
from pipelines.release.sidecar import pack_keep, unpack_keep
from stprivacy.storage import StorageError, location


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names_of(folder: Path) -> dict[str, str]:
    return {item.shown: item.name for item in plain_names(list_inputs(folder))}


def test_every_file_counts_but_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "a/c.mov", "notes.txt", ".hidden.mp4", ".cache/d.mp4", "a/.e.mp4")
    assert names_of(tmp_path) == {"a/c.mov": "a/c", "b.mp4": "b", "notes.txt": "notes"}


def test_a_hidden_parent_of_the_input_folder_hides_nothing(tmp_path: Path) -> None:
    assert names_of(touch(tmp_path / ".data" / "raw", "a.mp4")) == {"a.mp4": "a"}


def test_a_single_file_is_an_input(tmp_path: Path) -> None:
    file = touch(tmp_path, "clip of me.mp4") / "clip of me.mp4"
    assert plain_names(list_inputs(file)) == [ReleaseItem(str(file), "clip of me.mp4", "clip of me")]


def test_no_two_files_share_a_name_even_where_case_does_not_count(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "A.avi", "b.mp4", "b.mp4.mov", "c", "d.x.mp4", "sub/a.mp4", "e.mp4", "e.avi", "e.avi.mkv")
    found = names_of(tmp_path)
    assert found["a.mp4"] == "a.mp4"
    assert found["A.avi"] == "A.avi"
    assert found["sub/a.mp4"] == "sub/a"
    assert (found["c"], found["d.x.mp4"]) == ("c", "d.x")
    assert len({name.lower() for name in found.values()}) == len(found)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_nothing_to_release_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(ValueError, match="--input takes a video or a folder"):
        list_inputs(tmp_path / name)


def test_raw_and_released_videos_do_not_share_a_folder(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4")
    check_apart(raw, tmp_path / "out")
    check_apart(raw / "a.mp4", tmp_path / "out")
    check_apart(raw / "a.mp4", raw / "out")
    for source, out, complaint in (
        (raw, raw, "folder of the raw videos"),
        (raw, tmp_path / "raw" / "sub" / "..", "folder of the raw videos"),
        (raw / "a.mp4", raw, "folder of the raw videos"),
        (raw, raw / "out", "inside of --input"),
        (raw, tmp_path, "inside of --output"),
        (location("s3://b/raw"), location("s3://b/raw"), "folder of the raw videos"),
        (location("s3://b/raw"), location("s3://b/raw/out"), "inside of --input"),
    ):
        with pytest.raises(ValueError, match=complaint):
            check_apart(source, out)


def test_a_link_to_the_input_folder_is_that_folder(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4")
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(ValueError, match="folder of the raw videos"):
        check_apart(raw, tmp_path / "link")


def opaque_names(folder: Path, keys: Path) -> list[ReleaseItem]:
    return KeyFile(keys).release_items(list_inputs(folder))


def test_opaque_names_tell_nothing_and_stay_the_same(tmp_path: Path) -> None:
    raw, keys = touch(tmp_path / "raw", "anna/walk.mp4", "bob.mp4"), tmp_path / "private" / "keys.json"
    first = opaque_names(raw, keys)
    assert all(len(item.name) == 16 and set(item.name) <= set("0123456789abcdef") for item in first)
    noted = {below: (entry["name"], entry["salt"]) for below, entry in json.loads(keys.read_text()).items()}
    assert noted == {item.shown: (item.name, item.salt) for item in first}
    touch(raw, "carla.mp4")
    again = {item.shown: item.name for item in opaque_names(raw, keys)}
    assert {item.shown: item.name for item in first}.items() <= again.items()
    assert len(set(again.values())) == 3
    assert {item.name for item in opaque_names(raw, tmp_path / "other.json")}.isdisjoint(again.values())


def test_the_key_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    keys.chmod(0o644)
    opaque_names(touch(tmp_path / "raw", "a.mp4"), keys)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_a_key_file_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4")
    (tmp_path / "keys.json").write_text("my diary")
    with pytest.raises(ValueError, match="not a key file"):
        opaque_names(raw, tmp_path / "keys.json")
    assert (tmp_path / "keys.json").read_text() == "my diary"
    with pytest.raises(ValueError, match="readable by you alone"):
        opaque_names(raw, location("s3://bucket/keys.json"))


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(StorageError, match="unknown scheme"):
        location("ftp://host/raw")


def test_packed_masks_are_hexadecimal_with_the_upper_left_first() -> None:
    keep = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=torch.float32)
    assert pack_keep(keep) == ["10", "01", "1f"]
    assert unpack_keep(pack_keep(keep), 5) == keep.int().tolist()


@pytest.mark.parametrize("tubelets", [1, 4, 49, 64])
def test_masks_survive_packing(tubelets: int) -> None:
    keep = torch.rand(7, tubelets).round()
    assert unpack_keep(pack_keep(keep), tubelets) == keep.int().tolist()
