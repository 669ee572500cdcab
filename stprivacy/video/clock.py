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
        self._tick = stream.time_base or Fraction(0)
        # Where nothing is known libav guesses one frame a tick.
        is_known = rate > 0 and (bool(average) or rate * self._tick != 1)
        self.rate = rate if is_known else Fraction(0)  # frames a second by the headers; 0: they tell none
        self._stream_start = (stream.start_time or 0) * self._tick
        # AVI numbers frames as they are decoded: libav's presentation times are then those of other frames.
        self._keeps_display_order = container_format != "avi"
        self._has_stamps = self._tick > 0 and container_format not in RAW_FORMATS  # but for some that libav makes up
        self._closes_gaps = container_format in BROADCAST_FORMATS
        self.longest_gap = max(LONGEST_GAP_SECONDS, LONGEST_GAP_FRAMES / self.rate if self.rate else Fraction(0))
        self._longest_step = int(self.longest_gap / self._tick) if self._has_stamps else 0  # ticks
        self._tick_seconds = float(self._tick)
        self._origin: Fraction | None = None  # by the container's clock, of the count of seconds
        self._earlier_origin: Fraction | None = None
        self._stamp: int | None = None  # of the last frame, if its time follows from it
        self._time = Fraction(0)  # of the last frame, if it does not
        self._step: Fraction | int | None = None  # from the last frame but one to the last; an int is ticks
        self._duration = 0  # of the last frame, in ticks
        self.frames = 0
        self.elapsed = 0.0  # nearly `now`
        self.closed_leaps = 0
        self.is_known = True  # False once a frame had neither a stamp nor a rate to be timed by

    def start_seconds(self, first: VideoFrame) -> Fraction:
        """Time of the first frame by the container's clock."""
        stamps = self._stamps(first)
        return stamps[0] * self._tick if stamps and self._keeps_display_order else self._stream_start

    @property
    def now(self) -> Fraction:
        """Time of the last frame that was followed, since the first one; 0 before."""
        if self._stamp is None or self._origin is None:
            return self._time
        return self._stamp * self._tick - self._origin

    def follow(self, frame: VideoFrame) -> None:
        """Take note of the next frame."""
        stamps = self._stamps(frame)
        self._duration = frame.duration or 0
        self.frames += 1
        if self.frames == 1:
            self._stamp, self._origin = (stamps[0], stamps[0] * self._tick) if stamps else (None, None)
        elif self._stamp is not None and stamps and 0 < stamps[0] - self._stamp <= self._longest_step:
            # Nearly always so. Fractions would take a fifth of the time in which a small frame is decoded.
            self._step = stamps[0] - self._stamp
            self._stamp = stamps[0]
            self.elapsed += self._step * self._tick_seconds
        else:
            before = self.now
            self._follow_with_care(before, stamps)
            self._step, self.elapsed = self.now - before, float(self.now)

    def end_seconds(self) -> Fraction:
        """Where the last frame ends: by its own duration, else by the last step, else by the frame rate; 0 before."""
        if self.frames == 0:
            return Fraction(0)
        if self._duration > 0:
            return self.now + self._duration * self._tick
        step = self._step * self._tick if isinstance(self._step, int) else self._step
        is_pause = step is None or step > self.longest_gap
        return self.now + (self._usual_step() if is_pause or step is None else step)

    def _stamps(self, frame: VideoFrame) -> list[int]:
        """A frame's times by the container's clock in ticks, the most credible first."""
        if not self._has_stamps:
            return []
        stamps = (frame.pts, frame.dts) if self._keeps_display_order else (frame.dts,)
        return [stamp for stamp in stamps if stamp is not None]

    def _follow_with_care(self, last: Fraction, stamps: list[int]) -> None:
        if not stamps:
            self._stamp, self._time = None, last + self._usual_step()
            return
        self._origin = origin = self._origin_of(stamps[0] * self._tick, last)
        self._stamp = next((stamp for stamp in stamps if stamp * self._tick - origin > last), None)
        if self._stamp is None:
            self._time = last + self._usual_step() / 2

    def _origin_of(self, stamp: Fraction, last: Fraction) -> Fraction:
        """What to count a stamp from: as before, or anew where it leaps."""
        if self._origin is None:
            return stamp - last - self._usual_step()
        ahead = stamp - self._origin - last
        if not self.leaps(ahead):
            return self._origin
        earlier = self._earlier_origin
        if earlier is not None and 0 < stamp - earlier - last <= self.longest_gap:
            self._earlier_origin = self._origin
            return earlier
        if ahead < 0 or self._closes_gaps:
            self.closed_leaps += 1
            self._earlier_origin = self._origin
            return stamp - last - self._usual_step()
        return self._origin

    def leaps(self, seconds: Fraction) -> bool:
        """Whether stamps that differ by as much are not just a frame or a few apart."""
        return not -CLOCK_RESET_SECONDS < seconds <= self.longest_gap

    def _usual_step(self) -> Fraction:
        if self.rate:
            return 1 / self.rate
        self.is_known = self.is_known and self._step is not None
        return (self._step * self._tick if isinstance(self._step, int) else self._step) or 1 / ASSUMED_RATE
