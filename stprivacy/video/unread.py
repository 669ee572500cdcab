"""What of a file cannot be read although libav is silent about it: holes of noise or zeros, and an end that is gone."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from stprivacy.video.decoding import VideoLimits, open_container, packets_of

SMALLEST_HOLE_BYTES, SMALLEST_HOLE_FRACTION = 4096, 0.01  # of a file, both: less is tables, padding and indexes
_NEAR_PACKETS = 8  # of a hole, within which the clock leaps: the packets at its edges may carry any stamp


class Unread:
    """The stretches of a file in which no packet of its video lies, though the video's clock leaps over them.

    A pause is none: the packets on both sides touch. In a broadcast, which declares no length, what lies before the
    first packet and behind the last one counts as well.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, longest_gap_seconds: float, is_broadcast: bool
    ) -> None:
        """The clock leaps where it advances by more than longest_gap_seconds; in a broadcast also where it falls so."""
        self._container, self._is_broadcast = container, is_broadcast
        self._longest_gap = longest_gap_seconds / float(stream.time_base or 1)  # ticks
        self._smallest = max(SMALLEST_HOLE_BYTES, SMALLEST_HOLE_FRACTION * container.size)
        self._stretches: list[tuple[int, int, int]] = []  # from a byte of the file to another, before a packet's number
        self._leaps: list[int] = [0] if is_broadcast else []  # before packets of these numbers
        self._packets = 0
        self._end: int | None = 0 if is_broadcast else None  # of the last packet
        self._last: int | None = None  # time stamp

    def follow(self, packet: "Packet[VideoStream]") -> None:
        """Take note of the next packet of the video, in the order of the file."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:
            ahead = 0 if self._last is None else stamp - self._last
            if ahead > self._longest_gap or (self._is_broadcast and ahead < -self._longest_gap):
                self._leaps.append(self._packets)
            self._last = stamp
        if packet.pos is not None:
            if self._end is not None and packet.pos - self._end >= self._smallest:
                self._stretches.append((self._end, packet.pos, self._packets))
            self._end = packet.pos
        if self._end is not None:
            self._end += packet.size
        self._packets += 1

    def exceeds(self, fraction: float, limits: VideoLimits) -> bool:
        """Whether these stretches are more than a fraction of the file; what other streams have in them is read."""
        size = self._container.size
        holes = [
            (begin, end)
            for begin, end, number in self._stretches
            if any(abs(number - leap) <= _NEAR_PACKETS for leap in self._leaps)
        ]
        if self._is_broadcast and self._end is not None and size - self._end >= self._smallest:
            holes.append((self._end, size))
        if _bytes(holes) > fraction * size and len(self._container.streams) > 1:
            holes = self._without_packets(holes, limits)
        return _bytes(holes) > fraction * size

    def _without_packets(self, holes: list[tuple[int, int]], limits: VideoLimits) -> list[tuple[int, int]]:
        """What remains of the holes between the packets of all streams."""
        packets = [(packet.pos, packet.size) for packet in _packets(self._container.name, limits) if packet.pos]
        remaining = []
        for begin, end in holes:
            for position, size in sorted(packets):
                if begin <= position < end:
                    remaining.append((begin, position))
                    begin = position + size
            remaining.append((begin, end))
        return [(begin, end) for begin, end in remaining if end - begin >= self._smallest]


def _bytes(stretches: list[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in stretches)


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
