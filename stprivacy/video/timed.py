"""One video file of any length as sampled upright frames of one size, each with its time, in flat memory."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stprivacy.video.decoding import VideoError, VideoLimits, decoding_errors_told
from stprivacy.video.frames import UprightFrames, upright_aspect, upright_size
from stprivacy.video.reading import open_reading


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
        notes: what was amiss with a file that was read nevertheless, a clause each
    """

    end_seconds: Fraction

    def __init__(
        self, path: str | os.PathLike[str], *, stride: int, height_px: int, width_px: int, limits: VideoLimits
    ) -> None:
        """Every stride-th frame will be resized to height_px x width_px, whatever its aspect.

        Raises: VideoError: missing, empty, unreadable, not-allowed-format, no-video-stream, too-many-streams,
        too-large, too-long or truncated.
        """
        with ExitStack() as stack:
            self._reading = stack.enter_context(open_reading(path, limits))
            self._decoded = iter(self._reading)
            first = next(self._decoded, None)
            if first is None:
                self._reading.check_complete()
                raise VideoError("unreadable", "no frame can be decoded")
            self.start_seconds = self._reading.started_at
            self.width, self.height = upright_size(first)
            self.aspect = upright_aspect(first, self._reading.stream.sample_aspect_ratio)
            self._open = stack.pop_all()
        self._first, self._stride, self._upright = first, stride, UprightFrames(height_px, width_px)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def source_frames(self) -> int:
        """How many frames were decoded up to now."""
        return self._reading.frames

    @property
    def notes(self) -> tuple[str, ...]:
        """What was amiss with a file that is read nevertheless, a clause each."""
        return self._reading.notes

    def frames(self) -> Iterator[TimedFrame]:
        """Source frames 0, stride, 2 stride...; to be called once.

        Raises: VideoError: as on opening, truncated at the end where the file ends early; no-timing where frames
        carry no times and the file tells no frame rate.
        """
        with decoding_errors_told():
            for number, frame in enumerate(chain((self._first,), self._decoded)):
                self._check_timed()
                if number % self._stride == 0:
                    yield TimedFrame(self._upright(frame), self._reading.clock.now)
            self._reading.check_complete()
            self.end_seconds = self._reading.clock.end_seconds()
            self._check_timed()

    def _check_timed(self) -> None:
        if not self._reading.clock.is_known:
            raise VideoError("no-timing", "its frames carry no times, and the file tells no frame rate")
