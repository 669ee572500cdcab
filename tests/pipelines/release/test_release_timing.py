"""A video read and written again: every frame at its time, the whole as long as its source, colours and sound right."""

import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.release.encoding import VideoWriter, WriteError
from stprivacy.video.sampled import read_video
from tests.support.copy_fixtures import copy
from tests.support.media_fixtures import Source, brightness, picture, told, write_source, write_source_with_sound
from tests.support.places import ROOT

TICK = Fraction(1, 90_000)
IRREGULAR = [7 + time for time in (0, 3, 4, 9, 10, 11, 27, 28, 30, 41)]
NTSC, FILM = Fraction(30_000, 1001), Fraction(24_000, 1001)


SOURCES = {
    **{codec: ("a.mp4", Source(codec)) for codec in ("libx264", "libx265", "libsvtav1", "mpeg4")},
    "vp9": ("a.webm", Source("libvpx-vp9")),
    "avi": ("a.avi", Source("libx264")),
    "ts": ("a.ts", Source("libx264", times=range(50, 62))),
    "10-bit": ("a.mp4", Source("libx265", pixel_format="yuv420p10le")),
    "10-bit-av1": ("a.mp4", Source("libsvtav1", pixel_format="yuv420p10le")),
    "rotated": ("a.mp4", Source(rotation=-90, sample_aspect=Fraction(4, 3))),
    "irregular": ("a.mp4", Source(times=IRREGULAR)),
    "irregular-mkv": ("a.mkv", Source(times=IRREGULAR)),
    "irregular-vp9": ("a.webm", Source("libvpx-vp9", times=IRREGULAR)),
    "odd-size": ("a.webm", Source("libvpx-vp9", size=(65, 49))),
    "wide-pixels": ("a.mp4", Source(sample_aspect=Fraction(32, 27))),
    "one-frame": ("a.mp4", Source(times=[0])),
    "late-start": ("a.mp4", Source(times=range(25, 40))),
    "film": ("a.mp4", Source(times=range(30), time_base=1 / FILM, rate=FILM, timescale=24_000)),
    "ntsc": ("a.mp4", Source(times=range(30), time_base=1 / NTSC, rate=NTSC, timescale=30_000)),
}


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kind", SOURCES)
def test_every_frame_keeps_its_time_and_the_video_its_length_and_shape(tmp_path: Path, kind: str, stride: int) -> None:
    name, source = SOURCES[kind]
    path = write_source(tmp_path / name, source)
    video = copy(path, tmp_path / "out.mp4", stride)
    released, step = told(tmp_path / "out.mp4"), 1 / source.rate
    expected = [(ticks - source.times[0]) * source.time_base for ticks in source.times][::stride]
    assert released.start_seconds == 0
    assert len(released.times) == len(expected)
    assert max(abs(time - due) for time, due in zip(released.times, expected, strict=True)) <= TICK
    end = (source.times[-1] - source.times[0]) * source.time_base + step
    assert released.stream_seconds is not None
    assert abs(released.stream_seconds - end) <= step
    assert abs(released.container_seconds - released.stream_seconds) <= Fraction(1, 1_000_000)
    assert released.aspect == video.aspect


def test_every_moment_of_a_second_of_irregular_frames_shows_the_same_picture_as_the_source(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.mp4", Source(times=IRREGULAR))
    copy(path, tmp_path / "out.mp4")
    frames = read_video(tmp_path / "out.mp4", stride=1, short_side_px=48).frames
    for number, frame in enumerate(frames):
        assert abs(int(frame[36, 50, 0]) - brightness(number, len(IRREGULAR))) < 8


@pytest.mark.parametrize("gap", [Fraction(0), Fraction(1, 1_000_000)])
def test_the_last_frame_lasts_at_least_one_tick(tmp_path: Path, gap: Fraction) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)
    for number in range(3):
        writer.write(picture(number, 3, (64, 48)), Fraction(number, 25))
    writer.finish(Fraction(2, 25) + gap)
    assert told(tmp_path / "a.mp4").stream_seconds == Fraction(2, 25) + TICK


def test_frames_closer_than_a_tick_stay_in_order_and_all_are_kept(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)
    for number in range(10):
        writer.write(picture(number, 10, (64, 48)), Fraction(number, 1_000_000))
    writer.finish(Fraction(1))
    released = told(tmp_path / "a.mp4")
    assert released.times == [number * TICK for number in range(10)]
    assert released.stream_seconds == 1


