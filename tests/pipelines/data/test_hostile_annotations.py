"""Annotation files made to harm, or damaged: each is one line that names it, soon, and nothing of it is run."""

import pickle
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.data.annotation_files import read_json_object
from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.files import Annotations, read_table, unzipped
from pipelines.data.datasets.vp import load_label_pickle
from pipelines.data.manifest import Manifest, ManifestError, Sources, VideoEntry
from tests.support.published_files import write_pa_hmdb51

COLUMNS = ("Tag", "Category")
ARRAY = pickle.dumps({"a/b.mp4": np.array([[0, 1, 1]])}, 4)


def refusal(call: Callable[[], Any], seconds: float = 5) -> str:
    """The one line with which a call refuses, in time."""
    begin = time.process_time()
    with pytest.raises(ManifestError) as caught:
        call()
    assert time.process_time() - begin < seconds
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    return message


def zip_of(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("tags.csv", content)
    return path


def change(path: Path, *edits: tuple[bytes, int, bytes]) -> Path:
    """Write bytes at an offset behind the last mark."""
    content = bytearray(path.read_bytes())
    for mark, offset, new in edits:
        at = content.rfind(mark) + offset
        content[at : at + len(new)] = new
    path.write_bytes(content)
    return path


def read(folder: Path) -> list[Any]:
    return list(read_table(Annotations(folder), "tags", COLUMNS))


@pytest.mark.parametrize("claimed", [0xFFFFFFFE, 7])
def test_a_zip_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path: Path, claimed: int) -> None:
    """Six megabytes stand for five gigabytes and a half, whatever the archive says of that."""
    pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = pressed.compress(bytes(1 << 24)) + pressed.flush(zlib.Z_FULL_FLUSH)  # can follow itself
    content = block * 352 + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    sizes, name = struct.pack("<III", 0, len(content), claimed), b"tags.csv"
    local = struct.pack("<4s5H", b"PK\3\4", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0) + name
    central = struct.pack("<4s6H", b"PK\1\2", 20, 20, 0, 8, 0, 33) + sizes
    central += struct.pack("<5HII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(content), 0)
    (tmp_path / "tags.zip").write_bytes(local + content + central + end)
    tracemalloc.start()
    message = refusal(lambda: read(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        "unpacks to more than 256 MiB, the limit for a table" if claimed > 7 else "cannot be read as a zip"
    ) in message
    assert peak < 32 << 20


def test_a_zip_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "tags.zip", b"x" * 3_000_000)
    assert unzipped(path, "tags.csv", limit=3_000_000) == (f"{path}/tags.csv", b"x" * 3_000_000)
    assert "unpacks to more than 2 MiB" in refusal(lambda: unzipped(path, "tags.csv", limit=2_999_999))


def test_zips_that_cannot_be_unpacked_are_named_with_the_remedy(tmp_path: Path) -> None:
    content = b"Tag,Category\r\n" + b"".join(b"t%d,object\r\n" % at for at in range(999))
    path = tmp_path / "tags.zip"
    change(zip_of(path, content), (b"PK\1\2", 8, b"\1"))
    assert "tags.csv is encrypted: unpack it, and leave tags.csv in its place" in refusal(lambda: read(tmp_path))
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        zip_of(path, content, method)
        assert "compressed by a method that is not read here: unpack it" in refusal(lambda: read(tmp_path))
    change(zip_of(path, content), (b"PK\1\2", 10, b"\x63"))
    assert "compressed by a method that is not read here" in refusal(lambda: read(tmp_path))
    for damage in (lambda whole: whole[:-30], lambda whole: whole[: len(whole) // 2], lambda whole: whole[:0]):
        path.write_bytes(damage(zip_of(path, content).read_bytes()))
        assert "tags.zip cannot be read as a zip file" in refusal(lambda: read(tmp_path))
    change(zip_of(path, content), (b"PK\3\4", 60, b"\xff\xff\xff"))
    assert "tags.zip cannot be read as a zip file" in refusal(lambda: read(tmp_path))


class Calls:
    """Pickled, it calls a function that its reader then has to have."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def deep(levels: int) -> bytes:
    """A tuple in a tuple in a tuple..., which Python's own hash of would end the process."""
    return b"\x80\x04}" + b")" + b"\x85" * levels


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": Calls(np.ndarray, (1 << 40,))}), "labels.pickle cannot be read as privacy labels"),
        (pickle.dumps({"a": Calls(np.dtype, "O")}), "something else than integers"),
        (pickle.dumps({"a": Calls(np.dtype, "V1000000000")}), "something else than integers"),
        (
            pickle.dumps({"a": Calls(getattr, "", "x")}),
            "it asks for builtins.getattr, and only numpy arrays are allowed",
        ),
        (b"\x80\x02}X\1\0\0\0a" + b"c_codecs\nencode\n" + b"X\1\0\0\0aX\3\0\0\0hex\x86Rs.", "encodes text otherwise"),
        (pickle.dumps({"a": np.array([[{}, 1, 2]])}), "something else than integers"),
        (pickle.dumps({"a": np.zeros((1, 3))}), "something else than integers"),
        (pickle.dumps({1: np.zeros((1, 3), int)}), "something else than the names of videos"),
        (pickle.dumps({"a": np.zeros((1, 3), int)}).replace(b"K\1K\3", b"K\1K\5"), "cannot reshape"),
        (b"\x80\x04}\x8c\1aK\1\x8c\1aK\1us.", "cannot be read"),
        (b"\x80\x04}(\x8c\1aK\1\x8c\1aK\1u.", "it holds 'a' twice"),
        (deep(100_000) + b"K\1s.", "something else than the names of videos"),
        (deep(100_000) + b"b.", "it sets the state of a dict"),
        (deep(100_000) + b"R.", "it calls a dict"),
        (b"\x80\x04N" + b"r\xff\xff\xff\x7f" + b".", "it holds a NoneType"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "cannot be read"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\0\0\0\0.", "cannot be read"),
        (b"\x80\x04\x8b\xff\xff\xff\x7f.", "cannot be read"),
        (b"L" + b"9" * 5000 + b"L\n.", "cannot be read"),
        (b"h\5.", "KeyError"),
        (b"0.", "it holds the instruction POP"),
        (b"u.", "IndexError"),
        (b"t.", "IndexError"),
        (b"R.", "IndexError"),
        (b".", "cannot be read"),
        (b"]" * 100 + b"e.", "it holds the instruction EMPTY_LIST"),
        (b"P1\n.", "it holds the instruction PERSID"),
        (b"\x80\x04\x8c\3\xed\xa0\x80.", "it holds a str, not a dict"),
        (ARRAY[:-1], "cannot be read"),
        (ARRAY[: len(ARRAY) // 2], "cannot be read"),
    ],
)
def test_a_hostile_pickle_is_one_line_and_runs_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "labels.pickle"
    path.write_bytes(content)
    assert words in refusal(lambda: load_label_pickle(path, 3))


def test_a_value_that_is_large_only_when_printed_is_not_printed(tmp_path: Path) -> None:
    nested = b"K\1" + b"q\0h\0\x86" * 64  # a pair of the pair before, 64 times: 2 ** 64 numbers
    (tmp_path / "labels.pickle").write_bytes(b"\x80\x04}\x8c\1a" + nested + b"s.")
    assert "'a' is a tuple" in refusal(lambda: load_label_pickle(tmp_path / "labels.pickle", 3))


def test_a_pickle_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.pickle").write_bytes(b"\x80\x04}" + b"N0" * (4 << 20) + b".")
    message = refusal(lambda: load_label_pickle(tmp_path / "labels.pickle", 3))
    assert "labels.pickle is larger than 8 MiB, the limit for privacy labels" in message


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["i8", ">i4", "u1", "?"])
def test_arrays_of_integers_are_read_as_python_would(tmp_path: Path, protocol: int, dtype: str) -> None:
    labels = {f"a/{at}.mp4": np.array([[at % 2, 1, 0]], dtype) for at in range(300)}
    (tmp_path / "labels.pickle").write_bytes(pickle.dumps(labels, protocol))
    found = load_label_pickle(tmp_path / "labels.pickle", 3)
    assert list(found) == list(labels)
    assert all(np.array_equal(found[key], label) for key, label in labels.items())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a":' * 100_000, "RecursionError"),
        (b'{"a": [' + b"[" * 100_000, "RecursionError"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice in one object"),
        (rb'{"a\udc80": 1}', "surrogates not allowed"),
        ('{"ä": 1}'.encode("latin-1"), "line 1 holds the byte 0xe4, ä in Latin-1"),
        ('{"a": 1}'.encode("utf-16"), "it is UTF-16"),
        (b"", "is not JSON"),
        (b"3", "holds a int, not an object"),
    ],
)
def test_json_that_cannot_be_used_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    message = refusal(lambda: read_json_object(tmp_path / "x.json"))
    assert message.startswith(f"{tmp_path}/x.json")
    assert words in message
    (tmp_path / "x.json").write_bytes(rb'{"\ud83c\udfa5": 1}')  # a pair of surrogates is one letter
    assert read_json_object(tmp_path / "x.json") == {"🎥": 1}


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ([0, 10**12, 1], "last frame (below 10000)"),
        ([0, 10_000, 1], "last frame (below 10000)"),
        ([False, 5, 1], "got [False, 5, 1]"),
        ([0, 5.0, 1], "got [0, 5.0, 1]"),
        ([0, 5, [[]]], "got [0, 5, [[]]]"),
        ([0, 5, {}], "got [0, 5, {}]"),
    ],
)
def test_an_interval_cannot_ask_for_more_frames_than_videos_have(tmp_path: Path, interval: Any, words: str) -> None:
    write_pa_hmdb51(tmp_path, {"wave/a.avi": {"face": [interval]}})
    assert words in refusal(lambda: load_manifest("pa-hmdb51", Sources(tmp_path / "none", tmp_path)))


