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
from bad_corpus import write_sound
from media_fixtures import Source, brightness, picture, told, write_source, write_source_with_sound
from numpy.typing import NDArray

from pipelines.release.audio import AudioSource
from pipelines.release.encoding import VideoWriter, WriteError
from stprivacy.decoding import VideoError, VideoLimits
from stprivacy.timed_video import TimedVideo
from stprivacy.video import read_video

TICK = Fraction(1, 90_000)
IRREGULAR = [7 + time for time in (0, 3, 4, 9, 10, 11, 27, 28, 30, 41)]
NTSC, FILM = Fraction(30_000, 1001), Fraction(24_000, 1001)


def copy(source: Path, released: Path, stride: int = 1, keep_audio: bool = False) -> TimedVideo:
    """Read and write a file as a release does, without a model between."""
    limits = VideoLimits()
    with TimedVideo(source, stride=stride, height_px=32, width_px=40, limits=limits) as video:
        sound = AudioSource(source, start_seconds=video.start_seconds, limits=limits) if keep_audio else None
        size = {"width": video.width + video.width % 2, "height": video.height + video.height % 2}
        writer = VideoWriter(released, **size, aspect=video.aspect, quality=18, audio=sound)
        for frame in video.frames():
            writer.write(frame.pixels, frame.seconds)
        writer.finish(video.end_seconds)
    return video


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


def heard(path: Path) -> tuple[NDArray[np.float32], int]:
    """The first channel of a file's sound from its time 0 on, and its rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        assert frames[0].pts == 0
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]), stream.rate


def loud_at(samples: NDArray[np.float32], rate: int, seconds: float) -> bool:
    """Whether there is sound in the 40 ms around a moment."""
    middle = round(seconds * rate)
    return bool(np.abs(samples[middle - rate // 50 : middle + rate // 50]).mean() > 0.1)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels", "delay_seconds", "start_frame"),
    [
        ("a.mp4", "aac", 48_000, 2, 0.0, 0),
        ("a.mp4", "aac", 8_000, 1, 0.0, 10),
        ("a.mkv", "libopus", 48_000, 2, 0.5, 25),
        ("a.mkv", "libopus", 48_000, 2, 0.5, 0),
        ("a.ts", "mp2", 44_100, 2, 0.0, 0),
        ("a.avi", "pcm_s16le", 11_025, 1, 0.0, 0),
        ("a.mkv", "flac", 48_000, 6, 0.0, 0),
    ],
)
def test_sound_stays_in_step_with_its_video(
    tmp_path: Path, name: str, codec: str, rate: int, channels: int, delay_seconds: float, start_frame: int
) -> None:
    """The source's sound is on and off for 1/4 s each, from delay_seconds of its clock on."""
    path = write_source_with_sound(tmp_path / name, codec, rate, channels, delay_seconds, start_frame)
    video = copy(path, tmp_path / "out.mp4", stride=2, keep_audio=True)
    samples, released_rate = heard(tmp_path / "out.mp4")
    assert released_rate == rate
    for moment in np.arange(1, 14) / 8:
        in_source = moment + start_frame / 25 - delay_seconds
        if 0.05 < in_source % 0.25 < 0.2 and in_source < 2:
            assert loud_at(samples, rate, moment) == (in_source > 0 and in_source % 0.5 < 0.25), moment
    released = told(tmp_path / "out.mp4")
    assert released.start_seconds == 0
    assert abs(released.container_seconds - video.end_seconds) <= Fraction(1, 25)
    assert len(samples) / rate < video.end_seconds + 2048 / rate


@pytest.mark.parametrize(("rate", "released_rate"), [(9_000, 11_025), (192_000, 96_000)])
def test_sound_at_a_rate_that_aac_lacks_is_resampled(tmp_path: Path, rate: int, released_rate: int) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", rate)
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, told_rate = heard(tmp_path / "out.mp4")
    assert told_rate == released_rate
    assert [loud_at(samples, told_rate, moment / 8) for moment in (1, 3, 5, 7, 9, 11)] == [True, False] * 3


def test_a_gap_in_the_sound_is_silent_and_what_follows_stays_in_its_place(tmp_path: Path) -> None:
    path = write_source_with_sound(tmp_path / "a.mkv", "pcm_s16le", 8000, 1, lost_seconds=(0.6, 1.1))
    copy(path, tmp_path / "out.mp4", keep_audio=True)
    samples, rate = heard(tmp_path / "out.mp4")
    moments = {0.1: True, 0.4: False, 0.56: True, 0.7: False, 1.05: False, 1.15: True, 1.4: False, 1.6: True}
    assert {moment: loud_at(samples, rate, moment) for moment in moments} == moments


def test_a_source_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    copy(write_source(tmp_path / "a.mp4", Source()), tmp_path / "out.mp4", keep_audio=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="sound") as caught:
        AudioSource(path, start_seconds=Fraction(0), limits=VideoLimits())
    assert caught.value.error == "unreadable-audio"


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
    paths = [str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2])]
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
