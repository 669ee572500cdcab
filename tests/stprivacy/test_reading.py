"""Which frames of a file are read, when they are shown, and when a file is whole: alike for ingest and release."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stprivacy.video.decoding import VideoError, VideoLimits
from stprivacy.video.sampled import VideoFrames, read_video
from stprivacy.video.timed import TimedVideo
from tests.support.bad_corpus import write_video
from tests.support.media_fixtures import Source, brightness, write_source, write_source_with_sound

HOUR = 25 * 3600  # in frames
CODECS = {"a.ts": "libx264", "a.mpg": "mpeg2video", "a.mkv": "libx264", "a.mp4": "libx264", "a.webm": "libvpx-vp9"}
CODECS |= {"a.avi": "mpeg4", "a.nut": "libx264", "a.flv": "libx264", "a.asf": "wmv2"}


def both(path: Path) -> tuple[VideoFrames, list[Fraction], TimedVideo]:
    """What an ingest stores, and the times that a release gives to the same frames, the end included."""
    stored = read_video(path, stride=1, short_side_px=24)
    height, width = stored.frames.shape[1:3]
    with TimedVideo(path, stride=1, height_px=height, width_px=width, limits=VideoLimits()) as video:
        frames = list(video.frames())
    assert np.array_equal(stored.frames, [frame.pixels for frame in frames])
    assert stored.notes == video.notes
    return stored, [*(frame.seconds for frame in frames), video.end_seconds], video


def refused(path: Path) -> str:
    """The message with which both readers refuse a file as truncated."""
    with pytest.raises(VideoError) as caught:
        read_video(path, stride=1, short_side_px=24)
    limits = VideoLimits()
    with (
        pytest.raises(VideoError) as again,
        TimedVideo(path, stride=1, height_px=9, width_px=9, limits=limits) as video,
    ):
        list(video.frames())
    assert (caught.value.error, str(caught.value)) == ("truncated", str(again.value))
    return str(caught.value)


def join(folder: Path, name: str, parts: Sequence[range]) -> Path:
    """A recording joined of parts, whose frames are numbered by the clock of each."""
    files = [write_source(folder / f"{number}{name}", Source(CODECS[name], part)) for number, part in enumerate(parts)]
    (folder / name).write_bytes(b"".join(file.read_bytes() for file in files))
    return folder / name


@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
@pytest.mark.parametrize(
    "starts",
    [(0, 4 * HOUR), (4 * HOUR, 0), (0, 0), (0, 75), (60, 25), (0, HOUR, 2 * HOUR, 0), (8 * HOUR, 4 * HOUR, 0)],
    ids=str,
)
def test_parts_of_a_broadcast_follow_each_other_wherever_its_clock_leaps(
    tmp_path: Path, name: str, starts: tuple[int, ...]
) -> None:
    stored, times, _ = both(join(tmp_path, name, [range(start, start + 20) for start in starts]))
    assert stored.source_frames == 20 * len(starts)
    assert times == [Fraction(number, 25) for number in range(20 * len(starts) + 1)]
    assert stored.fps == 25
    assert "its clock jumps" in stored.notes[0]


@pytest.mark.parametrize("wrong", [9 * HOUR, -9 * HOUR], ids=["future", "past"])
@pytest.mark.parametrize("name", ["a.ts", "a.mpg"])
def test_one_wrong_stamp_changes_no_other_frames_time(tmp_path: Path, name: str, wrong: int) -> None:
    start = 10 * HOUR
    parts = [range(start, start + 20), range(start + wrong, start + wrong + 1), range(start + 21, start + 40)]
    stored, times, _ = both(join(tmp_path, name, parts))
    assert times == [Fraction(number, 25) for number in range(41)]
    assert stored.source_frames == 40


def test_a_wrong_stamp_backwards_costs_no_pause_in_other_containers_either(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.flv", Source("flv", [*range(1000, 1010)]))
    content = bytearray(path.read_bytes())
    stamps = [at for at in _flash_pictures(content)]
    content[stamps[5] + 4 : stamps[5] + 8] = bytes(4)
    path.write_bytes(content)
    assert both(path)[1] == [Fraction(number, 25) for number in range(11)]


def _flash_pictures(content: bytearray) -> list[int]:
    tags, tag = [], 13
    while tag < len(content):
        length = int.from_bytes(content[tag + 1 : tag + 4], "big")
        tags += [tag] if content[tag] == 9 and length > 10 else []
        tag += 11 + length + 4
    return tags


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.nut", "a.flv", "a.asf"])
def test_pauses_of_a_screen_recording_are_genuine_and_give_the_same_row(tmp_path: Path, name: str) -> None:
    shown = [*range(10), 100, 180, *range(261, 270), 499]
    stored, times, _ = both(write_source(tmp_path / name, Source(CODECS[name], shown)))
    assert stored.source_frames == len(shown)
    assert times[:-1] == pytest.approx([number / 25 for number in shown], abs=0.002)
    assert stored.fps == pytest.approx(len(shown) / 20, rel=0.05)
    assert stored.notes == ()


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg2video"), ("b.ts", "mpeg2video")])
def test_a_cut_that_begins_inside_a_group_of_pictures_is_its_decodable_part_and_says_so(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write_video(tmp_path / name, frames=48, codec=codec, fps=25, size=(320, 240))
    whole = both(path)[0]
    content = path.read_bytes()
    unit = 188 if name.endswith("ts") else 2048
    path.write_bytes(content[len(content) // 20 // unit * unit :])
    stored, times, _ = both(path)
    assert whole.notes == ()
    assert 0 < stored.source_frames < whole.source_frames == 48
    assert [note.split(":")[0] for note in stored.notes] == ["begins inside a group of pictures"]
    assert times == [Fraction(number, 25) for number in range(stored.source_frames + 1)]
    assert np.array_equal(stored.frames[-12:], whole.frames[-12:])


@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.mkv", "a.flv"])
@pytest.mark.parametrize("filling", ["noise", "zeros"])
def test_a_hole_is_no_pause_and_no_leap(tmp_path: Path, name: str, filling: str) -> None:
    path = write_source(tmp_path / name, Source(CODECS[name], range(250), size=(160, 120), noise=True))
    content = bytearray(path.read_bytes())
    hole = slice(int(0.4 * len(content)), int(0.7 * len(content)))
    size = hole.stop - hole.start
    content[hole] = np.random.default_rng(0).bytes(size) if filling == "noise" else bytes(size)
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("sound", [False, True])
def test_zeros_behind_a_broadcast_are_a_hole(tmp_path: Path, sound: bool) -> None:
    """A copy into a file that was given its full size first, and then broke off."""
    path = tmp_path / "a.ts"
    path = write_source_with_sound(path, "mp2") if sound else write_source(path, Source(times=range(250)))
    path.write_bytes(path.read_bytes() + bytes(path.stat().st_size * 4 // 10))
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize("fraction", [0.5, 0.8])
def test_a_matroska_file_with_sound_that_was_cut_is_truncated(tmp_path: Path, fraction: float) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", 8000, 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    assert "of the 2.0 s that its header declares" in refused(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.flv"])
def test_sound_that_lasts_longer_than_the_pictures_makes_no_file_truncated(tmp_path: Path, name: str) -> None:
    path = write_source_with_sound(tmp_path / name, "aac", delay_seconds=4.0)
    assert both(path)[0].source_frames == 50


def test_an_avi_counts_its_frames_and_what_repeats_them(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.avi", Source("mpeg4", [*range(50), 300]))
    assert both(path)[0].source_frames == 51
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    assert "declared frames" in refused(path)


def test_frames_that_an_edit_list_hides_are_not_missing(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4", Source(times=range(100)))
    path = tmp_path / "trimmed.mp4"
    with av.open(str(source)) as whole, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as trimmed:
        stream = trimmed.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.dts, packet.pts = (stamp - round(2 / packet.time_base) for stamp in (packet.dts, packet.pts))
                packet.stream = stream
                trimmed.mux(packet)
    with av.open(str(path)) as trimmed:
        assert trimmed.streams.video[0].frames == 100
    stored, times, _ = both(path)
    assert (stored.source_frames, times[-1], stored.notes) == (50, 2, ())


RAW = {"a.h264": "libx264", "a.hevc": "libx265", "a.m4v": "mpeg4", "a.mjpeg": "mjpeg", "a.m2v": "mpeg2video"}
TIMED = {"a.ivf": "libvpx-vp9", "a.gif": "gif", "a.nut": "libx264", "a.mxf": "mpeg2video", "a.y4m": "wrapped_avframe"}
PIXEL_FORMATS = {"mjpeg": "yuvj420p", "gif": "rgb8"}


@pytest.mark.parametrize("name", [*RAW, *TIMED, "a.dv"])
def test_other_containers_are_read_too(tmp_path: Path, name: str) -> None:
    """Raw streams at the rate that their headers tell, or as FFmpeg at 25 a second; a note says so."""
    codec = (RAW | TIMED | {"a.dv": "dvvideo"})[name]
    size = (720, 576) if name == "a.dv" else (64, 48)
    source = Source(codec, size=size, pixel_format=PIXEL_FORMATS.get(codec, "yuv420p"))
    path = write_source(tmp_path / name, source, "m4v" if name == "a.m4v" else None)
    stored, times, video = both(path)
    assert times == pytest.approx([number / 25 for number in range(13)], abs=0.005)
    assert (video.width, video.height) == size
    assert bool(stored.notes) == (name in RAW)
    shades = [int(frame[-4, -4, 0]) for frame in stored.frames]
    assert shades == pytest.approx([brightness(number, 12) for number in range(12)], abs=20)


def test_a_container_that_is_not_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.wtv", Source("mpeg2video"))
    with pytest.raises(VideoError, match=r"`ffmpeg -i FILE -c copy FILE\.mkv`") as caught:
        both(path)
    assert caught.value.error == "not-allowed-format"
