"""The parts that a broadcast's recording was joined of, so that its sound stays in step with its pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from av.packet import Packet

from stprivacy.video.clock import Clock
from stprivacy.video.decoding import VideoLimits, open_container, packets_of, video_stream

_OUTLIER_SECONDS = 1  # outside every part; sound may begin a little before the pictures and end after them


@dataclass
class Part:
    """Pictures between two leaps of the container's clock: the times of the first and of the end by this clock.

    shown: when the first is shown, since the video's first picture. last_decoded: time at which libav decodes the last.
    """

    first: Fraction
    end: Fraction
    last_decoded: Fraction
    shown: Fraction = Fraction(0)


class Heard(NamedTuple):
    """When sound is heard, and where its part ends if another follows it; both in seconds since the first picture."""

    seconds: Fraction
    until: Fraction | None


class JoinedParts:
    """When sound is heard that a leaping clock stamps: with the pictures of its part, as Clock shows them."""

    def __init__(self, location: str, start_seconds: Fraction, limits: VideoLimits) -> None:
        """Reads the packets of the video. `start_seconds` is where it starts by the container's clock."""
        with open_container(location, limits) as container:
            stream = video_stream(container, limits)
            self._clock = Clock(container.format.name, stream)
            self._parts = self._parts_of(packets_of(container, stream), start_seconds)
        self._part = 0
        self._last: Fraction | None = None

    def _parts_of(self, packets: "Iterable[Packet[Any]]", start_seconds: Fraction) -> list[Part]:
        step = 1 / self._clock.rate if self._clock.rate else Fraction(0)
        parts: list[Part] = []
        for packet in packets:
            stamps = [stamp * packet.time_base for stamp in (packet.dts, packet.pts) if stamp is not None]
            if not stamps:
                continue
            decoded, shown = stamps[0], stamps[-1]
            if not parts or self._clock.leaps(decoded - parts[-1].last_decoded):
                if len(parts) > 1 and not self._clock.leaps(decoded - parts[-2].last_decoded):
                    parts.pop()  # one wrong stamp, behind which the clock is as before
                else:
                    parts.append(Part(shown, shown, decoded))
            part = parts[-1]
            part.first, part.end, part.last_decoded = min(part.first, shown), max(part.end, shown + step), decoded
        parts = parts or [Part(start_seconds, start_seconds, start_seconds)]
        parts[0].first = start_seconds  # what lies before it could not be decoded
        for before, part in pairwise(parts):
            part.shown = before.shown + before.end - before.first
        return parts

    def heard(self, stamp: Fraction) -> "Heard | None":
        """When sound of this stamp is heard; to be asked in the order of the file. None: the stamp is wrong."""
        leaps = self._last is not None and self._clock.leaps(stamp - self._last)
        falls = leaps and self._last is not None and stamp < self._last
        numbers = range(self._part + falls, len(self._parts))
        near = min(numbers, key=lambda number: _distance(self._parts[number], stamp), default=None)
        if near is None or (leaps and _distance(self._parts[near], stamp) > _OUTLIER_SECONDS):
            return None
        self._part, self._last = near, stamp
        part = self._parts[near]
        until = self._parts[near + 1].shown if near + 1 < len(self._parts) else None
        return Heard(part.shown + stamp - part.first, until)


def _distance(part: Part, stamp: Fraction) -> Fraction:
    return max(part.first - stamp, stamp - part.end, Fraction(0))
