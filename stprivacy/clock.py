"""When each frame of a video is shown, whatever its time stamps say."""

from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Recorders of broadcasts join parts whose clocks differ: in these formats a leap of the stamps is no pause.
BROADCAST_FORMATS = ("mpegts", "mpeg")
RAW_FORMATS = ("mpegvideo", "h264", "hevc", "m4v", "mjpeg", "obu")  # a codec's stream alone: at most it tells a rate
CLOCK_RESET_SECONDS = Fraction(1, 2)  # a time stamp that falls back by as much starts a new count of time
LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES = Fraction(1, 2), 5  # between frames of a broadcast: the larger of both
ASSUMED_RATE = Fraction(25)  # as FFmpeg, where nothing is told


class Clock:
    """Strictly increasing times of frames in order of presentation.

    A frame without a usable stamp comes one step after the last one; one whose stamp does not increase, half a step,
    so that the next stamp is valid again. Where the stamps leap (back in any format; forwards in BROADCAST_FORMATS,
    elsewhere that is a pause) the frames on both sides follow each other by one step; a stamp that fits the count
    before the leap returns to it, so that one wrong stamp changes no other frame's time.
    """

    def __init__(self, container_format: str, stream: VideoStream) -> None:
        """`container_format` is libav's name of it, for the first frame of `stream` on."""
        average, guessed = stream.average_rate, stream.guessed_rate
        # For a raw stream libav's average is an assumption; the guess heeds the stream's own headers.
        rates = (guessed, average) if container_format in RAW_FORMATS else (average, guessed)
        rate = next((rate for rate in rates if rate), Fraction(0))
        # Where nothing is known libav guesses one frame a tick.
        is_known = rate > 0 and (bool(average) or rate * (stream.time_base or 0) != 1)
        self.rate = rate if is_known else Fraction(0)  # frames a second by the headers; 0: they tell none
        self._stream_start = (stream.start_time or 0) * (stream.time_base or Fraction(0))
        # AVI numbers frames as they are decoded: libav's presentation times are then those of other frames.
        self._keeps_display_order = container_format != "avi"
        self._has_stamps = container_format not in RAW_FORMATS  # but for some that libav makes up
        self._closes_gaps = container_format in BROADCAST_FORMATS
        self.longest_gap = max(LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES / self.rate if self.rate else Fraction(0))
        self._origin: Fraction | None = None
        self._earlier_origin: Fraction | None = None
        self._last: Fraction | None = None
        self._last_step: Fraction | None = None
        self._last_duration = Fraction(0)
        self.closed_leaps = 0
        self.is_known = True  # False once a frame had neither a stamp nor a rate to be timed by

    def start_seconds(self, first: VideoFrame) -> Fraction:
        """Time of the first frame by the container's clock."""
        stamps = self._stamps(first)
        return stamps[0] if stamps and self._keeps_display_order else self._stream_start

    def seconds(self, frame: VideoFrame) -> Fraction:
        """Time of the next frame since the first one."""
        stamps = self._stamps(frame)
        if self._last is None:
            self._origin, now = stamps[0] if stamps else None, Fraction(0)
        else:
            now = self._after(self._last, stamps)
            self._last_step = now - self._last
        self._last = now
        self._last_duration = (frame.duration or 0) * (frame.time_base or Fraction(0))
        return now

    def end_seconds(self) -> Fraction:
        """Where the last frame ends: by its own duration, else by the last step, else by the frame rate; 0 before."""
        if self._last is None:
            return Fraction(0)
        if self._last_duration > 0:
            return self._last + self._last_duration
        is_pause = self._last_step is not None and self._last_step > self.longest_gap
        return self._last + (self._step() if is_pause or self._last_step is None else self._last_step)

    def _stamps(self, frame: VideoFrame) -> list[Fraction]:
        """A frame's times by the container's clock, the most credible first."""
        stamps = (frame.pts, frame.dts) if self._keeps_display_order else (frame.dts,)
        time_base = frame.time_base if self._has_stamps else None
        return [stamp * time_base for stamp in stamps if stamp is not None] if time_base else []

    def _after(self, last: Fraction, stamps: list[Fraction]) -> Fraction:
        if not stamps:
            return last + self._step()
        origin = self._origin_of(stamps[0], last)
        increasing = (stamp - origin for stamp in stamps if stamp - origin > last)
        return next(increasing, None) or last + self._step() / 2

    def _origin_of(self, stamp: Fraction, last: Fraction) -> Fraction:
        """What to count a stamp from: as before, or anew where it leaps."""
        if self._origin is None:
            self._origin = stamp - last - self._step()
        ahead = stamp - self._origin - last
        if not self.leaps(ahead):
            return self._origin
        earlier = self._earlier_origin
        if earlier is not None and 0 < stamp - earlier - last <= self.longest_gap:
            self._origin, self._earlier_origin = earlier, self._origin
        elif ahead < 0 or self._closes_gaps:
            self.closed_leaps += 1
            self._origin, self._earlier_origin = stamp - last - self._step(), self._origin
        return self._origin

    def leaps(self, seconds: Fraction) -> bool:
        """Whether stamps that differ by as much are not just a frame or a few apart."""
        return not -CLOCK_RESET_SECONDS < seconds <= self.longest_gap

    def _step(self) -> Fraction:
        step = 1 / self.rate if self.rate else self._last_step
        self.is_known = self.is_known and step is not None
        return step or 1 / ASSUMED_RATE
