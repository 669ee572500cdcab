"""Ingest through Ray: the ledger, the layout on disk, and the same bytes whatever happened on the way."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.data.datasets import load_manifest
from pipelines.data.datasets.synth.settings import SynthSettings
from pipelines.data.datasets.synth.writer import generate
from pipelines.data.index import VideoIndex
from pipelines.data.ingest import Ledger, ingest
from pipelines.data.manifest import Manifest, Sources, VideoEntry
from pipelines.data.schema import IngestSettings
from stprivacy.video.sampled import read_video
from tests.support.bad_corpus import write_bad_corpus, write_video
from tests.support.ingest_fixtures import digests, read_rows, wait_for, write_csv, writer_of
from tests.support.places import CLIPS, ROOT

SETTINGS = IngestSettings(stride=2, short_side_px=32, tubelet_frames=4, shard_videos=3)

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Ten good videos of several lengths and sizes, and one that was cut."""
    folder = tmp_path_factory.mktemp("raw")
    names = [f"{at}.mp4" for at in range(10)]
    for at, name in enumerate(names):
        write_video(folder / name, frames=5 + at, size=(64 + 16 * (at % 3), 48), seed=at)
    whole = write_video(folder / "cut.mp4", frames=20).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return write_csv(folder, [*names[:4], "cut.mp4", *names[4:]])


