"""How much of libav's own decoding speed is left when frames are also sampled and shrunk? One core, H.264, k = 2 and 4.

    python benchmarks/decode.py

The limit is libav decoding every frame and nothing else, measured in the same run, interleaved with what is measured.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import tyro

from benchmarks.machine import machine_line
from stprivacy.video.sampled import read_video

TARGETS = {2: 0.70, 4: 0.90}


class Speed(NamedTuple):
    """Frames a CPU second of the limit and of what is measured, and the median of their ratios."""

    limit: float
    measured: float
    ratio: float


def write_clip(path: Path, frames: int, width: int = 340, height: int = 256, seed: int = 0) -> None:
    """H.264: a sprite that moves over panned clutter with sensor noise; about half a Mbit/s at the default size."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    clutter = av.VideoFrame.from_ndarray(coarse).reformat(width=width + 64, height=height + 64, interpolation="BICUBIC")
    background = clutter.to_ndarray().astype(np.int16)
    sprite = random.integers(0, 255, (height // 4, width // 8, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            x, y = round(32 + 20 * np.sin(number / 40)), round(32 + 10 * np.cos(number / 50))
            image = background[y : y + height, x : x + width].copy()
            left, top = number * 3 % (width - width // 8), round(height * (0.35 + 0.2 * np.sin(number / 7)))
            image[top : top + height // 4, left : left + width // 8] = sprite
            noisy = np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy)))
        container.mux(stream.encode())


def decode_only(path: Path) -> int:
    """Frames of the file, each decoded by one thread and thrown away: the limit."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def read(path: Path, stride: int, short_side_px: int) -> int:
    """What ingest does with a file, up to the array of sampled, shrunk frames."""
    return read_video(path, stride=stride, short_side_px=short_side_px).source_frames


def measure(limit: Callable[[], int], work: Mapping[str, Callable[[], int]], repeats: int) -> dict[str, Speed]:
    """Each piece of work right after the limit, over and over: neighbours in time meet the same noise."""
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, call in work.items():
            turns[name].append((_frames_per_second(limit), _frames_per_second(call)))
    return {name: _medians(pairs) for name, pairs in turns.items()}


def _medians(pairs: list[tuple[float, float]]) -> Speed:
    limit, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Speed(limit, measured, statistics.median(speed / limit for limit, speed in pairs))


def _frames_per_second(call: Callable[[], int]) -> float:
    begun = time.process_time()
    return call() / (time.process_time() - begun)


def main(video: Path | None = None, frames: int = 300, short_side_px: int = 128, repeats: int = 21) -> None:
    """Print the table.

    Args:
        video: a file of your own instead of the generated clip
        frames: length of the generated clip
        short_side_px: what frames are shrunk to
        repeats: turns of which the median is taken
    """
    with tempfile.TemporaryDirectory() as folder:
        path = video or Path(folder) / "clip.mp4"
        if video is None:
            write_clip(path, frames)
        work = {f"k={stride}": partial(read, path, stride, short_side_px) for stride in TARGETS}
        speeds = measure(partial(decode_only, path), work, repeats)
        print(f"{path.name}, {path.stat().st_size // 1000} kB, frames shrunk to a short side of {short_side_px} px\n")
    print("| one core, frames decoded a CPU second | limit: libav decode only | measured | ratio | target |")
    print("|---|---|---|---|---|")
    for stride, target in TARGETS.items():
        speed = speeds[f"k={stride}"]
        figures = f"{speed.limit:.0f} | {speed.measured:.0f} | {speed.ratio:.2f} | ≥ {target:.2f}"
        print(f"| decode + sample + shrink, k={stride} | {figures} |")
    print(f"\nMedians of {repeats} pairs of limit and measured. {machine_line('av', 'numpy')}")


if __name__ == "__main__":
    tyro.cli(main)
