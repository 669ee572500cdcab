"""The process that opens videos for pipelines.data.decoder: one that crashes or never ends takes no worker with it.

It imports neither Ray nor PyTorch, so that it starts quickly, and ends with its parent.
"""

import ctypes
import hashlib
import os
import pickle
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable
from typing import Any

from stprivacy.video.decoding import VideoError
from stprivacy.video.sampled import VideoFrames, read_video

READY = "ready"
BUFFER_BYTES = 4 << 20
_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1


def main(descriptor: int, parent: int, read: Callable[..., VideoFrames] = read_video) -> None:
    """Answer requests, each the arguments of `read`, on an inherited socket until the parent closes it or ends.

    A video is answered by the SHA-256 of its file, its shape [T H W 3] and what else `VideoFrames` holds, and then its
    pixels; whatever `read` raises, by a VideoError.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # it ended before the line above
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    with socket.socket(fileno=descriptor) as connection:
        _serve(connection, read)


def _serve(connection: socket.socket, read: Callable[..., VideoFrames]) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    send(connection, READY)
    while True:
        try:
            request = receive(connection)
        except EOFError:
            return
        try:
            checksum = _checksum(request["path"])
            video = read(**request)
        except VideoError as error:
            send(connection, VideoError(error.error, flat(str(error))))
        except Exception as error:  # a decoder may raise anything on hostile input
            send(connection, VideoError("failed", f"reading it failed: {described(error)}"))
        else:
            frames = video.frames
            send(connection, (checksum, frames.shape, video.fps, video.source_frames, video.notes))
            connection.sendall(frames.reshape(-1).data)
            del video, frames  # the next video needs the memory


def send(connection: socket.socket, message: Any) -> None:
    """Send a message whole. Raises: OSError: the other end is closed, or the socket's time is over."""
    content = pickle.dumps(message)
    connection.sendall(_LENGTH.pack(len(content)) + content)


def receive(connection: socket.socket) -> Any:
    """The next message. Raises: EOFError: the other end is closed. OSError: the socket's time is over."""
    length = bytearray(_LENGTH.size)
    fill(connection, memoryview(length))
    content = bytearray(_LENGTH.unpack(length)[0])
    fill(connection, memoryview(content))
    return pickle.loads(content)


def fill(connection: socket.socket, buffer: memoryview) -> None:
    """Read until the buffer is full. Raises: as `receive`."""
    while buffer:
        count = connection.recv_into(buffer)
        if not count:
            raise EOFError
        buffer = buffer[count:]


def flat(text: str) -> str:
    """The same text on one line."""
    return " ".join(text.split())


def described(error: Exception) -> str:
    """An error's class and what it says, on one line."""
    return ": ".join(filter(None, [type(error).__name__, flat(str(error))]))


def _checksum(path: str) -> str:
    """SHA-256 of a file's content. Raises: VideoError: missing or unreadable."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise VideoError("unreadable", "not a regular file")  # to open a pipe would wait for its other end
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        link = f"a link to {os.readlink(path)}, which does not exist" if os.path.islink(path) else "no such file"
        raise VideoError("missing", link) from error
    except OSError as error:
        raise VideoError("unreadable", f"cannot be read: {error.strerror}") from error
