"""The command: a dry run prints the ledger and does nothing; absent videos stop an ingest unless allowed."""

from pathlib import Path

import pytest

from pipelines.cli.ingest import ingest_command
from pipelines.data.index import VideoIndex
from pipelines.data.manifest import Sources
from pipelines.data.schema import IngestSettings
from tests.support.bad_corpus import write_video
from tests.support.command_fixtures import run_command
from tests.support.places import ANNOTATIONS
from tests.support.published_files import needs_real_files, write_hmdb51

SETTINGS = IngestSettings(short_side_px=32)
HMDB51 = {f"wave/(x)&{at}.avi": (1 + (at > 6), 1, 2) for at in range(14)}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Fourteen videos of which two are on disk."""
    for at in (0, 13):
        write_video(tmp_path / "videos" / "wave" / f"(x)&{at}.avi", frames=4)
    return Sources(tmp_path / "videos", write_hmdb51(tmp_path / "lists", HMDB51))


@needs_real_files
def test_a_dry_run_prints_the_ledger_of_the_real_hmdb51_without_videos(tmp_path: Path) -> None:
    options = ["--annotations", str(ANNOTATIONS), "--videos", str(tmp_path / "none")]
    done = run_command("ingest", "hmdb51", "--dry-run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "hmdb51: 6766 videos listed, 6766 with labels (51 actions, 5 attributes)"
    assert lines[1].startswith("split 1: 3570 train, 1530 test, 1666 unused; floors")
    assert "privacy_f1 0.696 (always yes), privacy_cmap 58.8 (prevalence)" in lines[1]
    assert lines[2].startswith("split 2: 3570 train, 1530 test, 1666 unused")
    assert lines[4:6] == ["on disk: 0 present, 6766 absent", "The first 10:"]
    assert len(lines) == 16
    assert not list(tmp_path.iterdir())


def test_a_dry_run_counts_what_is_there_and_starts_no_ray(
    sources: Sources, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cluster.start", lambda **_: pytest.fail("a dry run needs no Ray"))
    ingest_command("hmdb51", sources=sources, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "hmdb51: 14 videos listed, 14 with labels (1 actions, 5 attributes)"
    assert lines[1].startswith("split 1: 7 train, 7 test, 0 unused; floors")
    assert lines[2] == "split 2: 14 train, 0 test, 0 unused"
    assert lines[4] == "on disk: 2 present, 12 absent"
    assert lines[6].endswith("wave/(x)&1.avi")


def test_a_dry_run_of_a_csv_counts_its_rejections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["a.mp4,run,train,1", "a.mp4,run,train,1", "b.mp4,run,test,3"]
    (tmp_path / "list.csv").write_text("\n".join(["path,action,split,privacy_face", *rows]) + "\n")
    ingest_command("csv", sources=Sources(manifest=tmp_path / "list.csv"), dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "csv: 3 videos listed, 1 with labels (1 actions, 1 attributes)",
        "  duplicate 1: a.mp4 (this file is already listed above)",
        "  bad-label 1: b.mp4 (privacy labels must be 0 or 1, got face='3')",
        "split 1: 1 train, 0 test, 0 unused",
        "on disk: 0 present, 1 absent",
        "They are:",
        f"  {tmp_path / 'a.mp4'}",
    ]


def test_absent_videos_stop_an_ingest_before_anything_is_written(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 of 14 videos of hmdb51 are not on disk; --allow-missing") as caught:
        ingest_command("hmdb51", tmp_path / "out", sources, SETTINGS)
    assert len(str(caught.value).splitlines()) == 11
    assert not (tmp_path / "out").exists()


def test_only_a_dry_run_needs_no_output_folder(sources: Sources) -> None:
    with pytest.raises(ValueError, match="--out is missing"):
        ingest_command("hmdb51", sources=sources, allow_missing=True)


@pytest.mark.usefixtures("ray_cluster")
def test_allowed_to_be_missing_they_are_quarantined(
    sources: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest_command("hmdb51", tmp_path / "out", sources, SETTINGS, allow_missing=True)
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "14 videos in = 2 rows + 12 quarantined",
        "  split 1: 1 train, 1 test, 0 unused",
        "  split 2: 2 train, 0 test, 0 unused",
        "  split 3: 0 train, 2 test, 0 unused",
        "  missing  12  wave/(x)&1.avi, wave/(x)&2.avi, wave/(x)&3.avi and 9 more",
    ]
    index = VideoIndex(tmp_path / "out")
    assert [row.video_id for row in index.split("train", 1)] == ["wave/(x)&0.avi"]
    assert [row.video_id for row in index.split("test", 3)] == ["wave/(x)&0.avi", "wave/(x)&13.avi"]
