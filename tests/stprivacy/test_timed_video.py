"""One file to timed, resized, upright frames: exact times, whole view, right colours, and every refusal in words."""

import gc
import math
import os
import socket
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stprivacy.video.decoding import VideoError, VideoLimits
from stprivacy.video.timed import TimedFrame, TimedVideo
from tests.support.bad_corpus import write_bad_corpus, write_untimed, write_video
from tests.support.media_fixtures import Source, brightness, told, write_source

UNLIMITED = VideoLimits(max_seconds=math.inf)
ODD_TIMES = (0, 3, 4, 9, 10, 11, 27, 28, 30, 41)


def opened(path: Path, stride: int = 1, limits: VideoLimits = UNLIMITED) -> TimedVideo:
    return TimedVideo(path, stride=stride, height_px=32, width_px=40, limits=limits)


def read(path: Path, stride: int = 1, limits: VideoLimits = UNLIMITED) -> tuple[TimedVideo, list[TimedFrame]]:
    with opened(path, stride, limits) as video:
        return video, list(video.frames())


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "libx264"), ("a.mp4", "libx265"), ("a.mp4", "libsvtav1"), ("a.mov", "mpeg4"), ("a.mkv", "libx264")),
        *(("a.webm", "libvpx-vp9"), ("a.ts", "libx264"), ("a.flv", "libx264"), ("a.mpg", "mpeg2video")),
    ],
)
def test_every_frame_has_its_own_time(tmp_path: Path, name: str, codec: str) -> None:
    path = write_source(tmp_path / name, Source(codec))
    video, frames = read(path)
    assert [frame.seconds for frame in frames] == told(path).times == [Fraction(number, 25) for number in range(12)]
    assert (video.source_frames, video.end_seconds) == (12, Fraction(12, 25))
    assert video.start_seconds == told(path).start_seconds
    for number, frame in enumerate(frames):
        assert abs(int(frame.pixels[24, 30, 0]) - brightness(number, 12)) < 8


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_frames_follow_each_other_at_the_rate_of_the_file(tmp_path: Path, codec: str) -> None:
    """AVI numbers frames as they are decoded, which with B-frames is not how they are shown."""
    video, frames = read(write_source(tmp_path / "a.avi", Source(codec)))
    assert [frame.seconds for frame in frames] == [Fraction(number, 25) for number in range(12)]
    assert (video.start_seconds, video.end_seconds) == (0, Fraction(12, 25))
    shades = [int(frame.pixels[24, 30, 0]) for frame in frames]
    assert shades == sorted(shades)


@pytest.mark.parametrize("stride", [2, 5, 100])
def test_sampled_frames_keep_their_times_and_the_end_is_that_of_the_source(tmp_path: Path, stride: int) -> None:
    path = write_source(tmp_path / "a.mp4", Source())
    every, frames = read(path)[1], read(path, stride)[1]
    assert [frame.seconds for frame in frames] == [frame.seconds for frame in every[::stride]]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, every[::stride], strict=True))
    video, _ = read(path, stride)
    assert (video.source_frames, video.end_seconds) == (12, Fraction(12, 25))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_irregular_times_stay_as_they_are(tmp_path: Path, name: str, codec: str) -> None:
    path = write_source(tmp_path / name, Source(codec, times=[7 + time for time in ODD_TIMES]))
    video, frames = read(path)
    assert [frame.seconds for frame in frames] == [Fraction(time, 25) for time in ODD_TIMES]
    assert frames[-1].seconds < video.end_seconds <= frames[-1].seconds + Fraction(16, 25)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_a_picture_may_stand_for_minutes_far_from_the_start_of_the_clock(tmp_path: Path, name: str, codec: str) -> None:
    path = write_source(tmp_path / name, Source(codec, times=[10_000, 10_001, 15_000, 15_001]))
    _, frames = read(path)
    assert [frame.seconds for frame in frames] == [0, Fraction(1, 25), 200, 200 + Fraction(1, 25)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_hole_in_the_middle_is_no_long_picture(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, frames=240, options={"movflags": "faststart"} if name == "a.mp4" else None)
    content = bytearray(path.read_bytes())
    hole = slice(int(0.4 * len(content)), int(0.75 * len(content)))
    content[hole] = np.random.default_rng(0).bytes(len(content))[hole]
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"declare|cannot be read") as caught:
        read(path)
    assert caught.value.error == "truncated"


