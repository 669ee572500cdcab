"""A process that reads videos, and that does what the name of one of them says instead."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from pipelines.data.decoder_process import main as serve
from stprivacy.video.sampled import VideoFrames, read_video


def main(descriptor: int, parent: int) -> None:
    serve(descriptor, parent, read)


def read(path: str, **settings: Any) -> VideoFrames:
    name = Path(path).stem
    if name == "raises":
        raise KeyError("a thing\nthat is missing")
    if name == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "exits":
        os._exit(3)
    if name == "dies-once" and not (mark := Path(path).with_suffix(".mark")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "never-ends":
        Path(path).with_suffix(".mark").touch()
        time.sleep(1000)
    return read_video(path, **settings)
