"""A video read and written again as a release does it, and what is heard of the result."""

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipelines.release.audio import AudioSource
from pipelines.release.encoding import VideoWriter
from stprivacy.video.decoding import VideoLimits
from stprivacy.video.timed import TimedVideo


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
