"""One video file to sampled, shrunk RGB frames in memory, as an ingest stores them."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stprivacy.video.decoding import VideoError, VideoLimits
from stprivacy.video.frames import UprightFrames, upright_size
from stprivacy.video.reading import Reading, open_reading

MAX_FRAMES_BYTES = 2**31 - 1  # of one value in Parquet


@dataclass(frozen=True)
class VideoFrames:
    """frames [T H W 3] uint8 RGB: the sampled ones; fps and source_frames are those of the whole source.

    T is a multiple of the tubelet length, the last frame repeated to reach it; fps, an average, is 0 where the file
    states no times. notes: what was amiss with a file that was read nevertheless, a clause each.
    """

    frames: NDArray[np.uint8]
    fps: float
    source_frames: int
    notes: tuple[str, ...] = ()


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
    with open_reading(path, limits) as reading:
        frames = _sampled(reading, stride, short_side_px, tubelet_frames)
        return VideoFrames(frames, reading.fps, reading.frames, reading.notes)


def _sampled(reading: Reading, stride: int, short_side_px: int, tubelet_frames: int) -> NDArray[np.uint8]:
    sampled: list[NDArray[np.uint8]] = []
    upright: UprightFrames | None = None
    for number, frame in enumerate(reading):
        if number % stride:
            continue
        if upright is None:  # all stored frames get the size of the first one, upright
            width, height = upright_size(frame)
            scale = min(1.0, short_side_px / min(width, height))
            upright = UprightFrames(max(1, round(height * scale)), max(1, round(width * scale)))
        if (len(sampled) + 1) * upright.frame_bytes > MAX_FRAMES_BYTES:
            raise VideoError("too-long", "its sampled frames are over 2 GiB; a larger stride or smaller side may do")
        sampled.append(upright(frame))
    reading.check_complete()
    sampled.extend(sampled[-1:] * (-len(sampled) % tubelet_frames))
    return np.stack(sampled)