@pytest.fixture(scope="module")
def finished(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    ingest(manifest, out, SETTINGS)
    return out


def test_every_video_is_a_row_or_in_quarantine(manifest: Manifest, finished: Path) -> None:
    ledger = ingest(manifest, finished, SETTINGS)
    assert ledger == Ledger(11, ({"train": 7, "test": 3, "unused": 0},), {"truncated": 1})
    assert str(ledger).splitlines() == [
        "11 videos in = 10 rows + 1 quarantined",
        "  split 1: 7 train, 3 test, 0 unused",
        "  truncated  1  cut.mp4",
    ]
    assert [row["video_id"] for row in read_rows(finished, "videos")] == [
        entry.video_id for entry in manifest.entries if entry.video_id != "cut.mp4"
    ]
    assert [row["error"] for row in read_rows(finished, "quarantine")] == ["truncated"]


def test_plain_pyarrow_reads_what_the_decoder_saw(manifest: Manifest, finished: Path) -> None:
    entries = {entry.video_id: entry for entry in manifest.entries}
    for row in read_rows(finished, "videos"):
        entry = entries[str(row["video_id"])]
        video = read_video(entry.path, stride=2, short_side_px=32, tubelet_frames=4)
        frames = np.frombuffer(row["frames"], np.uint8).reshape(row["shape"])
        assert np.array_equal(frames, video.frames)
        assert len(frames) % 4 == 0
        assert tuple(manifest.action_names[action] for action in row["actions"]) == entry.actions
        assert (bytes(row["privacy"]), tuple(row["splits"])) == (entry.privacy, entry.splits)
        assert (row["stride"], row["fps"], row["source_frames"]) == (2, 12.0, video.source_frames)
        slots = frames.reshape(len(frames) // 4, -1)
        assert row["slot_crc32"] == [zlib.crc32(slot.tobytes()) for slot in slots]
        assert row["checksum"] == hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
        assert row["person_boxes"] is row["privacy_frames"] is None


def test_frames_are_the_last_bytes_of_their_column_chunk(finished: Path) -> None:
    rows = 0
    for path in sorted((finished / "videos").glob("*.parquet")):
        content, metadata = path.read_bytes(), pq.read_metadata(path)
        leaves = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
        for number, row in enumerate(pq.read_table(path).to_pylist()):
            group = metadata.row_group(number)
            chunk = group.column(leaves.index("frames"))
            end = chunk.data_page_offset + chunk.total_compressed_size
            size = len(row["frames"])
            assert group.num_rows == 1
            assert chunk.compression == "UNCOMPRESSED"
            assert content[end - size : end] == row["frames"]
            assert content[end - size - 4 : end - size] == size.to_bytes(4, "little")
            rows += 1
    assert rows == 10


def test_the_reader_takes_it(finished: Path) -> None:
    index = VideoIndex(finished)
    assert (len(index.split("train")), len(index.split("test"))) == (7, 3)
    assert all(tuple(index.frames(row).shape) == row.shape for row in index.rows)


def test_a_finished_ingest_is_left_untouched(manifest: Manifest, finished: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in finished.rglob("*")}
    ingest(manifest, finished, SETTINGS)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in finished.rglob("*")} == before


def test_one_worker_and_many_write_the_same_bytes(manifest: Manifest, finished: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    ingest(manifest, tmp_path / "out", SETTINGS, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert digests(tmp_path / "out") == digests(finished)
    assert [seen[0], seen[-1]] == [(0, 11), (11, 11)]


def test_an_interrupted_ingest_continues_with_what_is_missing(
    manifest: Manifest, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ingest(manifest, out, SETTINGS)
    videos = sorted((out / "videos").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in videos[2:]}
    # What a killed run leaves: no description, a pair without its mark, no pair, a half-written file.
    (out / "dataset.json").unlink()
    videos[0].unlink()
    videos[1].unlink()
    (out / "quarantine" / videos[1].name).unlink()
    (out / "videos" / ".0123456789abcdef.123-01234567.partial").write_bytes(b"half")
    ingest(manifest, out, SETTINGS)
    assert digests(out) == digests(finished)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_shards_of_changed_input_are_replaced(tmp_path: Path) -> None:
    names = [f"{at}.mp4" for at in range(5)]
    for name in names:
        write_video(tmp_path / name, frames=4)
    out = tmp_path / "out"
    ingest(write_csv(tmp_path, names), out, SETTINGS)
    before = sorted(path.name for path in (out / "videos").iterdir())
    write_video(tmp_path / "4.mp4", frames=8)
    ledger = ingest(write_csv(tmp_path, names), out, SETTINGS)
    after = sorted(path.name for path in (out / "videos").iterdir())
    assert ledger.rows == 5
    assert (before[0], len(after)) == (after[0], 2)
    assert before[1] != after[1]
    assert [row["source_frames"] for row in read_rows(out, "videos")] == [4, 4, 4, 4, 8]


def test_other_settings_in_the_same_folder_are_one_clear_error(manifest: Manifest, finished: Path) -> None:
    before = digests(finished)
    with pytest.raises(ValueError, match=r"other settings \(settings.stride was 2, now 3\).*another --out"):
        ingest(manifest, finished, IngestSettings(stride=3, short_side_px=32, tubelet_frames=4, shard_videos=3))
    assert digests(finished) == before


def test_a_folder_of_an_older_format_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "ingest.json").write_text('{"format_version": 1, "dataset": "csv", "settings": {}}')
    with pytest.raises(ValueError, match="begun in format 1, this program writes 3: choose another --out"):
        ingest(manifest, tmp_path, SETTINGS)


def test_several_splits_actions_and_frame_labels_are_stored(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=7)
    write_video(tmp_path / "b.mp4", frames=4)
    frames = [[0, 1], [0, 0], [1, 0], [1, 0], [1, 1]]  # the annotation ends before the video does
    entries = (
        VideoEntry("a", str(tmp_path / "a.mp4"), ("run", "hop"), b"\1\0", ("train", "unused"), None, frames),
        VideoEntry("b", str(tmp_path / "b.mp4"), ("sit",), b"\0\1", ("test", "train")),
        VideoEntry("c", str(tmp_path / "gone.mp4"), ("sit",), b"\0\1", ("test", "train")),
    )
    manifest = Manifest("many", ("hop", "run", "sit"), ("face", "skin"), entries, multi_label=True)
    ledger = ingest(manifest, tmp_path / "out", SETTINGS)
    assert str(ledger).splitlines() == [
        "3 videos in = 2 rows + 1 quarantined",
        "  split 1: 1 train, 1 test, 0 unused",
        "  split 2: 1 train, 0 test, 1 unused",
        "  missing  1  c",
    ]
    first, second = read_rows(tmp_path / "out", "videos")
    assert (first["actions"], first["privacy"], first["splits"]) == ([1, 0], [1, 0], ["train", "unused"])
    assert first["privacy_frames"] == [frames[0], frames[2], frames[4], frames[4]]  # stride 2
    assert second["privacy_frames"] is None
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (description["multi_label"], description["splits"]) == (True, 2)
    assert description["split_counts"] == list(ledger.splits)
    assert len(VideoIndex(tmp_path / "out").split("train", 2)) == 1


def test_other_labels_of_the_same_videos_are_another_data_set(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=4)
    fingerprints = set()
    for label in (b"\0", b"\1"):
        manifest = Manifest("one", ("run",), ("face",), (VideoEntry("a", str(path), ("run",), label, ("train",)),))
        ingest(manifest, tmp_path / "out", SETTINGS)
        fingerprints.add(VideoIndex(tmp_path / "out").description.fingerprint)
    assert len(fingerprints) == 2


def test_a_folder_of_something_else_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty"):
        ingest(manifest, tmp_path, SETTINGS)


def test_the_bad_corpus_ends_in_quarantine_with_its_reasons(tmp_path: Path) -> None:
    corpus = write_bad_corpus(tmp_path / "raw")
    write_video(tmp_path / "raw" / "one.mp4", frames=1)
    manifest = write_csv(
        tmp_path / "raw", ["target.mp4", *(bad.name for bad in corpus), "one.mp4", "gone.mp4", "one.mp4"]
    )
    ledger = ingest(manifest, tmp_path / "out", SETTINGS)
    quarantine = [(row["video_id"], row["error"]) for row in read_rows(tmp_path / "out", "quarantine")]
    assert quarantine == [*((bad.name, bad.error) for bad in corpus), ("gone.mp4", "missing"), ("one.mp4", "duplicate")]
    assert [row["video_id"] for row in read_rows(tmp_path / "out", "videos")] == ["target.mp4", "one.mp4"]
    assert (ledger.videos_in, ledger.rows, ledger.quarantined) == (len(corpus) + 4, 2, len(corpus) + 2)


def test_person_boxes_follow_the_sampled_frames(tmp_path: Path) -> None:
    generate(tmp_path / "raw", SynthSettings(train_videos=2, test_videos=1), lambda *_: None, 1)
    manifest = load_manifest("vp-synth", Sources(tmp_path / "raw" / "videos", tmp_path / "raw" / "annotations"))
    ledger = ingest(manifest, tmp_path / "out", SETTINGS)
    assert ledger.splits == ({"train": 2, "test": 1, "unused": 0},)
    for row, entry in zip(read_rows(tmp_path / "out", "videos"), manifest.entries, strict=True):
        sampled = [np.float32(boxes).tolist() for boxes in entry.person_boxes[::2]]
        assert row["person_boxes"][: len(sampled)] == sampled
        assert row["person_boxes"][len(sampled) :] == sampled[-1:] * (row["shape"][0] - len(sampled))


@pytest.fixture(scope="module")
def long_manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Copies of one longer video: quick to write, and work enough to be interrupted in."""
    folder = tmp_path_factory.mktemp("long")
    source = write_video(folder / "source.mp4", frames=200, size=(320, 240))
    names = [f"{at}.mp4" for at in range(60)]
    for name in names:
        shutil.copy(source, folder / name)  # a link would be a duplicate
    return write_csv(folder, names)


@pytest.fixture(scope="module")
def undisturbed(long_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    ingest(long_manifest, out, SETTINGS)
    return digests(out)


@pytest.mark.slow
def test_a_killed_task_is_run_again_with_equal_output(
    long_manifest: Manifest, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed: list[int] = []

    def kill() -> None:
        wait_for("task", lambda: any((out / "videos").glob(".*.partial")))
        for path in (out / "videos").glob(".*.partial"):
            os.kill(writer_of(path), signal.SIGKILL)
            killed.append(1)
            return

    killer = threading.Thread(target=kill)
    killer.start()
    ledger = ingest(long_manifest, out, SETTINGS)
    killer.join()
    assert killed
    assert ledger.rows == 60
    assert digests(out) == undisturbed


@pytest.mark.slow
def test_a_killed_driver_s_work_is_continued_to_equal_output(
    long_manifest: Manifest, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    folder, out = Path(long_manifest.entries[0].path).parent, tmp_path / "out"
    command = [sys.executable, "jobs/ingest.py", "csv", "--manifest", str(folder / "list.csv"), "--out", str(out)]
    command += [
        "--stride",
        "2",
        "--short-side-px",
        "32",
        "--tubelet-frames",
        "4",
        "--shard-videos",
        "3",
        "--workers",
        "1",
    ]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("shard", lambda: any((out / "videos").glob("0*.parquet")) or driver.poll() is not None)
    driver.kill()
    driver.wait()
    done = len(list((out / "videos").glob("0*.parquet")))
    assert 0 < done < 20
    assert not (out / "dataset.json").exists()
    assert ingest(long_manifest, out, SETTINGS).rows == 60
    assert digests(out) == undisturbed


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"the real clips are not at {CLIPS}")
def test_real_clips_are_ingested(tmp_path: Path) -> None:
    names = sorted(path.name for path in CLIPS.iterdir())
    rows = [f"{name},run,train,0" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["path,action,split,privacy_face", *rows]) + "\n")
    manifest = load_manifest("csv", Sources(videos=CLIPS, manifest=tmp_path / "list.csv"))
    ledger = ingest(manifest, tmp_path / "out", SETTINGS)
    assert (ledger.rows, ledger.reasons) == (7, {"no-video-stream": 1})
