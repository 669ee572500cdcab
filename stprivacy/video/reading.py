"""Reading the frames of an open video in order, with their times, and judging at the end whether they were all."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from stprivacy.video.clock import BROADCAST_FORMATS, RAW_FORMATS, Clock
from stprivacy.video.decoding import (
    VideoError,
    VideoLimits,
    check_size,
    decoding_errors_told,
    flush_of,
    local_file,
    open_container,
    packets_of,
    video_stream,
)
from stprivacy.video.unread import Unread, latest_seconds

COMPLETE_FRACTION = 0.9  # of what the file promises: with less it is truncated
LENGTH_SLACK_FRAMES = 2  # a header's seconds may count the delay of reordered frames
MAX_FRAME_RATE = 240  # turns max_seconds into a bound on frames that no forged time stamp can lift
RATE_TOLERANCE = 0.1  # by which a header's frame rate may miss that of the frames
_COUNTING_FORMATS = ("mov", "avi", "gif")  # whose headers count the frames; in others libav's number is a guess
_UNMEASURED_FORMATS = (*BROADCAST_FORMATS, *RAW_FORMATS)  # libav guesses their length from stamps or the size


@contextmanager
def open_reading(path: str | os.PathLike[str], limits: VideoLimits) -> "Iterator[Reading]":
    """A local file open for reading: the stream that players choose. Raises: VideoError: it cannot be used."""
    location = local_file(path)
    with decoding_errors_told(), open_container(location, limits) as container:
        stream = video_stream(container, limits)
        check_size(location, stream, limits)
        yield Reading(container, stream, limits)


class Reading:
    """One pass over the frames of a stream in order of presentation, and the account of it.

    Damaged packets are counted and passed over, as players do.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
        """Raises: VideoError: too-long by what the header says."""
        self.container, self.stream, self.limits = container, stream, limits
        self.format = container.format.name.split(",")[0]
        self.clock = Clock(self.format, stream)
        self.frames = 0
        self._packets = self._discarded = self._damaged = self._damaged_before_key = 0
        self._before_key: int | None = None  # packets before the first picture that needs no other
        self._unread = Unread(container, stream, float(self.clock.longest_gap), self.format in BROADCAST_FORMATS)
        self.started_at = Fraction(0)  # the first frame, by the container's clock
        self._declared_seconds = self._length_by_header()
        self._check_seconds(self._declared_seconds)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Each frame; `clock.now` is its time. Raises: VideoError: too-long."""
        context = self.stream.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(self.limits.max_pixels)}  # the size may change in mid-stream
        max_frames = math.inf if self.limits.max_seconds == math.inf else int(self.limits.max_seconds * MAX_FRAME_RATE)
        for packet in self._demuxed():
            self._count(packet)
            try:
                frames = context.decode(packet)
            except FFmpegError:
                self._damaged += 1
                self._damaged_before_key += self._before_key is None
                continue
            for frame in frames:
                self.frames += 1
                if self.frames > max_frames:
                    limit = f"the limit of {self.limits.max_seconds:g} s allows {max_frames}"
                    raise VideoError("too-long", f"has over {max_frames} frames; {limit}")
                self._follow(frame)
                yield frame

    def _demuxed(self) -> "Iterator[Packet[VideoStream]]":
        try:
            yield from packets_of(self.container, self.stream)
        except FFmpegError:
            self._damaged += 1
        yield flush_of(self.stream)

    def _count(self, packet: "Packet[VideoStream]") -> None:
        if packet.size == 0:
            return
        if packet.is_keyframe and self._before_key is None:
            self._before_key = self._packets
        self._packets += 1
        self._discarded += packet.is_discard
        self._unread.follow(packet)

    def _follow(self, frame: VideoFrame) -> None:
        if self.frames == 1:
            self.started_at = self.clock.start_seconds(frame)
        self.clock.follow(frame)
        self._check_seconds(self.clock.elapsed)

    def _check_seconds(self, seconds: float) -> None:
        if seconds > self.limits.max_seconds:
            raise VideoError("too-long", f"{seconds:.1f} s long, the limit is {self.limits.max_seconds:g} s")

    def _length_by_header(self) -> float:
        """Length of the video stream by its header in seconds, 0 where it tells none."""
        if self.format in _UNMEASURED_FORMATS:
            return 0.0
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        # A container's length is that of its longest stream, which may be sound.
        return self._container_seconds() if len(self.container.streams) == 1 else 0.0

    def _container_seconds(self) -> float:
        return 0.0 if self.format in _UNMEASURED_FORMATS else (self.container.duration or 0) / av.time_base

    @property
    def fps(self) -> float:
        """Frames a second on average: by the header, unless the frames' times differ from it; 0 where neither tells."""
        declared, seconds = float(self.clock.rate), float(self.clock.end_seconds())
        if self.frames < 2 or not self.clock.is_known or seconds <= 0:
            return declared
        measured = self.frames / seconds
        return declared if abs(measured - declared) <= RATE_TOLERANCE * declared else measured

    @property
    def notes(self) -> tuple[str, ...]:
        """What was amiss with a file that was read nevertheless, a clause each; complete once all frames are read."""
        undecoded, notes = self._packets - self.frames, []
        if self._before_key and undecoded > 0:
            pictures = min(self._before_key, undecoded)
            notes.append(f"begins inside a group of pictures: its first {pictures} pictures cannot be decoded")
        if self.clock.closed_leaps:
            jumps = "once" if self.clock.closed_leaps == 1 else f"{self.clock.closed_leaps} times"
            notes.append(f"its clock jumps {jumps}: the parts follow each other without a gap")
        if self._damaged:
            notes.append(f"{self._damaged} of its {self._packets} packets are damaged and were passed over")
        if self.format in RAW_FORMATS:
            notes.append(f"its frames carry no times: they are shown at {self.fps:g} a second")
        return tuple(notes)

    def check_complete(self) -> None:
        """Raises VideoError where no frame was decoded, or too few: the file ends early, or has a large hole."""
        reason = self._too_few() or self._ends_early() or self._too_damaged()
        if reason:
            raise VideoError("truncated", reason)
        if self.frames == 0:
            raise VideoError("unreadable", "no frame can be decoded")

    def _too_few(self) -> str:
        """Fewer frames than the container counts."""
        counted = self._counted()
        if self.frames >= COMPLETE_FRACTION * counted:
            return ""
        if self.format == "avi":  # which counts a picture again for each moment of a pause; its seconds shrink when cut
            is_whole = self.clock.rate > 0 and self._reaches(float(counted / self.clock.rate))
        else:  # which may count what it hides
            is_whole = not self._damaged and self._reaches(self._declared_seconds)
        if is_whole:
            return ""
        return f"only {self.frames} of {counted} declared frames can be decoded"

    def _counted(self) -> int:
        return self.stream.frames - self._discarded if self.format in _COUNTING_FORMATS else 0

    def _ends_early(self) -> str:
        """Short of the length that a container declares which counts no frames."""
        declared = self._declared_seconds or self._container_seconds()
        frames = declared * float(self.clock.rate) - LENGTH_SLACK_FRAMES
        if self._counted() or self._reaches(declared) or 0 < COMPLETE_FRACTION * frames <= self.frames:
            return ""
        if len(self.container.streams) > 1:
            latest = latest_seconds(self.container.name, self.limits)  # of any stream: sound may last longer
            if latest >= COMPLETE_FRACTION * declared:
                return ""
        seconds = float(self.started_at + self.clock.end_seconds())
        return f"ends at {seconds:.1f} s of the {declared:.1f} s that its header declares"

    def _reaches(self, declared_seconds: float) -> bool:
        # A stream's length counts from its first frame, a container's from 0.
        missing_before = 0.0 if self.stream.duration else float(self.started_at)
        return float(self.clock.end_seconds()) >= COMPLETE_FRACTION * (declared_seconds - missing_before)

    def _too_damaged(self) -> str:
        """Damage within: a cut that begins inside a group of pictures is none, nor is a pause."""
        damaged = self._damaged if self._before_key is None else self._damaged - self._damaged_before_key
        if self.frames and damaged > (1 - COMPLETE_FRACTION) * self._packets:
            return f"{damaged} of its {self._packets} packets are damaged"
        if self.format != "mov" and self._unread.exceeds(1 - COMPLETE_FRACTION, self.limits):
            return f"over {1 - COMPLETE_FRACTION:.0%} of the file cannot be read"
        return ""
