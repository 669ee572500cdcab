"""Videos read by a process of their own: whatever one of them does, the caller gets frames or a reason in time."""

import atexit
import functools
import math
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import numpy as np

from pipelines.data.decoder_process import BUFFER_BYTES, READY, described, fill, receive, send
from pipelines.data.schema import IngestSettings
from stprivacy.video.decoding import VideoError
from stprivacy.video.sampled import VideoFrames

PROCESS_MODULE = "pipelines.data.decoder_process"
_ATTEMPTS = 2  # of a video whose process dies: the first time, another program may have taken the memory
_START_SECONDS = 120.0
_END_SECONDS = 5.0


class DecoderError(RuntimeError):
    """The process cannot be started, whatever the video."""


class Decoder:
    """A process that reads one video after the other; started when first needed, and again where one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection = socket.socket()

    def read(self, path: str, settings: IngestSettings) -> tuple[VideoFrames, str]:
        """A local file's frames, and the SHA-256 of its content.

        Raises: VideoError: as `stprivacy.video.sampled.read_video`; failed: it raises anything else; timed-out: it
            takes longer than settings.seconds_per_video; crashed: it ends the process, twice. DecoderError: there is
            no process.
        """
        request = {
            "path": path,
            "stride": settings.stride,
            "short_side_px": settings.short_side_px,
            "tubelet_frames": settings.tubelet_frames,
            "limits": settings.limits,
        }
        ends = []
        for _ in range(_ATTEMPTS):
            self._start_if_needed()
            try:
                return self._ask(request, settings.seconds_per_video)
            except TimeoutError as error:
                self.stop()
                raise VideoError("timed-out", f"not read within {settings.seconds_per_video:g} s") from error
            except (EOFError, ConnectionError):
                ends.append(self.stop())
        raise VideoError("crashed", f"it ended the process that reads videos, twice ({', then '.join(ends)})")

    def _ask(self, request: dict[str, Any], seconds: float) -> tuple[VideoFrames, str]:
        deadline = time.monotonic() + seconds
        self._connection.settimeout(None if math.isinf(seconds) else seconds)
        send(self._connection, request)
        answer = receive(self._connection)
        if isinstance(answer, VideoError):
            raise answer
        checksum, shape, fps, source_frames, notes = answer
        try:
            frames = np.empty(shape, np.uint8)
        except MemoryError as error:
            self.stop()  # it is sending what there is no room for
            raise VideoError("failed", f"its frames do not fit into memory: {described(error)}") from error
        if not math.isinf(seconds):
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
        fill(self._connection, frames.reshape(-1).data)
        return VideoFrames(frames, fps, source_frames, notes), checksum

    def _start_if_needed(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            code = f"from {PROCESS_MODULE} import main; main({theirs.fileno()}, {os.getpid()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ray brings modules by this process's path, not by its environment.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            )
        self._connection.settimeout(_START_SECONDS)
        try:
            started = receive(self._connection) == READY
        except (EOFError, OSError):
            started = False
        if not started:
            raise DecoderError(f"the process that reads videos does not start ({self.stop()})")

    def stop(self) -> str:
        """End the process, if there is one; returns how it ended."""
        process, self._process = self._process, None
        self._connection.close()
        if process is None:
            return "never started"
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)  # one that is ending says why
        process.kill()
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it cannot be ended"  # the kernel holds it, in a read from a dead disk
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@functools.cache
def process_decoder() -> Decoder:
    """The one decoder of this process, which ends with it."""
    decoder = Decoder()
    atexit.register(decoder.stop)
    return decoder