def test_the_clock_of_the_first_frame_is_known_on_opening(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.ts", Source(times=range(50, 60)))
    with opened(path) as video:
        assert video.start_seconds == told(path).start_seconds >= 2


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001)])
def test_broadcast_rates_are_exact(tmp_path: Path, rate: Fraction) -> None:
    source = Source(times=range(48), time_base=1 / rate, rate=rate, timescale=rate.numerator)
    video, frames = read(write_source(tmp_path / "a.mp4", source))
    assert [frame.seconds for frame in frames] == [number / rate for number in range(48)]
    assert video.end_seconds == 48 / rate


def test_one_frame_is_a_video_that_lasts_as_long_as_its_frame(tmp_path: Path) -> None:
    video, frames = read(write_source(tmp_path / "a.mp4", Source(times=[0])))
    assert [frame.seconds for frame in frames] == [0]
    assert video.end_seconds == Fraction(1, 25)


def test_a_file_of_0_frames_a_second_is_timed_by_its_stamps_and_without_them_refused(tmp_path: Path) -> None:
    video, frames = read(write_untimed(tmp_path / "stamped.flv", keeps_stamps=True))
    assert [round(frame.seconds * 12) for frame in frames] == list(range(12))
    assert frames[-1].seconds < video.end_seconds <= frames[-1].seconds + Fraction(1, 10)
    with pytest.raises(VideoError, match="no frame rate") as caught:
        read(write_untimed(tmp_path / "untimed.flv"))
    assert caught.value.error == "no-timing"


def rewrite_stamps(path: Path, milliseconds: list[int]) -> Path:
    """Give the pictures of a Flash video other time stamps."""
    content = bytearray(path.read_bytes())
    tag, stamps = 13, iter(milliseconds)
    while tag < len(content):
        length = int.from_bytes(content[tag + 1 : tag + 4], "big")
        if content[tag] == 9 and length > 10:
            content[tag + 4 : tag + 7] = next(stamps).to_bytes(3, "big")
        tag += 11 + length + 4
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ([0, 40, 40, 80, 120, 160], [0, 40, 60, 80, 120, 160]),
        ([0, 40, 80, 60, 120, 160], [0, 40, 80, 100, 120, 160]),
        ([5000, 5040, 5080, 0, 40, 90], [0, 40, 80, 120, 160, 210]),
    ],
    ids=["repeated", "backward", "restarted"],
)
def test_times_that_do_not_increase_are_mended(tmp_path: Path, milliseconds: list[int], expected: list[int]) -> None:
    path = write_video(tmp_path / "a.flv", codec="flv", frames=6, fps=25)
    _, frames = read(rewrite_stamps(path, milliseconds))
    assert [frame.seconds * 1000 for frame in frames] == expected


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1)), (0, (0, 0))])
def test_frames_size_and_aspect_are_turned_upright(tmp_path: Path, rotation: float, corner: tuple[int, int]) -> None:
    # The file says: turn me counterclockwise, and: my pixels are 4/3 wide.
    path = write_source(tmp_path / "a.mp4", Source(rotation=rotation, sample_aspect=Fraction(4, 3)))
    with opened(path) as video:
        shape = (video.width, video.height, video.aspect)
        frame = next(video.frames()).pixels
    assert shape == ((48, 64, Fraction(9, 16)) if rotation in (90, -90) else (64, 48, Fraction(16, 9)))
    assert frame.shape == (32, 40, 3)
    assert frame.flags.c_contiguous
    green = {(y, x): frame[y, x, 1] > 200 for y in (0, -1) for x in (0, -1)}
    assert [place for place, is_green in green.items() if is_green] == [corner]


