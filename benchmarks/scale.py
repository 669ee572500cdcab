"""What a trade-off front over very many clips would cost, computed from measured figures: the tables of docs/scale.md.

python -m benchmarks.scale: nothing is trained. Rates are those of docs/performance.md and benchmarks/results, each with
the command that measured it; sizes of what is kept for each video are measured here, on a small data set; prices are
assumptions.
"""

import pickle
import tempfile
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as pq
import tyro

from pipelines.data.index import VideoIndex
from pipelines.data.manifest import VideoEntry
from pipelines.data.schema import IngestSettings
from tests.support.shard_fixtures import write_tiny_dataset

HOUR = 3600.0
SAMPLE_VIDEOS, SAMPLE_FRAMES = 128, 76
CLIP_FRAMES = 16  # of the paper's clips


@dataclass(frozen=True)
class Measured:
    """Rates and times that other benchmarks have given, on the machines that docs/performance.md names.

    Args:
        ingest_frames: source frames ingested a second by one core (python -m benchmarks.ingest: 2,269 on two)
        decode_frames: source frames decoded and sampled a second by one core (python -m benchmarks.decode)
        adversarial_clips: clips a second through phase 2 on an H100, bfloat16 (python benchmarks/gpu.py)
        init_share: a step of phase 1 by one of phase 2 (python -m benchmarks.full_size: 1.233 s and 5.801 s)
        read_clips: clips of 16 x 112 x 112 a second out of shards by one thread (python -m benchmarks.reader)
        augmented_clips: the same, cropped, resized, mirrored and normalised, as training reads them (the same)
        open_seconds: to open a local data set of `open_videos` and have its first batch (the same)
    """

    ingest_frames: float = 2269 / 2
    decode_frames: float = 1532
    adversarial_clips: float = 128
    init_share: float = 1.233 / 5.801
    read_clips: float = 9823
    augmented_clips: float = 450
    open_seconds: float = 0.096
    open_videos: int = 600


@dataclass(frozen=True)
class Assumed:
    """What nobody measured here: the videos, the front, what services do, and prices in dollars."""

    source_frames: int = 150  # of a video (5 s at 30 a second)
    width_px: int = 170  # of a stored frame, whose height is the ingest's short side
    trials: int = 12  # points of the front
    inits: int = 3  # phase 1 runs, shared by the trials that differ in phase 2 alone
    attackers: int = 2  # of each evaluation
    gpus: int = 64  # at a time
    tasks_per_second: float = 1000  # that one Ray head schedules
    stat_seconds: float = 1e-3  # to ask a network file system or an object store for one file
    part_bytes: int = 8 << 20  # of a multipart upload
    gpu_hour: float = 3.0  # an H100 by the hour
    core_hour: float = 0.04  # a core by the hour
    gib_month: float = 0.023  # of storage
    put: float = 5e-6  # a write request
    get: float = 4e-7  # a read request

    @property
    def runs(self) -> int:
        """Of all phases, raw's evaluation among them; every worker opens the data set anew in each."""
        return self.inits + 2 * self.trials + 1


@dataclass(frozen=True)
class Kept:
    """Bytes for each video: its footer entries in a shard, its row in a worker's index, its manifest entry pickled."""

    footer: int
    row: int
    entry: int

    def __str__(self) -> str:
        return f"bytes a video: {self.footer} of footers, {self.row} in an index, {self.entry} of manifest"


@dataclass(frozen=True)
class Epochs:
    """Passes over the data in phases 1, 2 and 3."""

    init: float
    adversarial: float
    evaluate: float


PAPER, ONE_PASS = Epochs(80, 40, 80), Epochs(1, 1, 1)


def measure_kept() -> Kept:
    """The sizes, of a data set that was written for it: pixels do not count."""
    # Other threads must not be in C code when tracemalloc stops (Python 3.11 may crash then): a process for it alone.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_measure_kept).result()


def _measure_kept() -> Kept:
    with tempfile.TemporaryDirectory() as name:
        data = write_tiny_dataset(Path(name), SAMPLE_VIDEOS, 0, SAMPLE_FRAMES, 2, 2, shard_videos=32)
        shards = list((data / "videos").glob("*.parquet"))
        footers = sum(pq.read_metadata(shard).serialized_size for shard in shards)
        VideoIndex(data)  # imports and caches are nobody's rows
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        index = VideoIndex(data)
        rows = tracemalloc.get_traced_memory()[0] - before
    entries = [
        VideoEntry(row.video_id, f"/shared/videos/{row.video_id}", ("action",), row.privacy, row.splits)
        for row in index.rows
    ]
    return Kept(*(round(total / SAMPLE_VIDEOS) for total in (footers, rows, len(pickle.dumps(entries)))))


def clip_passes(assumed: Assumed, measured: Measured, epochs: Epochs) -> dict[str, float]:
    """GPU seconds for each video and the whole front, by phase.

    An evaluation trains one action recognizer and the attackers, each taken to cost a step of phase 1 (the same ViT-S,
    forward and backward), on clips that the frozen anonymizer transforms (a forward pass: a third of one).
    """
    init = measured.init_share / measured.adversarial_clips
    return {
        "init": assumed.inits * epochs.init * init,
        "adversarial": assumed.trials * epochs.adversarial / measured.adversarial_clips,
        "evaluate": (assumed.trials + 1) * epochs.evaluate * (1 + assumed.attackers + 1 / 3) * init,  # and raw's
    }


