"""Damaged videos through jobs/ingest.py and jobs/anonymize.py: every one accounted for, and nothing half-done.

python -m benchmarks.fuzz --clips DIR --out DIR: the first two seconds of each clip are put into several containers, and
the files damaged at random, from a seed: bits flipped, ranges zeroed, dropped, repeated or overwritten, ends cut off,
header fields set to extremes, two files joined. Checked is that N files in are N rows and quarantined ones, or N
released and named ones; that every row can be read and every released video decoded to its last frame; that no partial
file and no process is left; and that no command takes longer than its limit.
"""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import tyro
from av.error import FFmpegError

from benchmarks.machine import machine_line
from benchmarks.processes import Watched, watched
from benchmarks.release import write_run
from pipelines.cluster import ROOT
from pipelines.data.index import VideoIndex
from pipelines.recipes.named import RECIPES

CONTAINERS = (".mp4", ".mkv", ".ts", ".avi", ".flv")
CLIP_SECONDS = 2.0
LIMIT_SECONDS = 600
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEADER_BYTES = 4096
HEAD = "| job | files in | done | named | seconds | peak MiB | left behind |\n|---|---|---|---|---|---|---|"

Mutation = Callable[[random.Random, bytes, bytes], bytes]


@dataclass(frozen=True)
class Outcome:
    """What became of the files in a job: done and named ones, the latter by reason, and complaints about the job."""

    files_in: int
    done: int
    reasons: Counter[str]
    cost: Watched
    complaints: tuple[str, ...]

    def row(self, job: str) -> str:
        """A row of the table."""
        left = "; ".join(self.complaints) or "nothing"
        cost = f"{self.cost.seconds:.0f} | {self.cost.peak_mib:.0f}"
        return f"| {job} | {self.files_in} | {self.done} | {sum(self.reasons.values())} | {cost} | {left} |"

    @property
    def holds(self) -> bool:
        """True if all files are accounted for and nothing is to complain of."""
        return self.files_in == self.done + sum(self.reasons.values()) and not self.complaints


def sources(clips: Path, folder: Path) -> list[Path]:
    """The start of every clip below a folder in each container that takes its codec, written to another."""
    folder.mkdir(parents=True)
    made = []
    for number, clip in enumerate(sorted(path for path in clips.rglob("*") if path.is_file())):
        for suffix in CONTAINERS:
            target = folder / f"{number:02d}{suffix}"
            try:
                _remux(clip, target)
                made.append(target)
            except (FFmpegError, ValueError, IndexError):
                target.unlink(missing_ok=True)  # no video, or a codec that this container has no room for
    if not made:
        raise ValueError(f"{clips} holds no video: give a folder of real clips as --clips")
    return made


def _remux(clip: Path, target: Path) -> None:
    with av.open(str(clip)) as source, av.open(str(target), "w") as container:
        stream = source.streams.video[0]
        copied = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is None or (packet.time_base and packet.dts * packet.time_base > CLIP_SECONDS):
                break
            packet.stream = copied
            container.mux(packet)


def _flip(rng: random.Random, content: bytes, other: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 8, 64, 512))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _set_field(rng: random.Random, content: bytes, other: bytes) -> bytes:
    damaged = bytearray(content)
    near = min(HEADER_BYTES, len(damaged) - 8)
    for _ in range(rng.choice((1, 2, 4))):
        at = rng.choice((rng.randrange(near), len(damaged) - 8 - rng.randrange(near)))
        size = rng.choice((1, 2, 4, 8))
        value = rng.choice(EXTREMES) % 256**size
        damaged[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))
    return bytes(damaged)


def _overwrite(rng: random.Random, content: bytes, other: bytes) -> bytes:
    first, last = _range(rng, content)
    filler = rng.choice((bytes(last - first), rng.randbytes(last - first)))
    return content[:first] + filler + content[last:]


def _drop(rng: random.Random, content: bytes, other: bytes) -> bytes:
    first, last = _range(rng, content)
    return content[:first] + content[last:]


def _repeat(rng: random.Random, content: bytes, other: bytes) -> bytes:
    first, last = _range(rng, content)
    return content[:last] + content[first:]


def _cut(rng: random.Random, content: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(content))
    return rng.choice((content[:at], content[at:]))


def _join(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _set_field, _overwrite, _drop, _repeat, _cut, _join)


def _range(rng: random.Random, content: bytes) -> tuple[int, int]:
    first = rng.randrange(len(content))
    return first, min(len(content), first + 1 + rng.randrange(rng.choice((16, 1024, len(content)))))


