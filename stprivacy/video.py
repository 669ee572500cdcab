"""One video file to sampled, shrunk RGB frames. Every way in which a file can be unusable is a VideoError in words."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

# Playlists (hls, dash, concat), image lists and devices are left out: they make a "video" read other files.
# Sound-only formats are in, so that such a file is refused for what it is.
ALLOWED_FORMATS = (
    *("mov", "mp4", "avi", "matroska", "webm", "mpeg", "mpegts", "mpegvideo", "flv", "asf", "ogg"),
    *("mp3", "aac", "flac", "wav"),
)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(ALLOWED_FORMATS)}
COMPLETE_FRACTION = 0.9  # of the declared frames: with fewer, the video ends early
LENGTH_SLACK_FRAMES = 2  # a header's seconds may count the delay of reordered frames
LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES = 0.5, 5  # between frames: what lies beyond the larger of both is missing
MAX_FRAME_RATE = 240  # turns max_seconds into a bound on frames that no forged time stamp can lift
MAX_FRAMES_BYTES = 2**31 - 1  # of one value in Parquet


class VideoError(ValueError):
    """A file that cannot be used as a video; `error` is a short code for the reason that the message tells."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        return type(self), (self.error, str(self))


@dataclass(frozen=True)
class VideoLimits:
    """What a file may ask for: pixels of one frame, seconds of video, streams (video, sound, subtitles...)."""

    max_pixels: int = 4096 * 4096
    max_seconds: float = 120.0
    max_streams: int = 16


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
    location = _local_file(path)
    try:
        with _open(location, limits) as container:
            stream = _video_stream(container, limits)
            _check_size(location, stream, limits)
            reading = _Reading(container, stream, limits)
            frames = _sampled(reading, stride, short_side_px, tubelet_frames)
            return VideoFrames(frames, reading.fps, reading.frames)
    except VideoError:
        raise
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        raise VideoError("unreadable", f"cannot be decoded: {getattr(error, 'strerror', None) or error}") from error


def _local_file(path: str | os.PathLike[str]) -> str:
    # An absolute path cannot be mistaken for a URL or one of libav's protocols.
    location = os.path.abspath(path)
    if not os.path.exists(location):
        raise VideoError("missing", "no such file")
    if not os.path.isfile(location):
        raise VideoError("unreadable", "not a regular file")
    if os.path.getsize(location) == 0:
        raise VideoError("empty", "the file has no bytes")
    return location


def _open(location: str, limits: VideoLimits) -> InputContainer:
    options = _OPEN_OPTIONS | {"max_pixels": str(limits.max_pixels)}
    try:
        return av.open(location, "r", options=options, metadata_errors="replace")
    except ArgumentError as error:
        raise VideoError(
            "not-allowed-format", "a playlist, image list or other format that is not a plain video file"
        ) from error
    except FFmpegError as error:
        if _is_cut_mp4(location):
            raise VideoError("truncated", "an MP4 file that ends before its index: it was not copied whole") from error
        raise VideoError("unreadable", f"not a video file, or damaged at its start: {error.strerror}") from error


def _is_cut_mp4(location: str) -> bool:
    """Whether the top-level boxes start as an MP4's, have no index (moov), and run to or past the file's end."""
    size = os.path.getsize(location)
    offset = 0
    with open(location, "rb") as file:
        while offset < size:
            file.seek(offset)
            header = file.read(16)
            kind, length = header[4:8], int.from_bytes(header[:4], "big")
            if kind == b"moov" or (offset == 0 and kind != b"ftyp"):
                return False
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                return length == 0  # the box whose length an interrupted writer never filled in
            offset += length
    return True


def _video_stream(container: InputContainer, limits: VideoLimits) -> VideoStream:
    if len(container.streams) > limits.max_streams:
        raise VideoError("too-many-streams", f"{len(container.streams)} streams, the limit is {limits.max_streams}")
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise VideoError("no-video-stream", "holds no video stream (only sound, subtitles or a cover picture)")
    best = container.streams.best("video")
    chosen = next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])
    if chosen.codec_context is None:
        raise VideoError("unreadable", "its video codec is unknown here")
    return chosen


