"""One video file of any length as sampled upright frames of one size, each with its time, in flat memory."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from stprivacy.decoding import (
    Reading,
    VideoError,
    VideoLimits,
    check_size,
    decoding_errors_told,
    local_file,
    open_container,
    video_stream,
)

_CLOCK_RESET_SECONDS = Fraction(1, 2)  # a time stamp that falls back by as much starts a new count of time
_CONVERTIBLE_COLOUR_SPACES = (0, 1, 2, 4, 5, 6, 7, 9)  # AVCOL_SPC numbers that libswscale has a matrix for
_UNSPECIFIED_COLOUR_SPACE = 2


@dataclass(frozen=True)
class TimedFrame:
    """One sampled frame.

    pixels [h w 3] uint8 RGB: upright, the whole field of view; seconds: of presentation, since the video's first
    frame, which has 0; they increase strictly from frame to frame.
    """

    pixels: NDArray[np.uint8]
    seconds: Fraction


class TimedVideo:
    """A file that is open for reading; a context manager. Its first frame is decoded on opening.

    From then on these are known:
        width, height: pixels of the upright source
        aspect: the width over the height at which it is shown, with its pixels' shape and its rotation
        start_seconds: time of the first frame by the container's clock, which times its sound too
    And once the frames are exhausted:
        end_seconds: where the last source frame, sampled or not, stops being shown; since the first frame
        source_frames: how many were decoded
    """

    end_seconds: Fraction

    def __init__(
        self, path: str | os.PathLike[str], *, stride: int, height_px: int, width_px: int, limits: VideoLimits
    ) -> None:
        """Every stride-th frame will be resized to height_px x width_px, whatever its aspect.

        Raises: VideoError: missing, empty, unreadable, not-allowed-format, no-video-stream, too-many-streams,
        too-large, too-long or truncated.
        """
        location = local_file(path)
        with decoding_errors_told(), ExitStack() as stack:
            container = stack.enter_context(open_container(location, limits))
            stream = video_stream(container, limits)
            check_size(location, stream, limits)
            self._reading = Reading(container, stream, limits, gaps_are_meant=True)
            self._decoded = iter(self._reading)
            first = next(self._decoded, None)
            if first is None:
                self._reading.check_complete()
                raise VideoError("unreadable", "no frame can be decoded")
            self._clock = _Clock(stream, keeps_display_order="avi" not in container.format.name)
            self.start_seconds = self._clock.start_seconds(first)
            self.width, self.height, self.aspect = _upright_shape(first, stream)
            self._open = stack.pop_all()
        self._first, self._stride, self._resize = first, stride, _Resizer(height_px, width_px)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def source_frames(self) -> int:
        """How many frames were decoded up to now."""
        return self._reading.frames

    def frames(self) -> Iterator[TimedFrame]:
        """Source frames 0, stride, 2 stride...; to be called once.

        Raises: VideoError: as on opening, truncated at the end where the file ends early; no-timing where frames
        carry no times and the file tells no frame rate.
        """
        with decoding_errors_told():
            for number, frame in enumerate(chain((self._first,), self._decoded)):
                seconds = self._clock.seconds(frame)
                if number % self._stride == 0:
                    yield TimedFrame(self._resize(frame), seconds)
            self._reading.check_complete()
            self.end_seconds = self._clock.end_seconds()


def _upright_shape(frame: VideoFrame, stream: VideoStream) -> tuple[int, int, Fraction]:
    """Width and height in pixels and the aspect at which a frame is shown, once it is turned upright."""
    pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    aspect = Fraction(frame.width, frame.height) * (pixel_aspect if pixel_aspect > 0 else 1)
    if _quarter_turns(frame) % 2:
        return frame.height, frame.width, 1 / aspect
    return frame.width, frame.height, aspect


def _quarter_turns(frame: VideoFrame) -> int:
    """Counterclockwise, as numpy.rot90 takes them."""
    return round(frame.rotation / 90) % 4


class _Clock:
    """Strictly increasing times of frames in order of presentation, whatever their time stamps.

    A frame without a usable stamp comes one step after the last one; one whose stamp does not increase, half a step,
    so that the next stamp is valid again.
    """

    def __init__(self, stream: VideoStream, keeps_display_order: bool) -> None:
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        # Where nothing is known libav guesses one frame a tick.
        is_known = rate > 0 and (stream.average_rate or rate * (stream.time_base or 0) != 1)
        self._rate_step = 1 / rate if is_known else None
        self._stream_start = (stream.start_time or 0) * (stream.time_base or Fraction(0))
        self._keeps_display_order = keeps_display_order
        self._origin: Fraction | None = None
        self._last: Fraction | None = None
        self._last_step: Fraction | None = None
        self._last_duration = Fraction(0)

    def start_seconds(self, first: VideoFrame) -> Fraction:
        """Time of the first frame by the container's clock."""
        stamps = self._stamps(first)
        return stamps[0] if stamps and self._keeps_display_order else self._stream_start

    def seconds(self, frame: VideoFrame) -> Fraction:
        """Time of the next frame since the first one."""
        stamps = self._stamps(frame)
        if self._last is None:
            self._origin, now = stamps[0] if stamps else None, Fraction(0)
        else:
            now = self._after(self._last, stamps)
            self._last_step = now - self._last
        self._last = now
        self._last_duration = (frame.duration or 0) * (frame.time_base or Fraction(0))
        return now

    def end_seconds(self) -> Fraction:
        """Where the last frame ends: by its own duration, else by the last step, else by the frame rate."""
        assert self._last is not None
        if self._last_duration > 0:
            return self._last + self._last_duration
        return self._last + (self._last_step or self._step())

    def _stamps(self, frame: VideoFrame) -> list[Fraction]:
        """A frame's times by the container's clock, the most credible first."""
        # AVI numbers frames as they are decoded: libav's presentation times are then those of other frames.
        stamps = (frame.pts, frame.dts) if self._keeps_display_order else (frame.dts,)
        time_base = frame.time_base
        return [stamp * time_base for stamp in stamps if stamp is not None] if time_base else []

    def _after(self, last: Fraction, stamps: list[Fraction]) -> Fraction:
        if not stamps:
            return last + self._step()
        if self._origin is None or stamps[0] - self._origin <= last - _CLOCK_RESET_SECONDS:
            self._origin = stamps[0] - last - self._step()
        increasing = (stamp - self._origin for stamp in stamps if stamp - self._origin > last)
        return next(increasing, None) or last + self._step() / 2

    def _step(self) -> Fraction:
        step = self._rate_step or self._last_step
        if step is None:
            raise VideoError("no-timing", "its frames carry no times, and the file tells no frame rate")
        return step


class _Resizer:
    """Frames of any size to upright RGB arrays of one size.

    Resizing within 4:2:0, then converting what is left, is faster than one step; colour is as sharp as in a video
    encoded at that size.
    """

    def __init__(self, height_px: int, width_px: int) -> None:
        self._height, self._width = height_px, width_px
        self._resize, self._convert = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        if frame.colorspace not in _CONVERTIBLE_COLOUR_SPACES:
            frame.colorspace = _UNSPECIFIED_COLOUR_SPACE
        turns = _quarter_turns(frame)
        width, height = (self._height, self._width) if turns % 2 else (self._width, self._height)
        shrinks = width <= frame.width and height <= frame.height
        way = Interpolation.AREA if shrinks else Interpolation.BILINEAR
        small = self._resize.reformat(frame, width, height, "yuv420p", interpolation=way, threads=1)
        rgb = self._convert.reformat(small, format="rgb24", interpolation=Interpolation.POINT, threads=1)
        return np.ascontiguousarray(np.rot90(np.asarray(rgb.to_ndarray(), dtype=np.uint8), turns))
