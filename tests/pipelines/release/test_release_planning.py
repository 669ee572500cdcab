"""Which files count, whatever a folder holds, and names for all of them that cannot get in each other's way."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.release.inputs import check_links_apart, list_inputs
from pipelines.release.names import ReleaseItem, plain_names
from pipelines.text import json_bytes, printable
from stprivacy.storage import filesystem, location
from tests.support.object_store_fixtures import served_bucket


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def below(folder: Path) -> list[str]:
    return [found.below for found in list_inputs(folder).files]


def names_of(folder: Path, out: Path | None = None) -> dict[str, str]:
    return {item.shown: item.error or item.name for item in plain_names(list_inputs(folder), out)}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Inside it, the process may read what others may, and no more."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_linked_folders_are_entered_each_folder_once(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "real/a.mp4", "b.mp4")
    other = touch(tmp_path / "other", "c.mp4", "deep/d.mp4")
    (raw / "linked").symlink_to(other)
    (raw / "a-link-before-real").symlink_to(raw / "real")
    (raw / "real" / "loop").symlink_to(raw)
    (other / "deep" / "back").symlink_to(other)
    assert below(raw) == ["b.mp4", "linked/c.mp4", "linked/deep/d.mp4", "real/a.mp4"]
    assert list_inputs(raw).passed_over == {"links to folders that are entered anyway": 3}


def test_a_linked_file_counts_under_each_of_its_names(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4")
    (raw / "b.mp4").symlink_to(raw / "a.mp4")
    os.link(raw / "a.mp4", raw / "c.mp4")
    assert names_of(raw) == {"a.mp4": "a", "b.mp4": "b", "c.mp4": "c"}


def test_an_input_that_is_a_link_is_called_what_its_user_calls_it(tmp_path: Path) -> None:
    touch(tmp_path / "secret", "anna.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "secret" / "anna.mp4")
    (tmp_path / "folder").symlink_to(tmp_path / "secret")
    assert names_of(tmp_path / "link.mp4") == {"link.mp4": "link"}
    assert names_of(tmp_path / "folder") == {"anna.mp4": "anna"}


def test_what_systems_leave_is_passed_over_and_counted(tmp_path: Path) -> None:
    left = ["Thumbs.db", "sub/thumbs.DB", "desktop.ini", "Icon\r", ".DS_Store", "sub/._a.mp4", "$RECYCLE.BIN/x.mp4"]
    raw = touch(tmp_path / "raw", "a.mp4", "sub/b.mp4", "thumbs.db.mp4", *left)
    inputs = list_inputs(raw)
    assert [found.below for found in inputs.files] == ["a.mp4", "sub/b.mp4", "thumbs.db.mp4"]
    assert inputs.passed_over == {"left by operating systems": 5, "hidden": 2}
    with pytest.raises(ValueError, match=r"holds no files; .*\(passed over: 1 left by operating systems\)"):
        list_inputs(touch(tmp_path / "empty", "Thumbs.db"))


def test_locked_folders_and_what_is_no_file_are_among_the_files(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4", "locked/b.mp4")
    (raw / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    (raw / "itself").symlink_to("itself")
    os.mkfifo(raw / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(raw / "door.mp4"))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    (raw / "locked").chmod(0)
    with as_nobody():
        items = {item.shown: item.error for item in plain_names(list_inputs(raw))}
        with pytest.raises(ValueError, match=r"--input .*locked cannot be read: Permission denied"):
            list_inputs(raw / "locked")
    (raw / "locked").chmod(0o755)
    assert items == dict.fromkeys(["a.mp4", "dangling.mp4", "door.mp4", "itself", "pipe.mp4"], "") | {
        "locked": "unreadable"
    }


def test_a_link_to_where_released_videos_go_is_refused(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.mp4")
    check_links_apart(list_inputs(raw), tmp_path / "out")
    (raw / "up").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="a link in --input leads to"):
        check_links_apart(list_inputs(raw), tmp_path / "out")
    (raw / "up").unlink()
    touch(tmp_path / "out" / "sub", "old.mp4")
    (raw / "in").symlink_to(tmp_path / "out" / "sub")
    with pytest.raises(ValueError, match="a link in --input leads to"):
        check_links_apart(list_inputs(raw), tmp_path / "out")


def outputs(names: dict[str, str]) -> list[str]:
    """All files, and all folders once, that released videos with previews become, as file systems without case do."""
    files = [f"{name}{end}" for name in names.values() for end in (".mp4", ".json")]
    folders = {str(parent) for name in names.values() for parent in Path(name).parents}
    return [path.lower() for path in (*files, *folders)]


def test_no_video_becomes_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    clashing = ["foo.avi", "foo.mp4/x.mp4", "bar.mov", "BAR.json/x.mp4", "p.mp4", "p.contains-raw-frames.png/x.mp4"]
    clashing += ["q.avi", "q.mp4/x.mp4", "q.avi.mp4/x.mp4", "plain.avi"]
    names = names_of(touch(tmp_path / "raw", *clashing))
    assert len(set(outputs(names))) == len(outputs(names))
    assert (names["foo.avi"], names["bar.mov"], names["p.mp4"]) == ("foo.avi", "bar.mov", "p.mp4")
    assert names["q.avi"].startswith("q.avi~")
    assert (names["plain.avi"], names["foo.mp4/x.mp4"]) == ("plain", "foo.mp4/x")


def test_names_that_differ_in_case_or_in_how_accents_are_written_do_not_meet(tmp_path: Path) -> None:
    names = names_of(touch(tmp_path / "raw", "a.mp4", "A.mp4", "a.avi", "\u00e9.mp4", "e\u0301.mp4", "b.mp4"))
    assert len({name.lower() for name in names.values()}) == 6
    assert len({name for name in names.values() if name.startswith(("\u00e9.mp4~", "e\u0301.mp4~"))}) == 2
    assert names == names_of(tmp_path / "raw")
    assert names["b.mp4"] == "b"


def test_no_video_takes_the_place_of_the_releases_own_note(tmp_path: Path) -> None:
    assert names_of(touch(tmp_path, ".release.mp4") / ".release.mp4") == {".release.mp4": ".release.mp4"}


@pytest.mark.parametrize("stem", ["x" * 251, "ü" * 125 + "y", "日" * 83 + "xx"])
def test_a_name_without_room_for_a_suffix_is_shortened_before_work_begins(tmp_path: Path, stem: str) -> None:
    raw = touch(tmp_path / "raw", f"sub/{stem}.mp4")
    ((shown, name),) = names_of(raw, tmp_path / "out").items()
    assert shown == f"sub/{stem}.mp4"
    assert len(os.fsencode(f"{name}.json")) - len("sub/") <= 255
    head, _, digest = name.partition("~")
    assert f"sub/{stem}".startswith(head)
    assert len(head) > 60
    assert len(digest) == 16
    (item,) = plain_names(list_inputs(raw), tmp_path / "out")
    assert item.is_renamed


def test_a_path_without_room_in_the_output_is_named_before_work_begins(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(19):
        deep = deep / ("d" * 200)
    raw = touch(tmp_path / "raw", "a.mp4", "b" * 250)
    assert set(names_of(raw, deep / "out").values()) == {"a", "name-too-long"}
    assert "name-too-long" not in names_of(raw, tmp_path / "out").values()


def test_names_that_are_no_text_are_kept_on_disks_and_escaped_in_stores(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "caf\udce9.mp4", "d\udce9/caf\u00e9.mp4")
    assert names_of(raw, tmp_path / "out") == {
        "caf\udce9.mp4": "caf\udce9",
        "d\udce9/caf\u00e9.mp4": "d\udce9/caf\u00e9",
    }
    in_store = names_of(raw, location("s3://bucket/out"))
    assert list(in_store.values()) == ["caf%e9", "d%e9/caf\u00e9"]
    assert ReleaseItem("", "caf\udce9.mp4", "caf%e9").is_renamed


def test_names_are_shown_on_one_line_without_commands_to_the_terminal() -> None:
    assert printable("caf\udce9 caf\u00e9 日本") == r"caf\xe9 café 日本"
    assert printable("a\nb\tc\x1b[31m\x7f\u202e") == r"a\nb\tc\x1b[31m\x7f\u202e"
    assert json_bytes(["caf\udce9"]) == b'[\n "caf\\udce9"\n]\n'


def test_keys_of_objects_that_no_file_can_have_are_named(tmp_path: Path) -> None:
    with served_bucket() as bucket:
        source = location(f"{bucket}/raw")
        store, prefix = filesystem(source)
        for key in ("a.mp4", "../../up.mp4", "sub//b.mp4", "sub/c.mp4", ".hidden/d.mp4", "Thumbs.db", "folder/"):
            store.pipe_file(f"{prefix}/{key}", b"x")
        inputs = list_inputs(source)
        items = {item.shown: item.error for item in plain_names(inputs, tmp_path)}
        assert items == {"../../up.mp4": "not-a-name", "a.mp4": "", "sub//b.mp4": "not-a-name", "sub/c.mp4": ""}
        assert inputs.passed_over == {"hidden": 1, "left by operating systems": 1}
        assert [found.path for found in inputs.files if found.below == "a.mp4"] == [f"{bucket}/raw/a.mp4"]
