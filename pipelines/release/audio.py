"""The sound of a source, in step with its video, encoded anew so that only what can be heard remains of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from typing import cast

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from stprivacy.video.clock import BROADCAST_FORMATS
from stprivacy.video.decoding import VideoError, VideoLimits, flush_of, local_file, open_container, packets_of
from stprivacy.video.joined import Heard, JoinedParts

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_JITTER_SECONDS = 0.04  # by which time stamps may disagree with the count of samples: recorders are inexact
_ROUNDING_SECONDS = 0.002  # containers round time stamps to 1 ms
_SHORTEST_BLOCK_SECONDS = 0.01  # whose loss leaves a gap that can be told from jitter
_SILENCE_SAMPLES = 1 << 16  # made at once


class AudioSource:
    """The sound that players choose of a file, to go into one released video; nothing where the file has none."""

    def __init__(self, path: str | os.PathLike[str], *, start_seconds: Fraction, limits: VideoLimits) -> None:
        """`start_seconds` is where the video starts by the container's clock: TimedVideo.start_seconds.

        Raises: VideoError: unreadable-audio, or as on opening a video.
        """
        self._sound = _open_sound(local_file(path), start_seconds, limits)
        self._written = 0
        self._rest = self._sound.next_block() if self._sound else None

    def add_to(self, output: OutputContainer) -> None:
        """Add a track for the sound to a file that has not been started."""
        if self._sound is None:
            return
        self._output = output
        self._stream = output.add_stream("aac", rate=self._sound.rate, layout=self._sound.layout)
        self._stream.codec_context.flags |= Flags.bitexact
        self._stream.codec_context.thread_count = 1

    def write_until(self, seconds: Fraction) -> None:
        """Write what is heard before `seconds` after the start of the video. Raises: VideoError: unreadable-audio."""
        if self._sound is None:
            return
        end = round(seconds * self._sound.rate)
        while self._rest is not None and self._written < end:
            position, samples = self._rest
            ahead = position - self._written
            if ahead > 0:
                self._encode(np.zeros((len(samples), min(ahead, end - self._written, _SILENCE_SAMPLES)), np.float32))
                continue
            heard = samples[:, -ahead:][:, : end - self._written]
            used = heard.shape[1] - ahead
            self._encode(heard)
            left = (position + used, samples[:, used:])
            self._rest = left if left[1].size else self._sound.next_block()

    def finish(self, end_seconds: Fraction) -> None:
        """Write the sound up to the end of the video; what lies behind it is dropped. Raises: as write_until."""
        if self._sound is None:
            return
        self.write_until(end_seconds)
        self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Let go of the source."""
        if self._sound is not None:
            self._sound.container.close()

    def _encode(self, samples: NDArray[np.float32]) -> None:
        assert self._sound is not None
        if samples.shape[1] == 0:
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._sound.layout)
        frame.sample_rate, frame.pts, frame.time_base = self._sound.rate, self._written, Fraction(1, self._sound.rate)
        self._written += samples.shape[1]
        self._output.mux(self._stream.encode(frame))


def _open_sound(location: str, start_seconds: Fraction, limits: VideoLimits) -> "_Sound | None":
    container = open_container(location, limits)
    stream = cast("AudioStream | None", container.streams.best("audio"))
    if stream is None:
        container.close()
        return None
    if cast("AudioCodecContext | None", stream.codec_context) is None:
        container.close()
        raise VideoError("unreadable-audio", "its sound has a codec that is unknown here; without sound it may do")
    is_broadcast = container.format.name in BROADCAST_FORMATS
    parts = JoinedParts(location, start_seconds, limits) if is_broadcast else None
    return _Sound(container, stream, start_seconds, parts)


class _Sound:
    """The decoded samples of a stream with their places, in mono or stereo at a rate that AAC has."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, start_seconds: Fraction, parts: JoinedParts | None
    ) -> None:
        self.container = container
        self.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        self.rate = next((rate for rate in _AAC_RATES if rate >= stream.codec_context.sample_rate), _AAC_RATES[-1])
        self._stream, self._start_seconds, self._parts = stream, start_seconds, parts
        self._resampled = ""  # the kind of frames that the resampler has begun with: it takes no other
        self._next_position = 0
        self._is_cut_off = True  # from what was heard before: its count of samples says nothing of the next block
        self._blocks = self._decoded_blocks()

    def next_block(self) -> tuple[int, NDArray[np.float32]] | None:
        """The number of samples from the video's start to the block, and the block [channels samples]; None: no more.

        Raises: VideoError: unreadable-audio: there are packets of sound, none of which can be decoded.
        """
        with _sound_errors_told():
            return next(self._blocks, None)

    def _decoded_blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        packets = blocks = 0
        for packet in chain(packets_of(self.container, self._stream), (flush_of(self._stream),)):
            packets += packet.size > 0
            try:
                frames = self._stream.codec_context.decode(packet)
            except FFmpegError:
                self._is_cut_off = True  # as in players, what is missing is silent
                continue
            for frame in frames:
                blocks += 1
                yield self._block(frame)
        if packets and not blocks:
            raise VideoError("unreadable-audio", "none of its sound can be decoded; without sound it may do")

    def _block(self, frame: AudioFrame) -> tuple[int, NDArray[np.float32]]:
        kind = f"{frame.format.name} {frame.layout.name} {frame.sample_rate}"
        if kind != self._resampled:
            self._resampler, self._resampled = AudioResampler("fltp", self.layout, self.rate), kind
        stamp = None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base
        frame.pts = None
        pieces = [piece.to_ndarray() for piece in self._resampler.resample(frame)]
        nothing = np.zeros((1 if self.layout == "mono" else 2, 0), np.float32)
        samples = np.concatenate([nothing, *pieces], axis=1, dtype=np.float32)
        position, until = self._place(stamp, samples.shape[1])
        self._next_position, self._is_cut_off = position + samples.shape[1], False
        return position, samples[:, : max(until - position, 0)]

    def _place(self, stamp: Fraction | None, length: int) -> tuple[int, int]:
        """The sample at which a block of `length` begins, and the one at which its part of a joined recording ends."""
        end = self._next_position + length
        if stamp is None:
            return self._next_position, end
        heard = Heard(stamp - self._start_seconds, None) if self._parts is None else self._parts.heard(stamp)
        if heard is None:
            return self._next_position, end
        position = round(heard.seconds * self.rate)
        if not self._is_cut_off and self._is_jitter(position - self._next_position, length):
            position = self._next_position
        return position, position + length if heard.until is None else round(heard.until * self.rate)

    def _is_jitter(self, ahead: int, length: int) -> bool:
        """Whether a stamp `ahead` of the count of samples is inexact; one ahead by whole blocks tells of lost ones."""
        lost = round(ahead / length) if length >= _SHORTEST_BLOCK_SECONDS * self.rate else 0
        are_lost = lost > 0 and abs(ahead - lost * length) <= _ROUNDING_SECONDS * self.rate
        return abs(ahead) <= _JITTER_SECONDS * self.rate and not are_lost


@contextmanager
def _sound_errors_told() -> Iterator[None]:
    try:
        yield
    except VideoError:
        raise
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        raise VideoError("unreadable-audio", f"its sound: {error}; without sound it may do") from error
