"""Videos that do their worst to the process that reads them: each is refused with a reason, the next one is read."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from pipelines.data import decoder, shards
from pipelines.data.decoder import Decoder, DecoderError
from pipelines.data.manifest import VideoEntry
from pipelines.data.records import read_quarantine
from pipelines.data.schema import IngestSettings
from pipelines.data.shards import Shard, write_shard
from stprivacy.video.decoding import VideoError
from stprivacy.video.sampled import read_video
from tests.support.bad_corpus import write_video

SETTINGS = IngestSettings(short_side_px=32, seconds_per_video=20)


@pytest.fixture
def reader() -> Iterator[Decoder]:
    made = Decoder()
    yield made
    made.stop()


@pytest.fixture
def faulty(reader: Decoder, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    monkeypatch.setattr(decoder, "PROCESS_MODULE", "tests.support.faulty_decoder")
    return reader


def frames_of(reader: Decoder, path: Path) -> np.ndarray:
    return reader.read(str(path), SETTINGS)[0].frames


def fault_of(reader: Decoder, path: Path, settings: IngestSettings = SETTINGS) -> tuple[str, str]:
    with pytest.raises(VideoError) as caught:
        reader.read(str(path), settings)
    return caught.value.error, str(caught.value)


def test_another_process_reads_what_this_one_would(reader: Decoder, tmp_path: Path) -> None:
    started: set[int] = set()
    before = {child.pid for child in psutil.Process().children()}
    for at in range(3):
        path = write_video(tmp_path / f"{at}.mp4", frames=5 + at, seed=at)
        (video, _), expected = (
            reader.read(str(path), SETTINGS),
            read_video(path, stride=2, short_side_px=32, tubelet_frames=2),
        )
        assert np.array_equal(video.frames, expected.frames)
        assert (video.fps, video.source_frames) == (expected.fps, expected.source_frames)
        started |= {child.pid for child in psutil.Process().children()} - before
    assert len(started) == 1


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("raises", "failed", "reading it failed: KeyError: 'a thing\\nthat is missing'"),
        ("segfaults", "crashed", "it ended the process that reads videos, twice (SIGSEGV, then SIGSEGV)"),
        ("exits", "crashed", "it ended the process that reads videos, twice (exit status 3, then exit status 3)"),
    ],
)
def test_whatever_a_video_does_to_its_reader_is_its_reason(
    faulty: Decoder, tmp_path: Path, name: str, error: str, message: str
) -> None:
    bad, good = (write_video(tmp_path / f"{stem}.mp4", frames=4) for stem in (name, "good"))
    assert fault_of(faulty, bad) == (error, message)
    assert len(frames_of(faulty, good)) == 2


def test_a_process_that_somebody_else_kills_is_started_again(faulty: Decoder, tmp_path: Path) -> None:
    assert len(frames_of(faulty, write_video(tmp_path / "dies-once.mp4", frames=4))) == 2


def test_a_video_that_never_ends_is_given_up(faulty: Decoder, tmp_path: Path) -> None:
    bad, good = (write_video(tmp_path / f"{stem}.mp4", frames=4) for stem in ("never-ends", "good"))
    frames_of(faulty, good)
    begun = time.monotonic()
    expected = ("timed-out", "not read within 0.5 s")
    assert fault_of(faulty, bad, IngestSettings(short_side_px=32, seconds_per_video=0.5)) == expected
    assert time.monotonic() - begun < 10
    assert len(frames_of(faulty, good)) == 2


def test_a_real_video_that_takes_long_is_given_up(reader: Decoder, tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", frames=8, size=(4096, 4096), seed=0)
    good = write_video(tmp_path / "good.mp4", frames=4)
    frames_of(reader, good)
    assert fault_of(reader, path, IngestSettings(seconds_per_video=0.05))[0] == "timed-out"
    assert frames_of(reader, path).shape == (4, 32, 32, 3)


def test_what_is_no_file_is_named_for_what_it_is_and_waited_for_by_nobody(reader: Decoder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("gone.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    assert [fault_of(reader, tmp_path / f"{name}.mp4") for name in ("pipe", "folder", "dangling", "loop", "none")] == [
        ("unreadable", "not a regular file"),
        ("unreadable", "not a regular file"),
        ("missing", "a link to gone.mp4, which does not exist"),
        ("unreadable", "cannot be read: Too many levels of symbolic links"),
        ("missing", "no such file"),
    ]


def test_a_locked_folder_and_a_locked_file_are_named_as_such(tmp_path: Path) -> None:
    """By a process without root's rights, which see everything."""
    for name in ("folder", "open"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "a.mp4", frames=4)
    (tmp_path / "folder").chmod(0)
    (tmp_path / "open" / "a.mp4").chmod(0)
    code = f"""
import os
from pipelines.data.decoder_process import _checksum
if os.getuid() == 0: os.setuid(65534)
for path in {[str(tmp_path / name / "a.mp4") for name in ("folder", "open")]}:
    try: _checksum(path)
    except ValueError as error: print(error.error, error)
"""
    for parent in (tmp_path, *tmp_path.parents):
        if "pytest" in parent.name:
            parent.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (tmp_path / "folder").chmod(0o755)
    assert done.stdout.splitlines() == ["unreadable cannot be read: Permission denied"] * 2