def _check_size(location: str, stream: VideoStream, limits: VideoLimits) -> None:
    width, height = stream.width, stream.height
    if width * height > limits.max_pixels:
        raise VideoError("too-large", f"{width} x {height} pixels a frame, the limit is {limits.max_pixels}")
    if width * height == 0:
        complaint = _size_complaint(location, limits)
        if complaint:
            raise VideoError("too-large", f"{complaint}; the limit is {limits.max_pixels}")
        raise VideoError("unreadable", "its video stream tells no frame size")


def _size_complaint(location: str, limits: VideoLimits) -> str:
    """What libav says about the frame size on opening: it forgets the size of a stream that it refuses."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logs, _open(location, limits):
            pass
    finally:
        av.logging.set_level(level)
    lines = [text for _, _, text in logs if text.startswith("Picture size")]
    return f"frames of {lines[0].split()[2]} pixels" if lines else ""


def _sampled(reading: "_Reading", stride: int, short_side_px: int, tubelet_frames: int) -> NDArray[np.uint8]:
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


class _Reading:
    """One pass over the frames of a stream in order of presentation, and the account of it.

    Damaged packets are counted and passed over, as players do.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
        self.container, self.stream, self.limits = container, stream, limits
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self.frames = 0
        self.damaged_packets = 0
        self.started_at: float | None = None
        self.last_at = 0.0
        self.covered_seconds = 0.0
        self.longest_gap = max(LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES / (self.fps or LONGEST_GAP_FRAMES))
        self.declared_seconds = self._declared_seconds()
        self._check_seconds(self.declared_seconds)

    def __iter__(self) -> Iterator[VideoFrame]:
        context = self.stream.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(self.limits.max_pixels)}  # the size may change in mid-stream
        max_frames = int(self.limits.max_seconds * MAX_FRAME_RATE)
        for packet in self._packets():
            try:
                frames = context.decode(packet)
            except FFmpegError:
                self.damaged_packets += 1
                continue
            for frame in frames:
                self._follow_time(frame.time)
                self.frames += 1
                if self.frames > max_frames:
                    limit = f"the limit of {self.limits.max_seconds:g} s allows {max_frames}"
                    raise VideoError("too-long", f"has over {max_frames} frames; {limit}")
                yield frame

    def _packets(self) -> "Iterator[Packet[VideoStream] | None]":
        for other in self.container.streams:
            other.discard = Discard.default if other.index == self.stream.index else Discard.all
        try:
            yield from self.container.demux(self.stream)
        except FFmpegError:
            self.damaged_packets += 1
            yield None  # the decoder still holds frames

    def _follow_time(self, seconds: float | None) -> None:
        if seconds is None:
            return
        if self.started_at is None:
            self.started_at = self.last_at = seconds
        self._check_seconds(seconds - self.started_at)
        self.covered_seconds += min(max(seconds - self.last_at, 0.0), self.longest_gap)
        self.last_at = seconds

    def _check_seconds(self, seconds: float) -> None:
        if seconds > self.limits.max_seconds:
            raise VideoError("too-long", f"{seconds:.1f} s long, the limit is {self.limits.max_seconds:g} s")

    def _declared_seconds(self) -> float:
        """Length of the video stream by its header, 0 where it tells none."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        # A container's length is that of its longest stream, which may be sound.
        if self.container.duration and len(self.container.streams) == 1:
            return self.container.duration / av.time_base
        return 0.0

    def check_complete(self) -> None:
        """Raises VideoError where no frame was decoded, or too few of those declared."""
        declared_frames = self.stream.frames or round(self.declared_seconds * self.fps) - LENGTH_SLACK_FRAMES
        if self.frames < COMPLETE_FRACTION * declared_frames and not self._lasts():
            message = f"only {self.frames} of {declared_frames} declared frames can be decoded"
            raise VideoError("truncated", message)
        if self.frames == 0:
            raise VideoError("unreadable", "no frame can be decoded")

    def _lasts(self) -> bool:
        """Whether undamaged frames last as long as declared, without a large gap, though they are fewer.

        So it is when an edit list hides some of a file's frames, or when the frame rate varies.
        """
        if self.damaged_packets or self.fps <= 0:
            return False
        declared_seconds = self.declared_seconds
        if self.stream.frames and "mp4" not in self.container.format.name:
            declared_seconds = self.stream.frames / self.fps  # other headers' seconds shrink with a file that was cut
        return declared_seconds > 0 and self.covered_seconds + 1 / self.fps >= COMPLETE_FRACTION * declared_seconds
