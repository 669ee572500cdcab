"""One video file to sampled, shrunk RGB frames in memory, as an ingest stores them."""

import os
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
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

MAX_FRAMES_BYTES = 2**31 - 1  # of one value in Parquet


@dataclass(frozen=True)
class VideoFrames:
    """frames [T H W 3] uint8 RGB: the sampled ones; fps and source_frames are those of the whole source.

    T is a multiple of the tubelet length, the last frame repeated to reach it; fps is 0 where the file tells none.
    """

    frames: NDArray[np.uint8]
    fps: float
    source_frames: int


def read_video(
    path: str | os.PathLike[str],
    *,
    stride: int,
    short_side_px: int,
    tubelet_frames: int = 1,
    limits: VideoLimits = VideoLimits(),
) -> VideoFrames:
    """Frames 0, stride, 2 stride... of a local file, turned upright, each shrunk to a short side of short_side_px.

    Smaller videos keep their size; the aspect ratio in pixels stays. Of several video streams the one that players
    choose is read. Raises: VideoError: missing, empty, unreadable, not-allowed-format, no-video-stream,
    too-many-streams, too-large, too-long or truncated.
    """
    location = local_file(path)
    with decoding_errors_told(), open_container(location, limits) as container:
        stream = video_stream(container, limits)
        check_size(location, stream, limits)
        reading = Reading(container, stream, limits)
        frames = _sampled(reading, stride, short_side_px, tubelet_frames)
        return VideoFrames(frames, reading.fps, reading.frames)


def _sampled(reading: Reading, stride: int, short_side_px: int, tubelet_frames: int) -> NDArray[np.uint8]:
    shrink = _Shrinker(reading.stream.width, reading.stream.height, short_side_px)
    sampled = [shrink(frame) for number, frame in enumerate(reading) if number % stride == 0]
    reading.check_complete()
    sampled.extend(sampled[-1:] * (-len(sampled) % tubelet_frames))
    return np.stack(sampled)


class _Shrinker:
    """Frames of one size to small upright RGB arrays.

    Shrinking within 4:2:0, then converting what is left, is faster than one step; colour is as sharp as in a
    video encoded at the small size.
    """

    def __init__(self, width: int, height: int, short_side_px: int) -> None:
        scale = min(1.0, short_side_px / min(width, height))
        self._width, self._height = max(1, round(width * scale)), max(1, round(height * scale))
        self._shrink, self._convert = VideoReformatter(), VideoReformatter()
        self._bytes = 0

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        self._bytes += 3 * self._width * self._height
        if self._bytes > MAX_FRAMES_BYTES:
            raise VideoError("too-long", "its sampled frames are over 2 GiB; a larger stride or smaller side may do")
        width, height = self._width, self._height
        small = self._shrink.reformat(frame, width, height, "yuv420p", interpolation=Interpolation.AREA, threads=1)
        rgb = self._convert.reformat(small, format="rgb24", interpolation=Interpolation.POINT, threads=1)
        pixels = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels
