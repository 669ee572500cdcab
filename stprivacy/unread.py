"""What of a file cannot be read although libav is silent about it: holes of noise or zeros, and an end that is gone."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from stprivacy.decoding import VideoLimits, open_container, packets_of

SMALLEST_HOLE_BYTES = 4096  # less between two packets is tables and padding


class Unread:
    """The stretches of a file in which no packet of its video lies, though the video's clock leaps over them.

    A pause is none: the packets on both sides touch. In a broadcast, which declares no length, what lies before the
    first packet and behind the last one counts as well.
    """

    def __init__(self, container: InputContainer, longest_gap_seconds: float, is_broadcast: bool) -> None:
        """The clock leaps where it advances by more than longest_gap_seconds; in a broadcast also where it falls so."""
        self._container, self._longest_gap, self._is_broadcast = container, longest_gap_seconds, is_broadcast
        self._stretches: list[tuple[int, int]] = []  # from a byte of the file to another
        self._end: int | None = 0 if is_broadcast else None  # of the last packet
        self._last_at: float | None = None
        self._leapt = is_broadcast

    def follow(self, packet: "Packet[VideoStream]") -> None:
        """Take note of the next packet of the video, in the order of the file."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:
            now = float(stamp * packet.time_base)
            self._leapt = self._leapt or (self._last_at is not None and self._leaps(now - self._last_at))
            self._last_at = now
        if packet.pos is not None:
            if self._leapt and self._end is not None:
                self._stretches.append((self._end, packet.pos))
            self._end, self._leapt = packet.pos, False
        if self._end is not None:
            self._end += packet.size

    def _leaps(self, seconds: float) -> bool:
        return seconds > self._longest_gap or (self._is_broadcast and seconds < -self._longest_gap)

    def exceeds(self, fraction: float, limits: VideoLimits) -> bool:
        """Whether these stretches are more than a fraction of the file; packets of other streams in them are read."""
        stretches, allowed = self._stretches, fraction * self._container.size
        if self._is_broadcast and self._end is not None:
            stretches = [*stretches, (self._end, self._container.size)]
        stretches = [(begin, end) for begin, end in stretches if end - begin >= SMALLEST_HOLE_BYTES]
        unread = sum(end - begin for begin, end in stretches)
        if unread > allowed and len(self._container.streams) > 1:
            unread -= _bytes_within(self._container.name, limits, stretches)
        return unread > allowed


def _bytes_within(location: str, limits: VideoLimits, stretches: list[tuple[int, int]]) -> int:
    found = position = 0
    for packet in _packets(location, limits):
        position = position if packet.pos is None else packet.pos
        found += packet.size if any(begin <= position < end for begin, end in stretches) else 0
    return found


def latest_seconds(location: str, limits: VideoLimits) -> float:
    """Where the last packet of any stream ends by the container's clock; 0 where none carries a time."""
    latest = 0.0
    for packet in _packets(location, limits):
        if packet.pts is not None:
            latest = max(latest, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return latest


def _packets(location: str, limits: VideoLimits) -> "Iterator[Packet[Any]]":
    with open_container(location, limits) as container, suppress(FFmpegError):
        yield from packets_of(container)
