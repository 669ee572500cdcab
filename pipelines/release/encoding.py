"""Frames with their times to one H.264 MP4 that holds nothing else: no metadata, and no note of what made it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipelines.release.audio import AudioSource
from stprivacy.config import check_released_quality

_TICKS = 90_000  # a second: within 6 microseconds of any time, and the usual rates are whole numbers of them
_CONTAINER_OPTIONS = {"fflags": "+bitexact", "movflags": "+faststart", "movie_timescale": str(_TICKS)}
_LONGEST_TICKS = 2**31 - 1  # of one frame in an MP4
_FRAME_RATES = Fraction(24), Fraction(240)  # that the stream's level may promise: an encoder wants a rate to choose it
_LARGEST_RATIO_TERM = 4096  # of a pixel's width to its height, as libx264 writes it into the stream
_BT709_MATRIX = 1  # AVCOL_SPC_BT709


class WriteError(OSError):
    """A video that cannot be written: a full disk, a limit on file sizes, a folder that is gone."""


class VideoWriter:
    """One MP4 in the making, under exactly the path given; whoever uses it gives it its final name when it is whole.

    Frames are H.264 in 4:2:0, colours as BT.709 has them. There are no B-frames: frames are stored in the order in
    which they are shown, each with its own duration, and no player needs an edit list to start at 0.
    """

    def __init__(
        self, path: Path, *, width: int, height: int, aspect: Fraction, quality: int, audio: AudioSource | None = None
    ) -> None:
        """Frames will be encoded at width x height pixels, both even, and shown at `aspect`, width over height.

        Args: quality: constant rate factor, 0 (best) to 51; audio: the sound to go with the frames, closed with them.
        Raises: ValueError: an odd size or another quality. WriteError: the file cannot be written.
        """
        if width % 2 or height % 2 or min(width, height) < 2:
            raise ValueError(f"H.264 with colour at half the size takes even widths and heights, got {width}x{height}")
        check_released_quality(quality)
        self._path, self._width, self._height = path, width, height
        self._convert = VideoReformatter()
        self._held: VideoFrame | None = None
        self._audio = audio
        self._durations = deque[int]()
        with self._write_errors_told():
            path.write_bytes(b"")  # libav opens the file with the first frame only
            self._container = av.open(str(path.absolute()), "w", format="mp4", options=_CONTAINER_OPTIONS)
            self._stream = _video_stream(self._container, width, height, aspect, quality)
            if audio is not None:
                audio.add_to(self._container)
        self._without_notes: BitStreamFilterContext | None = None

    def write(self, pixels: NDArray[np.uint8], seconds: Fraction) -> None:
        """Add a frame [h w 3] uint8 RGB of any size, shown from `seconds` (after the last one's) after the start.

        Raises: WriteError: the file cannot be written. VideoError: unreadable-audio.
        """
        frame = self._planes(pixels)
        earliest = 0 if self._held is None or self._held.pts is None else self._held.pts + 1
        frame.pts, frame.time_base = max(round(seconds * _TICKS), earliest), Fraction(1, _TICKS)
        with self._write_errors_told():
            self._encode_held(frame.pts)
        self._held = frame

    def finish(self, end_seconds: Fraction) -> None:
        """The last frame is shown until end_seconds after the start; the file is whole when this returns.

        Raises: WriteError: the file cannot be written. VideoError: unreadable-audio.
        """
        if self._held is None:
            raise ValueError("a video without frames cannot be written")
        with self._write_errors_told():
            self._encode_held(round(end_seconds * _TICKS))
            self._mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.finish(end_seconds)
                self._audio.close()
            self._container.close()

    def abort(self) -> None:
        """Let go of the file, whatever state it is in; it is not to be used. Never raises."""
        with suppress(FFmpegError, OSError, ValueError):
            if self._audio is not None:
                self._audio.close()
            self._container.close()

    @contextmanager
    def _write_errors_told(self) -> Iterator[None]:
        try:
            yield
        except WriteError:
            raise
        except (FFmpegError, OSError) as error:
            reason = error.strerror or str(error)
            raise WriteError(f"{self._path} cannot be written: {reason}") from error

    def _planes(self, pixels: NDArray[np.uint8]) -> VideoFrame:
        """RGB pixels of any size as 4:2:0 planes of the video's size, in BT.709."""
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        shrinks = self._width <= frame.width and self._height <= frame.height
        planes = self._convert.reformat(
            frame,
            self._width,
            self._height,
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
            threads=1,
        )
        planes.color_primaries, planes.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return planes

    def _encode_held(self, until: int) -> None:
        frame, self._held = self._held, None
        if frame is None:
            return
        assert frame.pts is not None
        duration = max(until - frame.pts, 1)
        if duration > _LONGEST_TICKS:
            hours = duration / _TICKS / 3600
            raise WriteError(f"a frame is shown for {hours:.1f} h, MP4 has room for 6.6: cut the video there")
        if self._without_notes is None:
            slowest, fastest = _FRAME_RATES
            self._stream.codec_context.framerate = min(max(Fraction(_TICKS, duration), slowest), fastest)
            self._container.start_encoding()
            self._without_notes = BitStreamFilterContext("filter_units=remove_types=6", self._stream)
        self._durations.append(duration)
        self._mux(self._stream.encode(frame))
        if self._audio is not None:
            self._audio.write_until(Fraction(frame.pts + duration, _TICKS))

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        assert self._without_notes is not None
        for packet in packets:
            # x264 writes its version and settings into the stream, as supplemental information.
            for kept in self._without_notes.filter(packet):
                kept.stream, kept.duration = self._stream, self._durations.popleft()
                self._container.mux(kept)


def _video_stream(container: OutputContainer, width: int, height: int, aspect: Fraction, quality: int) -> VideoStream:
    # Without the macroblock tree the same frames give the same file; see stprivacy/anonymizers/as_released.py.
    options = {"crf": str(quality), "bf": "0", "x264-params": "no-mbtree=1"}
    stream = container.add_stream("libx264", options=options)
    stream.time_base = Fraction(1, _TICKS)
    context = stream.codec_context
    context.flags |= Flags.bitexact
    context.thread_count = 1
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, _TICKS)
    context.sample_aspect_ratio = _ratio(aspect * height / width)
    context.colorspace, context.color_range = _BT709_MATRIX, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _ratio(value: Fraction) -> Fraction:
    """The nearest ratio of terms that fit the stream."""
    if value > 1:
        return 1 / _ratio(1 / value)
    return max(value.limit_denominator(_LARGEST_RATIO_TERM), Fraction(1, _LARGEST_RATIO_TERM))
