"""What ingest through Ray Data into Parquet keeps of the speed of plain processes.

    python benchmarks/ingest.py

The limit is the same function on the same shards, in one plain process a core without Ray. Both are measured in the
same run and take turns, after start-up: worker processes exist and have imported what they need.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import tyro

from benchmarks.decode import write_clip
from benchmarks.machine import machine_line
from pipelines import cluster
from pipelines.data.manifest import Manifest, VideoEntry
from pipelines.data.schema import IngestSettings
from pipelines.data.shards import plan_shards, write_shard

TARGET = 0.80


def write_videos(folder: Path, videos: int, frames: int) -> Manifest:
    """Eight clips under as many names as asked."""
    clips = [folder / f"clip{number}.mp4" for number in range(8)]
    for number, clip in enumerate(clips):
        write_clip(clip, frames, seed=number)
    entries = []
    for number in range(videos):
        path = folder / f"{number:05d}.mp4"
        os.link(clips[number % len(clips)], path)
        entries.append(VideoEntry(path.name, str(path), ("move",), bytes([number % 2]), ("train",)))
    return Manifest("benchmark", ("move",), ("label",), tuple(entries))


def plain(pool: ProcessPoolExecutor, manifest: Manifest, settings: IngestSettings, out: Path) -> None:
    """The limit: every shard written by one of the pool's processes."""
    for folder in ("videos", "quarantine"):
        (out / folder).mkdir(parents=True)
    list(pool.map(partial(write_shard, out=out, settings=settings), plan_shards(manifest, settings)))


def through_ray(cores: int, manifest: Manifest, settings: IngestSettings, out: Path) -> None:
    """What is measured: the library's ingest, description and ledger included."""
    from pipelines.data.ingest import ingest

    ingest(manifest, out, settings, workers=cores)


def seconds(work: Callable[[Path], None], out: Path) -> float:
    """Wall time of one ingest into a new folder."""
    begun = time.perf_counter()
    work(out)
    taken = time.perf_counter() - begun
    shutil.rmtree(out)
    return taken


def main(videos: int = 384, frames: int = 60, repeats: int = 3) -> None:
    """Print the table.

    Args:
        videos: how many are ingested in one go
        frames: length of each
        repeats: pairs of limit and measured of which the median is taken
    """
    cores, settings = os.cpu_count() or 1, IngestSettings()
    cluster.start()
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        manifest = write_videos(Path(name), videos, frames)
        work = (partial(plain, pool, manifest, settings), partial(through_ray, cores, manifest, settings))
        turns = [[seconds(call, Path(name) / "out") for call in work] for _ in range(repeats + 1)][1:]
    cluster.stop()
    limit, measured = (videos * frames / statistics.median(column) for column in zip(*turns, strict=True))
    ratio = statistics.median(first / second for first, second in turns)
    print(f"{videos} videos of {frames} frames, 340 x 256 H.264, {settings}\n")
    print(
        "| source frames a second | limit: plain processes | through Ray Data | ratio | target |\n|---|---|---|---|---|"
    )
    print(f"| {cores} cores | {limit:.0f} | {measured:.0f} | {ratio:.2f} | ≥ {TARGET:.2f} |")
    print(f"\nMedians of {repeats} pairs after one to warm up. {machine_line('ray', 'av', 'pyarrow')}")


if __name__ == "__main__":
    tyro.cli(main)
