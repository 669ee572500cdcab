"""Opening a file as a video. Every way in which it can be unusable is a VideoError."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.logging
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

# Playlists (hls, dash, concat), image lists and devices are left out: they make a "video" read other files.
# Sound-only formats are in, so that such a file is refused for what it is.
ALLOWED_FORMATS = (
    *("mov", "mp4", "avi", "matroska", "webm", "mpeg", "mpegts", "mpegvideo", "flv", "asf", "ogg"),
    *("nut", "mxf", "dv", "ivf", "gif", "yuv4mpegpipe", "h264", "hevc", "obu", "m4v", "mjpeg"),
    *("mp3", "aac", "flac", "wav"),
)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(ALLOWED_FORMATS)}


class VideoError(ValueError):
    """A file that cannot be used as a video; `error` is a short code for the reason in the message."""

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
    # By its content alone libav takes such a file for one picture.
    known = "mjpeg" if location.lower().endswith((".mjpeg", ".mjpg")) else None
    try:
        return av.open(location, "r", format=known, options=options, metadata_errors="replace")
    except ArgumentError as error:
        raise VideoError(
            "not-allowed-format",
            "a playlist, image list or container that is not read here; if it is a video, `ffmpeg -i FILE -c copy "
            "FILE.mkv` makes one that is",
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


def packets_of(container: InputContainer, *streams: Stream) -> "Iterator[Packet[Any]]":
    """The packets of these streams, of all where none is named, in the order of the file; empty ones are left out.

    Raises: FFmpegError: the file cannot be read on.
    """
    wanted = {stream.index for stream in streams or container.streams}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in wanted else Discard.all
    with suppress(IndexError):  # PyAV's, at the end, where damage has made libav find more streams than at the start
        yield from (packet for packet in container.demux(*streams) if packet.size)


def flush_of(stream: Stream) -> "Packet[Any]":
    """The packet that makes a decoder return the frames it still holds, with their times."""
    packet: Packet[Any] = Packet()
    packet.time_base = stream.time_base or Fraction(1)
    return packet


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