def test_hours_between_two_frames_are_kept_and_more_than_mp4_can_tell_is_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)
    for number in range(5):
        writer.write(picture(number, 5, (64, 48)), Fraction(number * 6 * 3600))
    writer.finish(Fraction(30 * 3600))
    released = told(tmp_path / "a.mp4")
    assert released.times[-1] == 24 * 3600
    assert released.stream_seconds == 30 * 3600
    writer = VideoWriter(tmp_path / "b.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)
    writer.write(picture(0, 2, (64, 48)), Fraction(0))
    with pytest.raises(WriteError, match=r"shown for 7\.0 h"):
        writer.finish(Fraction(7 * 3600))
    writer.abort()


COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250), (5, 5, 5), (220, 120, 40), (30, 160, 200)]


@pytest.mark.parametrize("size", [(64, 48), (96, 80), (32, 24)], ids=["same", "shrunk", "enlarged"])
def test_colours_survive_and_the_file_tells_how_to_show_them(tmp_path: Path, size: tuple[int, int]) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=10)
    for number, colour in enumerate(COLOURS):
        writer.write(np.full((size[1], size[0], 3), colour, np.uint8), Fraction(number))
    writer.finish(Fraction(len(COLOURS)))
    frames = read_video(tmp_path / "a.mp4", stride=1, short_side_px=48).frames
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.astype(int) - colour).max() <= 6
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.profile) == ("yuv420p", "High")
        # BT.709 in matrix, transfer and primaries, of limited range.
        tags = (context.colorspace, context.color_trc, context.color_primaries, context.color_range)
        assert tags == (1, 1, 1, 1)


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    path = write_source_with_sound(tmp_path / "a.mp4")
    for name in ("one.mp4", "two.mp4"):
        copy(path, tmp_path / name, keep_audio=True)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


@pytest.mark.parametrize(("width", "height", "quality"), [(65, 48, 23), (64, 49, 23), (0, 48, 23), (64, 48, 52)])
def test_what_h264_cannot_hold_is_refused(tmp_path: Path, width: int, height: int, quality: int) -> None:
    with pytest.raises(ValueError, match="got"):
        VideoWriter(tmp_path / "a.mp4", width=width, height=height, aspect=Fraction(4, 3), quality=quality)
    assert not (tmp_path / "a.mp4").exists()


def write_three_frames(path: Path) -> None:
    writer = VideoWriter(path, width=64, height=48, aspect=Fraction(4, 3), quality=23)
    for number in range(3):
        writer.write(picture(number, 3, (64, 48)), Fraction(number, 25))
    writer.finish(Fraction(3, 25))


def write_within(limit_bytes: int, path: Path) -> None:
    """Write a video in this process, whose files may not be larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = None
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        writer = VideoWriter(path, width=64, height=48, aspect=Fraction(4, 3), quality=10)
        noise = np.random.default_rng(0)
        for number in range(40):
            writer.write(noise.integers(0, 255, (48, 64, 3), np.uint8), Fraction(number, 25))
        writer.finish(Fraction(40, 25))
        print("written")
    except WriteError as error:
        print(f"refused: {error}")
        if writer is not None:
            writer.abort()


def written_within(limit_bytes: int, path: Path) -> str:
    code = f"from test_release_timing import *; write_within({limit_bytes}, Path({str(path)!r}))"
    paths = [str(Path(__file__).parent), str(ROOT)]
    code = f"import sys; sys.path[:0] = {paths}; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_full_disk_is_told_wherever_it_strikes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert written_within(10_000_000, path) == "written\n"
    whole = path.stat().st_size
    for limit_bytes in (0, 1000, whole // 2, whole - 700, whole - 1):
        told_so = written_within(limit_bytes, path)
        assert told_so.startswith(f"refused: {path} cannot be written: "), limit_bytes
        assert "large" in told_so, told_so
    assert written_within(whole, path) == "written\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
def test_no_space_left_is_told_in_these_words() -> None:
    with pytest.raises(WriteError, match="/dev/full cannot be written: No space left"):
        write_three_frames(Path("/dev/full"))


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"):
        VideoWriter(tmp_path / "gone" / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)


def test_an_aborted_writer_lets_go_and_never_raises(tmp_path: Path) -> None:
    for frames in (0, 1, 3):
        writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, aspect=Fraction(4, 3), quality=23)
        for number in range(frames):
            writer.write(picture(number, 3, (64, 48)), Fraction(number, 25))
        writer.abort()
        writer.abort()
