"""Writes a generated data set: videos by several processes, then annotations laid out as HMDB51 has them."""

import io
import json
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from pipelines.data.datasets.synth.scene import Frame, build_scene, person_boxes, render
from pipelines.data.datasets.synth.settings import (
    BOXES_FILE,
    GENERATOR_VERSION,
    LABELS_FILE,
    Clip,
    SynthSettings,
    clips,
)
from stprivacy.claims import Claim
from stprivacy.storage import remove_partials, write_whole

SETTINGS_FILE = "synth.json"
_STARTED_FILE = "synth.json.partial"
_SPLIT_CODE = {"train": 1, "test": 2}


def generate(
    out: Path, settings: SynthSettings, progress: Callable[[int, int], None], workers: int | None = None
) -> None:
    """Write the data set to `out`, or finish what an interrupted call began. A finished one is left as it is.

    Args:
        out: folder, created if needed
        settings: what to write
        progress: called with the number of videos that are ready and their total
        workers: processes, by default one for each CPU; the result does not depend on it

    Raises:
        ValueError: `out` holds something else, or a data set of other settings.
    """
    todo = clips(settings)
    note = SETTINGS_FILE if (out / SETTINGS_FILE).is_file() else _STARTED_FILE
    wanted = {"generator_version": GENERATOR_VERSION, **asdict(settings)}
    Claim(note, wanted, "a generated data set", is_ours=lambda name: name == _STARTED_FILE).make(out)
    remove_partials(out, below=True)
    if (out / SETTINGS_FILE).exists() and all(_video_path(out, clip).exists() for clip in todo):
        progress(len(todo), len(todo))
        return
    for action in settings.action_names:
        (out / "videos" / action).mkdir(parents=True, exist_ok=True)
    boxes = _write_videos(out, settings, todo, progress, workers or os.cpu_count() or 1)
    _write_annotations(out / "annotations", settings, todo, boxes)
    if (out / _STARTED_FILE).exists():
        os.replace(out / _STARTED_FILE, out / SETTINGS_FILE)


def clip_bytes(settings: SynthSettings, clip: Clip) -> bytes:
    """The MP4 file of one clip: the same bytes for the same settings and library versions."""
    scene = build_scene(settings, clip)
    return encode(render(settings, clip, scene), scene.fps, settings)


def encode(frames: Iterable[Frame], fps: int, settings: SynthSettings) -> bytes:
    """H.264 in MP4 from frames [h w 3] of the size in `settings`, at `fps` frames per second."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # With more threads x264 may decide by timing, and its macroblock tree reads memory that nothing has set:
        # with either, the bytes differ from run to run.
        speed = {"preset": "ultrafast", "threads": "1", "g": "24", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(settings.crf), **speed})
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.width, stream.height = settings.width_px, settings.height_px
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def _write_videos(
    out: Path, settings: SynthSettings, todo: tuple[Clip, ...], progress: Callable[[int, int], None], workers: int
) -> list[str]:
    """Write the videos that are missing; one line of boxes for every video."""
    boxes: list[str] = []
    # A fresh interpreter for each worker: a fork of a process that runs threads (Ray's, torch's) may hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        with _interrupts_blocked():
            lines = pool.map(partial(_produce, out, settings), todo, chunksize=4)
        for line in lines:
            boxes.append(line)
            progress(len(boxes), len(todo))
    finally:
        # An interrupted user must not wait for the rest of the queue.
        pool.shutdown(cancel_futures=True)
    return boxes


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, which a terminal sends to all: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _video_path(out: Path, clip: Clip) -> Path:
    return out / "videos" / clip.action / clip.name


def _produce(out: Path, settings: SynthSettings, clip: Clip) -> str:
    path, scene = _video_path(out, clip), build_scene(settings, clip)
    if not path.exists():
        write_whole(path, encode(render(settings, clip, scene), scene.fps, settings))
    boxes = person_boxes(settings, scene)
    return json.dumps({"video": clip.video_id, "boxes": boxes}, separators=(",", ":"))


def _write_annotations(folder: Path, settings: SynthSettings, all_clips: tuple[Clip, ...], boxes: list[str]) -> None:
    for action in settings.action_names:
        # HMDB51's own lines end in a space.
        lines = [f"{clip.name} {_SPLIT_CODE[clip.split]} \n" for clip in all_clips if clip.action == action]
        write_whole(folder / "splits" / f"{action}_test_split1.txt", "".join(lines).encode())
    labels = {clip.video_id: np.array([clip.privacy], dtype=np.int64) for clip in all_clips}
    write_whole(folder / LABELS_FILE, pickle.dumps(labels, protocol=4))
    write_whole(folder / BOXES_FILE, "".join(line + "\n" for line in boxes).encode())
