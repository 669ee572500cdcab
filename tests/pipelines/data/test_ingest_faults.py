"""What goes wrong on the way through Ray: no video is lost, no other is harmed, and one line says what happened."""

import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipelines.cli.ingest import ingest_command
from pipelines.data.decoder import PROCESS_MODULE
from pipelines.data.index import VideoIndex
from pipelines.data.ingest import IngestError, _write, ingest
from pipelines.data.manifest import Manifest, Sources, VideoEntry
from pipelines.data.schema import IngestSettings
from pipelines.data.shards import Shard, plan_shards
from pipelines.data.tasks import run_tasks
from stprivacy.output_lock import OutputBusyError, output_lock
from stprivacy.storage import partial_name
from tests.support.bad_corpus import write_video
from tests.support.ingest_fixtures import digests, fill_the_disk, read_rows, wait_for, write_csv, writer_of
from tests.support.places import FAULTS

SETTINGS = IngestSettings(stride=2, short_side_px=32, tubelet_frames=4, shard_videos=3, seconds_per_video=5)

pytestmark = pytest.mark.usefixtures("ray_cluster")


def readers_of(path: Path) -> list[psutil.Process]:
    """Processes that read a video for an ingest."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if PROCESS_MODULE in " ".join(process.info["cmdline"] or []):
                found += [process] * any(file.path == str(path) for file in process.open_files())
        except psutil.Error:
            continue
    return found


@contextmanager
def struck(path: Path, strike: Callable[[psutil.Process], None], times: int) -> Iterator[Counter[str]]:
    """Do something to the processes that read a video, so many times."""
    over = threading.Event()
    count: Counter[str] = Counter()

    def run() -> None:
        while count["strikes"] < times and not over.is_set():
            for process in readers_of(path):
                strike(process)
                count["strikes"] += 1
                wait_for("end of it", lambda process=process: over.is_set() or not readers_of(path))

    thread = threading.Thread(target=run)
    thread.start()
    yield count
    over.set()
    thread.join()


@pytest.mark.slow
def test_videos_that_kill_or_hold_up_their_readers_are_quarantined_and_the_others_are_rows(tmp_path: Path) -> None:
    names = [f"{name}.mp4" for name in ("a", "kills", "b", "holds-up", "c")]
    for name in names:
        long = name in ("kills.mp4", "holds-up.mp4")
        write_video(tmp_path / name, frames=1400 if long else 5, size=(320, 240) if long else (64, 48))
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    manifest, out = write_csv(tmp_path, [*names, "pipe.mp4", "dangling.mp4"]), tmp_path / "out"
    with (
        struck(tmp_path / "kills.mp4", psutil.Process.kill, 2) as killed,
        struck(tmp_path / "holds-up.mp4", psutil.Process.suspend, 1),
    ):
        ledger = ingest(manifest, out, SETTINGS)
    assert killed["strikes"] == 2
    assert [(row["video_id"], row["error"], row["message"]) for row in read_rows(out, "quarantine")] == [
        ("kills.mp4", "crashed", "it ended the process that reads videos, twice (SIGKILL, then SIGKILL)"),
        ("holds-up.mp4", "timed-out", "not read within 5 s"),
        ("pipe.mp4", "unreadable", "not a regular file"),
        ("dangling.mp4", "missing", f"a link to {tmp_path / 'gone.mp4'}, which does not exist"),
    ]
    assert str(ledger).splitlines() == [
        "7 videos in = 3 rows + 4 quarantined",
        "  split 1: 2 train, 1 test, 0 unused",
        "  crashed     1  kills.mp4",
        "  missing     1  dangling.mp4",
        "  timed-out   1  holds-up.mp4 (see --seconds-per-video)",
        "  unreadable  1  pipe.mp4",
    ]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert ingest(manifest, out, SETTINGS) == ledger
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    longer = ingest(manifest, out, replace(SETTINGS, seconds_per_video=60))
    assert (longer.rows, longer.reasons) == (4, {"crashed": 1, "missing": 1, "unreadable": 1})


@pytest.mark.skipif(not FAULTS.is_dir(), reason=f"the inputs that failed once are not at {FAULTS}")
def test_portrait_videos_and_those_beside_them_are_rows(tmp_path: Path) -> None:
    names = [str(path) for path in sorted((FAULTS / "orientation").iterdir())]
    ledger = ingest(write_csv(tmp_path, names), tmp_path / "out", SETTINGS)
    assert (ledger.rows, ledger.quarantined) == (len(names), 0)
    shapes = {Path(row.video_id).stem: row.shape[1:3] for row in VideoIndex(tmp_path / "out").rows}
    assert shapes["rot90"] == shapes["rot270"] == shapes["id"][::-1]


@pytest.mark.slow
def test_a_task_that_dies_every_time_ends_the_ingest_with_one_line_and_keeps_the_rest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [f"{at}.mp4" for at in range(12)]
    for at, name in enumerate(names):
        write_video(tmp_path / name, frames=600 if at == 4 else 5, size=(320, 240) if at == 4 else (64, 48))
    manifest, out = write_csv(tmp_path, names), tmp_path / "out"
    (_, doomed, *_) = plan_shards(manifest, SETTINGS)
    prefix = ".".join(partial_name(out / "videos" / doomed.name).name.split(".")[:2])
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not over.wait(0.005):
            for path in out.glob(f"videos/{prefix}.*"):
                pid = writer_of(path)
                if pid not in killed:
                    killed.append(pid)
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(IngestError, match=r"^Ray gave up a task, .* \(WorkerCrashedError: The worker died[^\n]*$"):
        ingest(manifest, out, SETTINGS)
    over.set()
    killer.join()
    assert len(killed) == 4
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not list(out.rglob("*.partial"))
    assert not (out / "dataset.json").exists()
    kept = digests(out / "videos")
    assert ingest(manifest, out, SETTINGS).rows == 12
    assert kept.items() <= digests(out / "videos").items()


def test_what_is_no_video_s_fault_ends_the_work_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    done = []
    with pytest.raises(IngestError, match=r"^No space left on device\. What is done is kept; run the same[^\n]*$"):
        done += [position for position, _ in run_tasks([0, 1], fill_the_disk, workers=1)]
    assert done in ([], [0])
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_shard_that_cannot_be_written_is_no_video_s_fault_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("videos", "quarantine"):
        (tmp_path / name).mkdir()
    path = write_video(tmp_path / "a.mp4", frames=400)
    shard = Shard("0.parquet", (VideoEntry("a", str(path), ("run",), b"\1", ("train",)),), ((0,),))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(IngestError, match=r"videos/0\.parquet cannot be written: .*File too large"):
            _write(shard, tmp_path, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.mp4", "quarantine", "videos"]


def test_a_second_ingest_into_the_same_folder_is_told_who_is_there(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4)
    manifest = write_csv(tmp_path, ["a.mp4"])
    with (
        output_lock(tmp_path / "out"),
        pytest.raises(OutputBusyError, match=rf"out is being written to by process {os.getpid()} on "),
    ):
        ingest(manifest, tmp_path / "out", SETTINGS)
    assert ingest(manifest, tmp_path / "out", SETTINGS).rows == 1


def test_an_ingest_of_no_row_is_an_error_after_its_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path, ["gone.mp4", "away.mp4"])
    with pytest.raises(ValueError, match=r"^no video became a row: the reasons are above"):
        ingest_command("csv", tmp_path / "out", Sources(manifest=tmp_path / "list.csv"), SETTINGS)
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "2 videos in = 0 rows + 2 quarantined",
        "  split 1: 0 train, 0 test, 0 unused",
        "  missing  2  gone.mp4, away.mp4",
    ]


def test_a_limit_that_a_video_exceeds_is_named_with_its_option(tmp_path: Path) -> None:
    for at in range(4):
        write_video(tmp_path / f"{at}.mp4", frames=30)
    ledger = ingest(
        write_csv(tmp_path, [f"{at}.mp4" for at in range(4)]), tmp_path / "out", replace(SETTINGS, max_seconds=1)
    )
    assert str(ledger).splitlines()[-1] == "  too-long  4  0.mp4, 1.mp4, 2.mp4 and 1 more (see --max-seconds)"


def test_a_video_that_was_locked_is_tried_again_once_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", frames=4)
    manifest = Manifest("one", ("run",), ("face",), (VideoEntry("a", str(path), ("run",), b"\1", ("train",)),))
    names = []
    for locked in (True, False):
        # Root reads what is locked, too.
        monkeypatch.setattr(os, "access", lambda path, mode, locked=locked: not locked)
        names += [shard.name for shard in plan_shards(manifest, SETTINGS)]
    assert names[0] != names[1]