def write_damaged(made: Sequence[Path], folder: Path, mutations: int, seed: int) -> list[Path]:
    """So many damaged files, and each source as it is."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    contents = [path.read_bytes() for path in made]
    files = []
    for number in range(mutations):
        which = rng.randrange(len(made))
        mutate = MUTATIONS[number % len(MUTATIONS)]
        path = folder / f"{number:05d}-{mutate.__name__.strip('_')}{made[which].suffix}"
        path.write_bytes(mutate(rng, contents[which], rng.choice(contents)))
        files.append(path)
    for path, content in zip(made, contents, strict=True):
        whole = folder / f"whole-{path.name}"
        whole.write_bytes(content)
        files.append(whole)
    return files


def run_ingest(files: Sequence[Path], folder: Path, seconds_limit: float) -> Outcome:
    """All files through jobs/ingest.py."""
    manifest, out = folder / "manifest.csv", folder / "data"
    parts = ("train", "test")
    rows = [f"{path},action,{parts[number % 2]},{number // 2 % 2}" for number, path in enumerate(files)]
    manifest.write_text("\n".join(["path,action,split,privacy_label", *rows]) + "\n")
    cost, complaints = _run(["ingest.py", "csv", "--manifest", str(manifest), "--out", str(out)], folder, seconds_limit)
    if complaints:
        return Outcome(len(files), 0, Counter(), cost, complaints)
    index = VideoIndex(out)
    unread = [row for row in index.rows if index.frames(row).shape != row.shape]
    complaints += tuple(f"{row.video_id} cannot be read" for row in unread)
    counts = json.loads((out / "dataset.json").read_text())["counts"]
    if counts["rows"] != len({row.video_id for row in index.rows}):
        complaints += ("rows are doubled or lost",)
    return Outcome(len(files), len(index.rows), _quarantined(out), cost, complaints + _left(out))


def _quarantined(out: Path) -> Counter[str]:
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, columns=["error"]) for path in sorted((out / "quarantine").glob("*.parquet"))]
    return Counter(error for table in tables for error in table.column("error").to_pylist())


def run_release(files: Sequence[Path], folder: Path, seconds_limit: float) -> Outcome:
    """All files through jobs/anonymize.py, with an untrained network of the demo's size."""
    run, out = write_run(folder / "run", RECIPES["demo"]().adversarial), folder / "released"
    words = ["anonymize.py", "--from", str(run), "--input", str(files[0].parent), "--output", str(out)]
    cost, complaints = _run([*words, "--stride", "2", "--quiet"], folder, seconds_limit, statuses=(0, 1))
    if complaints:
        return Outcome(len(files), 0, Counter(), cost, complaints)
    failures = folder / "released-failures.json"
    named = json.loads(failures.read_text()) if failures.exists() else []
    released = sorted(out.rglob("*.mp4"))
    complaints += tuple(fault for video in released for fault in _released_faults(video))
    return Outcome(len(files), len(released), Counter(one["error"] for one in named), cost, complaints + _left(out))


def _released_faults(video: Path) -> Iterator[str]:
    told = json.loads(video.with_suffix(".json").read_text())
    try:
        with av.open(str(video)) as container:
            frames = sum(1 for _ in container.decode(video=0))
        if frames != told["frames"]:
            yield f"{video.name} has {frames} of {told['frames']} frames"
    except FFmpegError as error:
        yield f"{video.name} cannot be decoded: {error}"


def _run(
    words: Sequence[str], folder: Path, seconds_limit: float, statuses: Sequence[int] = (0,)
) -> tuple[Watched, tuple[str, ...]]:
    """What a job cost, and what is to complain of: its status, the time it took, a process that outlived it."""
    command = ["timeout", f"{seconds_limit:g}", sys.executable, str(ROOT / "jobs" / words[0]), *words[1:]]
    log = folder / f"{words[0]}.log"
    try:
        cost = watched(command, log, statuses)
    except RuntimeError as error:
        return Watched(0.0, 0.0), (str(error),)
    traced = "Traceback" in log.read_text(errors="replace")
    return cost, ("it printed a traceback",) if traced else ()


def _left(out: Path) -> tuple[str, ...]:
    """Files that no finished job leaves."""
    return tuple(f"{path.name} is left" for path in out.rglob("*.partial"))


def main(clips: Path, out: Path, mutations: int = 1000, seed: int = 0, seconds_limit: float = LIMIT_SECONDS) -> None:
    """Damage files, run both jobs over them and print the table; status 1 if one is not accounted for.

    Args:
        clips: folder of real clips
        out: new folder for the files and what the jobs make of them
        mutations: damaged files
        seed: of the damage
        seconds_limit: of one job
    """
    if out.exists():
        raise ValueError(f"{out} exists: give a new folder as --out")
    folder = out.resolve()
    files = write_damaged(sources(clips, folder / "sources"), folder / "videos", mutations, seed)
    jobs = {"ingest": run_ingest, "anonymize": run_release}
    outcomes = {name: run(files, folder, seconds_limit) for name, run in jobs.items()}
    print(HEAD, *(outcome.row(name) for name, outcome in outcomes.items()), sep="\n")
    for name, outcome in outcomes.items():
        print(f"\n{name}: {', '.join(f'{reason} {count}' for reason, count in outcome.reasons.most_common())}")
    print(
        f"\n{mutations} mutations, seed {seed}, and {len(files) - mutations} whole files. {machine_line('av', 'ray')}"
    )
    if not all(outcome.holds for outcome in outcomes.values()):
        sys.exit(1)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except (ValueError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
