"""How fast clips come out of the Parquet shards: against a random gather from one np.memmap of the same bytes.

python -m benchmarks.reader: 600 clips of 16 x 112 x 112 x 3 bytes, warm page cache, one thread. Targets: a ratio
of .45 before augmentation, and .2 s from opening the data set to the first batch of an epoch.
"""

import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import tyro

from pipelines.data.index import VideoIndex
from pipelines.data.reader import ParquetClips, epoch_order
from stprivacy.config import ClipConfig
from stprivacy.views import take_frames
from tests.support.shard_fixtures import write_tiny_dataset

CLIP = ClipConfig()
CLIP_SHAPE = (CLIP.frames, CLIP.height_px, CLIP.width_px, 3)


def main(clips: int = 600, batch_size: int = 8, repeats: int = 9, out: Path | None = None) -> None:
    """Measure and print a table.

    Args:
        clips: videos in the data set, one clip each
        batch_size: clips in a batch
        repeats: times that every row is measured, by turns and in changing order; the median counts
        out: also write the table to this file
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data, plain = (
            write_tiny_dataset(Path(folder, name), clips, 0, *CLIP_SHAPE[:3], shard_videos=64, checksums=checksums)
            for name, checksums in (("data", True), ("plain", False))
        )
        table = _table(_measure(data, plain, batch_size, repeats), clips, batch_size, repeats)
    print(table)
    if out is not None:
        out.write_text(table + "\n")


class _Tasks:
    """What is timed: each method goes once through an epoch, or up to its first batch."""

    def __init__(self, data: Path, plain: Path, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size
        self.index, self.plain = VideoIndex(data), VideoIndex(plain)
        self.source = ParquetClips(data, CLIP)
        self.stored = np.memmap(data / "clips.bin", np.uint8, "w+", shape=(len(self.index.rows), *CLIP_SHAPE))
        for number, row in enumerate(self.index.rows):
            self.stored[number] = self.index.frames(row).numpy()

    def _batches(self, epoch: int) -> list[list[int]]:
        order = epoch_order(0, epoch, len(self.index.rows))
        return [order[first : first + self.batch_size] for first in range(0, len(order), self.batch_size)]

    def gather(self, epoch: int) -> None:
        for batch in self._batches(epoch):
            torch.from_numpy(np.asarray(self.stored[batch]))

    def read(self, epoch: int) -> None:
        for batch in self._batches(epoch):
            torch.stack([take_frames(self.index.frames(self.index.rows[i]), 0, CLIP.frames) for i in batch])

    def find(self, epoch: int) -> None:
        for row in self.index.rows:
            self.index.frames(row)

    def find_plain(self, epoch: int) -> None:
        for row in self.plain.rows:
            self.plain.frames(row)

    def augment(self, epoch: int) -> None:
        for _ in self.source.train_batches(epoch, 0, self.batch_size):
            pass

    def start(self, epoch: int) -> None:
        next(ParquetClips(self.data, CLIP).train_batches(epoch, 0, self.batch_size))

    def restart(self, epoch: int) -> None:
        next(self.source.train_batches(epoch, 0, self.batch_size))


def _measure(data: Path, plain: Path, batch_size: int, repeats: int) -> dict[str, float]:
    """Median seconds of each task; the least of those that find clips, which copy nothing."""
    tasks = _Tasks(data, plain, batch_size)
    names = ("gather", "read", "augment", "start", "restart", "find", "find_plain")
    times: dict[str, list[float]] = {name: [] for name in names}
    for epoch in range(repeats + 1):
        # What follows the gather finds its own bytes out of the processor's cache: by turns, any of them does.
        for name in random.Random(epoch).sample(names, len(names)):
            times[name].append(_seconds(getattr(tasks, name), epoch))
    # The first one warms up.
    return {name: (min if "find" in name else statistics.median)(values[1:]) for name, values in times.items()}


def _seconds(task: Callable[[int], None], epoch: int) -> float:
    start = time.perf_counter()
    task(epoch)
    return time.perf_counter() - start


def _table(seconds: dict[str, float], clips: int, batch_size: int, repeats: int) -> str:
    rates = {name: clips / seconds[name] for name in ("gather", "read", "augment")}
    found = {name: seconds[name] / clips * 1e6 for name in ("find", "find_plain")}
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread"
    return "\n".join(
        [
            f"{clips} clips of {CLIP.frames}x{CLIP.height_px}x{CLIP.width_px}x3, batches of {batch_size}, "
            f"median of {repeats}; {time.strftime('%Y-%m-%d')}, {machine}",
            "",
            "| uint8 clips to tensors | clips/s | ratio to the limit | target |",
            "|---|---|---|---|",
            f"| np.memmap gather (the limit) | {rates['gather']:,.0f} | 1 | |",
            f"| Parquet shards by index | {rates['read']:,.0f} | {rates['read'] / rates['gather']:.2f} | .45 |",
            f"| the same, augmented and normalised | {rates['augment']:,.0f} | | |",
            "",
            "| start of an epoch, to the first augmented batch | seconds | target |",
            "|---|---|---|",
            f"| with opening the data set | {seconds['start']:.3f} | .2 |",
            f"| data set already open | {seconds['restart']:.3f} | .2 |",
            "",
            "| finding a clip that was read before, without copying it; the best | µs a clip | of reading it |",
            "|---|---|---|",
            *(
                f"| {how} | {found[name]:.1f} | {found[name] * rates['read'] / 1e6:.3f} |"
                for how, name in (("with checksums", "find"), ("in the older format, without", "find_plain"))
            ),
        ]
    )


if __name__ == "__main__":
    tyro.cli(main)
