"""Opening a file as a video and reading its frames in order. Every way in which it can be unusable is a VideoError."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import av.logging
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

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


class VideoError(ValueError):
    """A file that cannot be used as a video; `error` is a short code for the reason that the message tells."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        return type(self), (self.error, str(self))


@dataclass(frozen=True)
class VideoLimits:
    """What a file may ask for: pixels of one frame, seconds of video, streams (video, sound, subtitles...).

    max_seconds may be math.inf.
    """

    max_pixels: int = 4096 * 4096
    max_seconds: float = 120.0
    max_streams: int = 16


@contextmanager
def decoding_errors_told() -> Iterator[None]:
    """Inside it, whatever libav or the file system refuses becomes a VideoError."""
    try:
        yield
    except VideoError:
        raise
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        raise VideoError("unreadable", f"cannot be decoded: {getattr(error, 'strerror', None) or error}") from error


def local_file(path: str | os.PathLike[str]) -> str:
    """The absolute path of a file that has content. Raises: VideoError: missing, empty or unreadable."""
    # An absolute path cannot be mistaken for a URL or one of libav's protocols.
    location = os.path.abspath(path)
    if not os.path.exists(location):
        raise VideoError("missing", "no such file")
    if not os.path.isfile(location):
        raise VideoError("unreadable", "not a regular file")
    if os.path.getsize(location) == 0:
        raise VideoError("empty", "the file has no bytes")
    return location


def open_container(location: str, limits: VideoLimits) -> InputContainer:
    """A file of one of the allowed formats, which cannot make libav read any other file.

    Raises: VideoError: not-allowed-format, truncated or unreadable.
    """
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


def video_stream(container: InputContainer, limits: VideoLimits) -> VideoStream:
    """The stream that players choose; cover pictures are none.

    Raises: VideoError: too-many-streams, no-video-stream or unreadable.
    """
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


def check_size(location: str, stream: VideoStream, limits: VideoLimits) -> None:
    """Raises VideoError (too-large) where the stream's header claims more pixels than the limit, or none."""
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
    level, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as logs, open_container(location, limits):
            pass
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips_repeated)
    lines = [text for _, _, text in logs if text.startswith("Picture size")]
    return f"frames of {lines[0].split()[2]} pixels" if lines else ""


class Reading:
    """One pass over the frames of a stream in order of presentation, and the account of it.

    Damaged packets are counted and passed over, as players do.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, limits: VideoLimits, gaps_are_meant: bool = False
    ) -> None:
        """With gaps_are_meant a picture may stand for any time: what undamaged frames span is not missing."""
        self.container, self.stream, self.limits = container, stream, limits
        self.fps = float(stream.average_rate or stream.guessed_rate or 0)
        self.frames = 0
        self.damaged_packets = self.corrupt_packets = 0
        self.started_at: float | None = None
        self.last_at = self.last_duration = 0.0
        self.covered_seconds = 0.0
        self.longest_gap = max(LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES / (self.fps or LONGEST_GAP_FRAMES))
        self.gaps_are_meant = gaps_are_meant
        self.declared_seconds = self._declared_seconds()
        self._check_seconds(self.declared_seconds)

    def __iter__(self) -> Iterator[VideoFrame]:
        context = self.stream.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(self.limits.max_pixels)}  # the size may change in mid-stream
        max_frames = math.inf if self.limits.max_seconds == math.inf else int(self.limits.max_seconds * MAX_FRAME_RATE)
        for packet in self._packets():
            self.corrupt_packets += packet is not None and packet.is_corrupt
            try:
                frames = context.decode(packet)
            except FFmpegError:
                self.damaged_packets += 1
                continue
            for frame in frames:
                self._follow_time(frame.time)
                self.last_duration = float((frame.duration or 0) * (frame.time_base or 0))
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
        if self.gaps_are_meant and not self.corrupt_packets:
            return self._reaches_the_end()
        declared_seconds = self.declared_seconds
        if self.stream.frames and "mp4" not in self.container.format.name:
            declared_seconds = self.stream.frames / self.fps  # other headers' seconds shrink with a file that was cut
        return declared_seconds > 0 and self.covered_seconds + 1 / self.fps >= COMPLETE_FRACTION * declared_seconds

    def _reaches_the_end(self) -> bool:
        # A stream's length counts from its first frame, a container's from 0.
        missing_before = 0.0 if self.stream.duration else self.started_at or 0.0
        shown_seconds = self.last_at - (self.started_at or 0.0) + max(self.last_duration, 1 / self.fps)
        return shown_seconds >= COMPLETE_FRACTION * (self.declared_seconds - missing_before)