def stored(videos: int, assumed: Assumed, settings: IngestSettings, kept: Kept) -> dict[str, float]:
    """Shards and what they hold."""
    frames = ceil(ceil(assumed.source_frames / settings.stride) / settings.tubelet_frames) * settings.tubelet_frames
    pixels = frames * settings.short_side_px * assumed.width_px * 3
    shards = ceil(videos / settings.shard_videos)
    return {
        "shards": shards,
        "files": 2 * shards,  # each has its quarantine
        "shard MiB": settings.shard_videos * pixels / 2**20,
        "data GiB": videos * pixels / 2**30,
        "footers GiB": videos * kept.footer / 2**30,
        "puts": shards * (ceil(settings.shard_videos * pixels / assumed.part_bytes) + 3),
        "gets to open": videos + 2 * shards,  # what lies around the frames, and the size
    }


def driver(videos: int, shards: float, assumed: Assumed, measured: Measured, kept: Kept) -> dict[str, float]:
    """What one process must do or hold: the ingest's driver, and every training worker."""
    return {
        "manifest, pickled GiB": videos * kept.entry / 2**30,
        "asking for every file, h": videos * assumed.stat_seconds / HOUR,
        "tasks": shards,
        "scheduling them, h": shards / assumed.tasks_per_second / HOUR,
        "ledger: quarantine files read": shards,
        "index, GiB a worker": videos * kept.row / 2**30,
        "opening it, h a worker": videos * measured.open_seconds / measured.open_videos / HOUR,
        "an epoch's order, GiB a worker": videos * (8 + 8 + 32) / 2**30,
    }


def work(videos: int, assumed: Assumed, measured: Measured, epochs: Epochs) -> dict[str, float]:
    """Hours of cores and GPUs, and what a GPU asks of its host."""
    seconds = clip_passes(assumed, measured, epochs)
    core_hours = videos * assumed.source_frames / measured.ingest_frames / HOUR
    gpu_hours = videos * sum(seconds.values()) / HOUR
    init_clips = measured.adversarial_clips / measured.init_share
    settings = IngestSettings()
    frame_bytes, shown = settings.short_side_px * assumed.width_px * 3, CLIP_FRAMES * settings.stride
    passes = assumed.inits * epochs.init + assumed.trials * epochs.adversarial + (assumed.trials + 1) * epochs.evaluate
    return {
        "ingest, core hours": core_hours,
        **{f"{phase}, GPU hours": videos * value / HOUR for phase, value in seconds.items()},
        "GPU hours": gpu_hours,
        "days on all GPUs": gpu_hours / assumed.gpus / 24,
        "clips read": videos * passes,
        "ingest cores a GPU, to keep its pace": core_hours / gpu_hours,
        "threads a GPU that read, phase 1": init_clips / measured.read_clips,
        "threads a GPU that read and augment, phase 1": init_clips / measured.augmented_clips,
        "the same, phase 2": measured.adversarial_clips / measured.augmented_clips,
        "network a GPU, phase 1, MB/s": init_clips * frame_bytes * CLIP_FRAMES / 1e6,
        "cores a GPU, did every pass decode the clip": init_clips * shown / measured.decode_frames,
        "cores a GPU, did every pass decode the video": init_clips * assumed.source_frames / measured.decode_frames,
    }


def money(
    store: Mapping[str, float], done: Mapping[str, float], kept_months: float, assumed: Assumed
) -> dict[str, float]:
    """Dollars."""
    bill = {
        "ingest cores, $": done["ingest, core hours"] * assumed.core_hour,
        "GPUs, $": done["GPU hours"] * assumed.gpu_hour,
        "storage, $": store["data GiB"] * assumed.gib_month * kept_months,
        "writing requests, $": store["puts"] * assumed.put,
        "reading requests, one a clip, $": done["clips read"] * assumed.get,
        "reading requests, opening, $": store["gets to open"] * assumed.gpus * assumed.runs * assumed.get,
    }
    return bill | {"all, $": sum(bill.values())}


def table(assumed: Assumed, measured: Measured, kept: Kept) -> str:
    """Every figure for 1 M clips with the paper's epochs and with one pass, and for 1 G with both."""
    settings = IngestSettings()
    columns: dict[str, dict[str, float]] = {}
    for name, videos in (("1 M", 10**6), ("1 G", 10**9)):
        for label, epochs in (("80 + 40 + 80", PAPER), ("1 + 1 + 1", ONE_PASS)):
            store = stored(videos, assumed, settings, kept)
            done = work(videos, assumed, measured, epochs)
            months = max(1.0, done["days on all GPUs"] / 30)
            whole = store | driver(videos, store["shards"], assumed, measured, kept) | done
            columns[f"{name}, {label} epochs"] = whole | money(store, done, months, assumed)
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name in next(iter(columns.values())):
        lines.append(f"| {name} | {' | '.join(_number(column[name]) for column in columns.values())} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def main(assumed: Assumed = Assumed(), measured: Measured = Measured()) -> None:
    """Print the tables.

    Args:
        assumed: change what is assumed
        measured: change what was measured
    """
    kept = measure_kept()
    print(f"{kept}\n\n{table(assumed, measured, kept)}")


if __name__ == "__main__":
    tyro.cli(main)