def test_the_reading_process_ends_with_its_parent_in_mid_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "never-ends.mp4", frames=4)
    code = f"""
from pipelines.data import decoder
from pipelines.data.schema import IngestSettings
decoder.PROCESS_MODULE = "tests.support.faulty_decoder"
decoder.Decoder().read({str(path)!r}, IngestSettings())
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 90
    while not path.with_suffix(".mark").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    child.wait(30)


def test_a_process_that_cannot_start_is_no_video_s_fault(
    reader: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "PROCESS_MODULE", "no_such_module")
    with pytest.raises(DecoderError, match=r"the process that reads videos does not start \(exit status 1\)"):
        reader.read(str(tmp_path / "any.mp4"), SETTINGS)


def quarantined(folder: Path, entries: list[VideoEntry], settings: IngestSettings) -> list[tuple[str, str, str]]:
    """What is quarantined when a shard is written in this process."""
    for name in ("videos", "quarantine"):
        (folder / "out" / name).mkdir(parents=True)
    shard = Shard("00000-0000000000000000.parquet", tuple(entries), tuple((0,) for _ in entries))
    write_shard(shard, folder / "out", settings)
    rows = read_quarantine(folder / "out" / "quarantine" / shard.name).rows
    assert pq.read_metadata(folder / "out" / "videos" / shard.name).num_rows == len(entries) - len(rows)
    return [(row["video_id"], row["error"], row["message"]) for row in rows]


def test_a_detector_or_labels_that_fail_quarantine_their_video_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect(frames: np.ndarray) -> list[list[list[float]]]:
        if len(frames) == 4:
            raise RuntimeError("out of\npatience")
        return [[] for _ in frames]

    monkeypatch.setattr(shards, "make_detector", lambda *_: detect)
    entries = [
        VideoEntry(name, str(write_video(tmp_path / f"{name}.mp4", frames=frames)), ("run",), b"\1", ("train",), boxes)
        for name, frames, boxes in (("a", 4, None), ("b", 8, None), ("c", 4, [[[0.0, 0.0, 1.0, 1.0]]]), ("d", 6, "no"))
    ]
    assert quarantined(tmp_path, entries, IngestSettings(short_side_px=32, detector="hog")) == [
        ("b", "failed", "finding persons in it failed: RuntimeError: out of patience"),
        (
            "d",
            "failed",
            "storing it failed: ArrowInvalid: Could not convert 'n' with type str: tried to convert to float32",
        ),
    ]


def test_a_file_s_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    entries = [VideoEntry(os.path.basename(path), path, ("run",), b"\1", ("train",))]
    assert quarantined(tmp_path, entries, SETTINGS) == [("caf\\xe9.mp4", "missing", "no such file")]
