"""Whole-process speed and peak memory of jobs/anonymize.py, beside the face blurrer `deface` on the same video.

python -m benchmarks.release --out DIR: an H.264 video of 340 x 256 at 30 frames/s is anonymized at the paper's size
(ViT-S, clips of 16 frames), every 2nd frame sampled, and by deface in an environment of its own below DIR, at its
defaults with whichever of its two CPU back ends is the faster here. The weights are random: they cost what trained
ones do. A rate is that of source frames, over the seconds from the command's start to its exit; nothing else is
measured meanwhile. Memory is that of runs of their own (see benchmarks.processes). Targets: 4 times deface's rate, and
a video of 30 minutes takes at most 1.10 times the memory of a minute's.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import av
import torch
import tyro

from benchmarks.decode import write_clip
from benchmarks.machine import machine_line
from benchmarks.processes import Watched, timed, watched
from pipelines.cluster import ROOT
from pipelines.recipes.named import RECIPES
from pipelines.runs.config import AdversarialRun
from pipelines.runs.folder import CHECKPOINTS, CONFIG, RESULT, write_json
from stprivacy.anonymizers import LEARNED
from stprivacy.checkpoint import ABOUT, save
from stprivacy.phases.loop import collect_weights
from stprivacy.plain import to_dict

SPEED_TARGET, MEMORY_TARGET = 4.0, 1.10
FPS, WIDTH, HEIGHT, LOOP_SECONDS, MINUTE = 30, 340, 256, 10, 60
STRIDE = 2
HEAD = (
    "| whole process | source frames | seconds | of which start-up | source frames/s | to deface | target | peak MiB |"
)
MEMORY_HEAD = "| video | peak MiB | ratio | target |"
BACKENDS = ("opencv", "onnxrt")
# All of what deface 1.5.0 needs, as pip chose it in 2026-11; OpenCV's headless build is the same code without windows.
DEFACE = (
    *("deface==1.5.0", "opencv-python-headless==5.0.0.93", "onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6"),
    *("imageio==2.38.1", "imageio-ffmpeg==0.8.1", "scikit-image==0.26.0", "scipy==1.17.1", "networkx==3.6.1"),
    *("pillow==13.0.0", "tifffile==2026.3.3", "lazy-loader==0.6", "packaging==26.3", "tqdm==4.70.1"),
    *("flatbuffers==25.12.19", "protobuf==7.36.2", "ml_dtypes==0.6.0", "typing_extensions==4.16.0"),
)


Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Tool:
    """A program that anonymizes; `command` is its command line for a video and the folder to write to."""

    name: str
    command: Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Speed:
    """Wall seconds for a video of so many frames and for one of a second, and the peak of a run on a minute."""

    frames: int
    seconds: float
    start_up_seconds: float
    peak_mib: float


def write_run(folder: Path, trained: AdversarialRun | None = None) -> Path:
    """The folder of an adversarial run (default: of the recipe `paper`), as if trained: its weights are random."""
    trained = trained or RECIPES["paper"]().adversarial
    config = replace(trained, model=replace(trained.model, pretrained=""))
    torch.manual_seed(config.seed)
    weights = collect_weights({"anonymizer": LEARNED["stprivacy"](config.model)})
    about = {"actions": ["none"], "attributes": ["none"], "clip": to_dict(config.model.clip)}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, to_dict(config))
    save(folder / CHECKPOINTS, 1, weights, {ABOUT: about})
    write_json(folder / RESULT, config.parameters() | {"dataset": "none", "data_fingerprint": "untrained"})
    return folder


def write_video(path: Path, seconds: int) -> Path:
    """H.264 of so many seconds, in loops of ten: frames are encoded for the first and copied for the others.

    Raises: ValueError: seconds is neither below ten nor a multiple.
    """
    loop_seconds = min(seconds, LOOP_SECONDS)
    if seconds < 1 or seconds % loop_seconds:
        raise ValueError(f"the length of a video must be a multiple of {LOOP_SECONDS} seconds, got {seconds}")
    loop = path.with_name(f"loop-{loop_seconds}.mp4")
    write_clip(loop, loop_seconds * FPS, WIDTH, HEIGHT)
    with av.open(str(path), "w") as target:
        for turn in range(seconds // loop_seconds):
            with av.open(str(loop)) as source:
                stream = source.streams.video[0]
                assert stream.time_base
                if turn == 0:
                    copied = target.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue  # the end of the loop
                    shift = round(turn * loop_seconds / stream.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copied
                    target.mux(packet)
    return path


def video_of(folder: Path, seconds: int) -> Path:
    """The video of so many seconds in a folder, made if it is not there."""
    path = folder / f"video-{seconds}s.mp4"
    if not path.is_file():
        write_video(folder / "unfinished.mp4", seconds).rename(path)
    return path


def check_video(folder: Path, seconds: int) -> None:
    """Decode the one video in a folder. Raises: RuntimeError: there is none, or it does not last as long as it should.

    A clip more is allowed: the last one is filled up.
    """
    videos = list(folder.glob("*.mp4"))
    if len(videos) != 1:
        raise RuntimeError(f"{folder} should hold one video, but has {len(videos)}: see {folder}.log")
    with av.open(str(videos[0])) as container:
        stream = container.streams.video[0]
        decoded = sum(1 for _ in container.decode(stream))
        lasts = decoded / float(stream.average_rate or FPS)
    clip_seconds = RECIPES["paper"]().adversarial.model.clip.frames * STRIDE / FPS
    if not seconds - STRIDE / FPS <= lasts <= seconds + clip_seconds:
        raise RuntimeError(f"{videos[0]} lasts {lasts:.2f} s, its source {seconds} s")


def our_tool(run: Path, keep_ratio: float, workers: int | None) -> Tool:
    """jobs/anonymize.py at a keep ratio."""

    def command(video: Path, out: Path) -> list[str]:
        words = [sys.executable, str(ROOT / "jobs" / "anonymize.py"), "--from", str(run), "--input", str(video)]
        words += ["--output", str(out), "--keep-ratio", f"{keep_ratio:g}", "--stride", str(STRIDE), "--quiet"]
        return words if workers is None else [*words, "--workers", str(workers)]

    return Tool(f"ours, keep ratio {keep_ratio:g}", command)


def deface_tool(environment: Path, backend: str) -> Tool:
    """The program in an environment, with a back end, all else at its defaults."""

    def command(video: Path, out: Path) -> list[str]:
        program = str(environment / "bin" / "deface")
        return [program, str(video), "-o", str(out / "released.mp4"), "--backend", backend]

    return Tool(f"{DEFACE[0].replace('==', ' ')}, {backend}", command)


def install_deface(environment: Path) -> None:
    """Make an environment of the versions above, unless it is there."""
    done, wanted = environment / "installed.txt", "\n".join(DEFACE)
    if done.is_file() and done.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    install = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", *DEFACE]
    subprocess.run(install, check=True)
    done.write_text(wanted)


def measured(how: Callable[[Sequence[str], Path], Measured], tool: Tool, folder: Path, seconds: int) -> Measured:
    """What `timed` or `watched` gives for a tool on the video of so many seconds.

    Raises: RuntimeError: the tool failed, or its video is not as long as its source.
    """
    out = folder / "released"
    shutil.rmtree(out, ignore_errors=True)  # nothing is done by an earlier command
    out.mkdir()
    print(f"{tool.name}: {seconds} s of video", file=sys.stderr)
    result = how(tool.command(video_of(folder, seconds), out), out.with_suffix(".log"))
    check_video(out, seconds)
    return result


def speed_of(tool: Tool, folder: Path, seconds: int, minute: Watched) -> Speed:
    """Time it on the video and on a second."""
    whole, second = (measured(timed, tool, folder, length) for length in (seconds, 1))
    return Speed(seconds * FPS, whole, second, minute.peak_mib)


def speed_table(speeds: Mapping[str, Speed], rival: str = "") -> str:
    """A row for each tool by name; the target is for the first one, against the one named `rival`, if any."""
    lines = [HEAD, "|---|---|---|---|---|---|---|---|"]
    for number, (name, speed) in enumerate(speeds.items()):
        rate = speed.frames / speed.seconds
        ratio = f"{rate * speeds[rival].seconds / speeds[rival].frames:.2f}" if rival else ""
        target = f"≥ {SPEED_TARGET:.2f}" if rival and number == 0 else ""
        took = f"{speed.frames} | {speed.seconds:.1f} | {speed.start_up_seconds:.1f} | {rate:.1f}"
        lines.append(f"| {name} | {took} | {ratio} | {target} | {speed.peak_mib:.0f} |")
    return "\n".join(lines)


def cost_line(seconds: Mapping[float, float]) -> str:
    """Seconds by keep ratio, as parts of those at the highest."""
    whole = seconds[max(seconds)]
    parts = [f"{seconds[ratio] / whole:.2f} at {ratio:g}" for ratio in sorted(seconds, reverse=True)]
    return f"Seconds by keep ratio, of the same weights: {', '.join(parts)}"


def memory_table(minute_mib: float, long_seconds: int, long_mib: float) -> str:
    """The peaks of a minute and of the long video."""
    long = f"| {long_seconds / MINUTE:g} min | {long_mib:.0f} | {long_mib / minute_mib:.2f} | ≤ {MEMORY_TARGET:.2f} |"
    return "\n".join([MEMORY_HEAD, "|---|---|---|---|", f"| 1 min | {minute_mib:.0f} | 1.00 | |", long])


def main(
    out: Path,
    seconds: int = 240,
    long_seconds: int = 1800,
    keep_ratios: tuple[float, ...] = (0.7, 0.9, 0.5),
    workers: int | None = None,
    deface: bool = True,
) -> None:
    """Measure and print the tables.

    Args:
        out: folder for the run, the videos and deface's environment; what is there is used again
        seconds: length of the video that speed is measured on, a multiple of ten
        long_seconds: length of the one that memory is measured on beside a minute; 0: leave that out
        keep_ratios: the first one is compared
        workers: of jobs/anonymize.py, by default its own choice
        deface: install and run it, too
    """
    folder = out.resolve()
    run = write_run(folder / "run")
    for length in (1, MINUTE, seconds, long_seconds or MINUTE):
        video_of(folder, length)
    tools = {ratio: our_tool(run, ratio, workers) for ratio in keep_ratios}
    minutes = {tool.name: measured(watched, tool, folder, MINUTE) for tool in tools.values()}
    speeds = {tool.name: speed_of(tool, folder, seconds, minutes[tool.name]) for tool in tools.values()}
    rival = _against_deface(folder, seconds, speeds) if deface else ""
    print(f"\n{WIDTH} x {HEIGHT} at {FPS} frames/s; start-up: a video of 1 s; peak: PSS of all processes, 1 min\n")
    print(f"{speed_table(speeds, rival)}\n\n{cost_line({r: speeds[tools[r].name].seconds for r in tools})}")
    if long_seconds:
        compared = tools[keep_ratios[0]]
        long = measured(watched, compared, folder, long_seconds)
        print(f"\n{compared.name}\n\n{memory_table(minutes[compared.name].peak_mib, long_seconds, long.peak_mib)}")
    print(f"\n{machine_line('torch', 'ray', 'av')}")


def _against_deface(folder: Path, seconds: int, speeds: dict[str, Speed]) -> str:
    """Add the speed of deface, with the back end that is the faster on a minute; returns its name."""
    install_deface(folder / "deface-env")
    tools = [deface_tool(folder / "deface-env", backend) for backend in BACKENDS]
    minutes = [(measured(watched, tool, folder, MINUTE), tool) for tool in tools]
    for minute, tool in minutes:
        print(f"{tool.name}: {MINUTE * FPS / minute.seconds:.1f} source frames/s on a minute")
    minute, tool = min(minutes, key=lambda pair: pair[0].seconds)
    speeds[tool.name] = speed_of(tool, folder, seconds, minute)
    return tool.name


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except ValueError as error:
        sys.exit(f"error: {error}")