def test_a_name_that_cannot_be_stored_or_opened_is_refused_before_anything_is_decoded() -> None:
    for video_id, path in (("", "a"), ("a\ud800", "a"), ("a\0", "a"), ("a", "a\0")):
        entries = (VideoEntry(video_id, path, ("wave",), b"\1", ("train",)),)
        assert "without NUL" in refusal(lambda entries=entries: Manifest("x", ("wave",), ("face",), entries))
    entry = VideoEntry("a", "a", ("wave",), b"\1", ("train",))
    assert "x lists a twice" in refusal(lambda: Manifest("x", ("wave",), ("face",), (entry, entry)))


def test_a_clip_of_hvu_that_is_listed_twice_is_one_video(tmp_path: Path) -> None:
    (tmp_path / "HVU_Tags_Categories_V1.0.csv").write_text("Tag,Category\nrun,action\ntree,object\npark,scene\n")
    row = "Tags,youtube_id,time_start,time_end\nrun|tree|park,a,0,10\n"
    (tmp_path / "HVU_Train_V1.0.csv").write_text(row)
    (tmp_path / "HVU_Val_V1.0.csv").write_text(row + "run|tree|park,b,0,10\n")
    manifest = load_manifest("p-hvu", Sources(tmp_path / "none", tmp_path))
    assert [(entry.video_id, entry.splits) for entry in manifest.entries] == [
        ("a_000000_000100", ("train",)),
        ("b_000000_000100", ("test",)),
    ]
    assert [(rejection.video_id, rejection.error, rejection.message) for rejection in manifest.rejected] == [
        ("a_000000_000100", "duplicate", "this clip is already listed above, as train")
    ]
