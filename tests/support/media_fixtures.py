"""Source videos with chosen times, codecs and shapes, and what a container tells of them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

QUIET = {
    "libx265": {"x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


@dataclass(frozen=True)
class Source:
    """How a source is made: frame n is shown at times[n] ticks of time_base; size is (width, height).

    noise: its right edge changes from frame to frame, so that it is not encoded in next to no bytes.
    """

    codec: str = "libx264"
    times: Sequence[int] = range(0, 12)
    time_base: Fraction = Fraction(1, 25)
    size: tuple[int, int] = (64, 48)
    rate: Fraction = Fraction(25)
    pixel_format: str = "yuv420p"
    sample_aspect: Fraction | None = None
    rotation: float = 0
    timescale: int = 90_000
    noise: bool = False


def write_source(path: Path, source: Source, container_format: str | None = None) -> Path:
    """A video whose frames brighten from 30 to 220 with their number, their upper left quarter green."""
    options = {"video_track_timescale": str(source.timescale)} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", format=container_format, options=options) as container:
        stream = container.add_stream(
            source.codec, rate=source.rate, options={"threads": "1"} | QUIET.get(source.codec, {})
        )
        stream.width, stream.height = source.size
        stream.pix_fmt = source.pixel_format
        stream.codec_context.time_base = source.time_base
        if source.sample_aspect:
            stream.codec_context.sample_aspect_ratio = source.sample_aspect
        if source.rotation:
            stream.set_display_rotation(source.rotation)
        for number, ticks in enumerate(source.times):
            image = picture(number, len(source.times), source.size)
            if source.noise:
                image[:, -16:] = np.random.default_rng(number).integers(0, 255, (len(image), 16, 3))
            frame = av.VideoFrame.from_ndarray(image)
            frame = frame.reformat(format=source.pixel_format)
            frame.pts, frame.time_base = ticks, source.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_pictures(path: Path, pictures: Sequence[NDArray[np.uint8]], codec: str = "libx264", **tags: int) -> Path:
    """A video of pictures [h w 3] RGB, 25 a second, without loss where H.264 is the codec.

    Args:
        tags: what the stream claims, such as colorspace=1; its samples are BT.709 from 720 lines on, else BT.601
    """
    height, width = pictures[0].shape[:2]
    matrix = Colorspace.ITU709 if height >= 720 else Colorspace.ITU601
    with av.open(str(path), "w") as container:
        lossless = {"qp": "0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=25, options={"threads": "1"} | lossless)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p", dst_colorspace=matrix)
            frame.colorspace, frame.color_range = tags.get("colorspace", 2), 0
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Give an MP4's picture a display matrix of these a, b, c, d."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (number * 65536 for number in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def picture(number: int, count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Frame `number` [h w 3] of `count`: grey, brighter with its number, its upper left quarter green."""
    width, height = size
    image = np.full((height, width, 3), brightness(number, count), np.uint8)
    image[: height // 2, : width // 2] = (0, 255, 0)
    return image


def brightness(number: int, count: int) -> int:
    """The grey of a frame, 30 to 220."""
    return 30 + 190 * number // max(count - 1, 1)


@dataclass(frozen=True)
class Told:
    """What a container tells of its first video stream, in seconds since its first frame: as ffprobe would."""

    times: list[Fraction]
    stream_seconds: Fraction | None
    container_seconds: Fraction
    start_seconds: Fraction
    aspect: Fraction


def told(path: Path) -> Told:
    """Every frame's time, decoded, and the durations in the headers."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        stamps = [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]
        seconds = stream.duration * stream.time_base if stream.duration else None
        whole = Fraction(container.duration or 0, av.time_base)
        aspect = Fraction(stream.width, stream.height) * (stream.sample_aspect_ratio or 1)
    return Told([stamp - stamps[0] for stamp in stamps], seconds, whole, stamps[0], aspect)


def write_source_with_sound(
    path: Path,
    codec: str = "aac",
    rate: int = 48_000,
    channels: int = 2,
    delay_seconds: float = 0.0,
    start_frame: int = 0,
    lost_seconds: tuple[float, float] = (0.0, 0.0),
    jitter_seconds: float = 0.0,
) -> Path:
    """Two seconds of video from frame start_frame of 25 a second on, and a tone that is on and off for 1/4 s each.

    The packets of sound between lost_seconds are left out; every third one is stamped jitter_seconds too late.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"threads": "1"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout={1: "mono", 2: "stereo", 6: "5.1"}[channels])
        for number in range(50):
            image = av.VideoFrame.from_ndarray(picture(number, 50, (64, 48)))
            image.pts, image.time_base = start_frame + number, Fraction(1, 25)
            container.mux(video.encode(image))
            block = av.AudioFrame.from_ndarray(_tone(number, rate, channels), "fltp", sound.layout.name)
            block.pts, block.sample_rate, block.time_base = number * (rate // 25), rate, Fraction(1, rate)
            block.pts += round((delay_seconds + jitter_seconds * (number % 3 == 2)) * rate)
            if not lost_seconds[0] <= number / 25 < lost_seconds[1]:
                container.mux(sound.encode(block))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


def _tone(number: int, rate: int, channels: int) -> NDArray[np.float32]:
    sample = np.arange(rate // 25) + number * (rate // 25)
    is_on = sample % (rate // 2) < rate // 4
    return np.tile((0.5 * np.sin(2 * np.pi * 440 * sample / rate) * is_on).astype(np.float32), (channels, 1))