@pytest.mark.parametrize("size", [(65, 49), (16, 128), (640, 480)], ids=str)
def test_the_whole_field_of_view_is_kept_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_source(tmp_path / "a.webm", Source("libvpx-vp9", size=size))
    video, frames = read(path)
    assert (video.width, video.height, video.aspect) == (*size, Fraction(*size))
    green = frames[0].pixels[:, :, 1] > 150
    assert green[:15, :19].all()
    assert not green[17:].any()
    assert not green[:, 21:].any()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.mp4", Source("libx264", pixel_format="yuv420p10le")),
        ("a.mp4", Source("libx265", pixel_format="yuv420p10le")),
        ("a.mp4", Source("libsvtav1", pixel_format="yuv420p10le")),
        ("a.mp4", Source("libx264", pixel_format="yuvj420p")),
        ("a.mp4", Source("libx264", pixel_format="yuv444p")),
        ("a.avi", Source("mjpeg", pixel_format="yuvj420p")),
    ],
    ids=lambda value: f"{value.codec}-{value.pixel_format}" if isinstance(value, Source) else value,
)
def test_colours_are_right_whatever_depth_and_range_the_source_has(tmp_path: Path, name: str, source: Source) -> None:
    for number, frame in enumerate(read(write_source(tmp_path / name, source))[1]):
        assert np.abs(frame.pixels[8, 10].astype(int) - (0, 255, 0)).max() < 12
        assert np.abs(frame.pixels[24, 30].astype(int) - brightness(number, 12)).max() < 8


def test_the_size_may_change_in_mid_stream(tmp_path: Path) -> None:
    parts = [write_source(tmp_path / f"{size[0]}.ts", Source("mpeg2video", size=size)) for size in ((64, 48), (80, 96))]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, frames = read(path)
    assert len(frames) >= 23
    assert {frame.pixels.shape for frame in frames} == {(32, 40, 3)}
    times = [frame.seconds for frame in frames]
    assert times == sorted(set(times))
    assert all(frame.pixels[3, 3, 1] > 200 for frame in frames)


def test_every_bad_file_is_refused_in_words(tmp_path: Path) -> None:
    for bad in write_bad_corpus(tmp_path):
        with pytest.raises(VideoError) as caught:
            read(tmp_path / bad.name)
        assert (bad.name, caught.value.error) == (bad.name, bad.error)
        assert len(str(caught.value).split()) >= 3


def test_a_file_cut_off_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=240, options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    seen = []
    with opened(path) as video, pytest.raises(VideoError, match=r"declare|cannot be read") as caught:
        seen.extend(frame.seconds for frame in video.frames())
    assert caught.value.error == "truncated"
    assert len(seen) > 50


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat"])
def test_what_a_playlist_points_at_is_neither_fetched_nor_read(tmp_path: Path, name: str) -> None:
    film = write_video(tmp_path / "a.ts").read_bytes()
    os.mkfifo(tmp_path / "pipe.ts")
    pipe = os.open(tmp_path / "pipe.ts", os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, film)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        targets = [f"http://127.0.0.1:{server.getsockname()[1]}/a.ts", str(tmp_path / "pipe.ts"), "pipe.ts"]
        for target in targets:
            m3u8 = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
            concat = f"ffconcat version 1.0\nfile '{target}'\n"
            (tmp_path / name).write_text(concat if "concat" in name else m3u8)
            with pytest.raises(VideoError) as caught:
                opened(tmp_path / name)
            assert caught.value.error in ("not-allowed-format", "unreadable")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert os.read(pipe, len(film) + 1) == film
    os.close(pipe)


def test_a_limit_on_seconds_holds_and_infinity_is_none(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.mp4", Source(times=range(0, 5000, 500)))
    assert read(path)[0].end_seconds > 120
    with pytest.raises(VideoError, match="limit") as caught:
        read(path, limits=VideoLimits())
    assert caught.value.error == "too-long"


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = write_source(tmp_path / "a.mp4", Source("mpeg4", times=range(600)))
    held = []
    with opened(path) as video:
        tracemalloc.start()
        for number, _ in enumerate(video.frames()):
            if number in (100, 599):
                gc.collect()  # PyAV's planes wait for it
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert held[1] < held[0] + 4 * 32 * 40 * 3
