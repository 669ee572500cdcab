"""What counts as done, what one file does to others, and what is said of those that are released."""

import os
import random
from pathlib import Path

import pytest

from pipelines.release.anonymize import anonymize
from pipelines.release.attempts import Attempts
from pipelines.release.inputs import list_inputs
from pipelines.release.keys import KeyFile
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.names import ReleaseItem, plain_names
from pipelines.release.settings import CLAIM, ReleaseSettings, provenance_of, release_claim
from pipelines.release.sidecar import file_digest, read_sidecar, source_if_done
from stprivacy.deploy.load import load_trained
from stprivacy.output_lock import OutputBusyError, output_lock
from stprivacy.storage import location, write_whole
from tests.support.bad_corpus import write_video
from tests.support.json_mutations import complaint_of, mutated
from tests.support.object_store_fixtures import served_bucket, upload
from tests.support.release_fixtures import (
    STRIDE,
    files_below,
    flip,
    reasons,
    release,
    release_orders,
    state,
)

SETTINGS = ReleaseSettings(keep_ratio=0.7, stride=STRIDE)


@pytest.fixture(scope="module")
def pair(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/a.mp4 and what it was released as, out/a.mp4 and out/a.json."""
    folder = tmp_path_factory.mktemp("pair")
    write_video(folder / "raw" / "a.mp4")
    release(run, folder / "raw", folder / "out")
    return folder


def is_done(folder: Path) -> bool:
    (item,) = plain_names(list_inputs(folder / "raw"))
    return source_if_done(item, folder / "out") is not None


@pytest.mark.parametrize("name", ["a.mp4", "a.json"])
def test_any_flipped_byte_of_what_is_out_means_that_it_is_not_done(pair: Path, name: str) -> None:
    assert is_done(pair)
    whole = (pair / "out" / name).read_bytes()
    chosen = random.Random(0).sample(range(len(whole)), 60)
    for at in (*chosen, 0, len(whole) - 1):
        flip(pair / "out" / name, at / len(whole) + 1e-9)
        assert (pair / "out" / name).read_bytes() != whole
        assert not is_done(pair), at
        (pair / "out" / name).write_bytes(whole)
    for other in (whole + b" ", whole[:-1], b""):
        (pair / "out" / name).write_bytes(other)
        assert not is_done(pair)
    (pair / "out" / name).write_bytes(whole)
    assert is_done(pair)


def test_a_source_that_became_a_pipe_is_not_waited_for(pair: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert source_if_done(ReleaseItem(str(tmp_path / "a.mp4"), "a.mp4", "a"), pair / "out") is None


def test_objects_are_done_by_their_versions_or_else_by_their_bytes(run: Path, pair: Path) -> None:
    with served_bucket() as bucket:
        raw, out = upload(pair / "raw", f"{bucket}/raw"), location(f"{bucket}/out")
        assert reasons(release(run, raw, out)) == {"a.mp4": ""}
        (item,) = plain_names(list_inputs(raw), out)
        told = read_sidecar(out / "a.json")
        assert source_if_done(item, out) == {name: told["source"][name] for name in ("bytes", "version")}
        upload(pair / "out", f"{bucket}/copy")  # whose sidecar knows of no versions
        assert source_if_done(item, location(f"{bucket}/copy")) == file_digest(pair / "raw" / "a.mp4")
        for changed in (out / "a.mp4", location(item.path)):
            whole = changed.read_bytes()
            write_whole(changed, whole[:-1] + bytes([whole[-1] ^ 1]))
            assert source_if_done(item, out) is None
            write_whole(changed, whole)
            assert source_if_done(item, out) is not None


def test_a_damaged_video_is_released_again_and_a_whole_one_left(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    items, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    anonymize(load_trained(run), items, out, SETTINGS)
    before = state(out)
    assert anonymize(load_trained(run), items, out, SETTINGS).done_before == 1
    assert state(out) == before
    whole = (out / "a.mp4").read_bytes()
    flip(out / "a.mp4")
    assert anonymize(load_trained(run), items, out, SETTINGS).done_before == 0
    assert (out / "a.mp4").read_bytes() == whole


def test_an_output_that_another_process_writes_to_is_refused_and_left_as_it_is(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    items, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    with output_lock(out):
        with pytest.raises(OutputBusyError, match=f"written to by process {os.getpid()}"):
            anonymize(load_trained(run), items, out, SETTINGS)
        assert files_below(out) == {".lock"}
    assert anonymize(load_trained(run), items, out, SETTINGS).released == 1
    assert files_below(out) == {CLAIM, "a.mp4", "a.json"}


def test_a_folder_whose_first_job_was_killed_at_once_can_be_used(run: Path, tmp_path: Path) -> None:
    provenance = provenance_of(load_trained(run), SETTINGS)
    (tmp_path / ".lock").touch()
    (tmp_path / f".{'0' * 16}.123-01234567.partial").touch()
    release_claim(provenance).make(tmp_path)
    (tmp_path / CLAIM).unlink()
    (tmp_path / ".mine.partial").touch()
    with pytest.raises(ValueError, match="not empty and does not hold a release"):
        release_claim(provenance).make(tmp_path)


def test_a_single_file_at_which_a_process_died_is_released_by_workers(
    ray_cluster: None, run: Path, tmp_path: Path
) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    items, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    release_claim(provenance_of(load_trained(run), SETTINGS)).make(out)
    Attempts(out).begin("a", alone=False)
    assert anonymize(load_trained(run), items, out, SETTINGS).released == 1
    assert files_below(out) == {CLAIM, "a.mp4", "a.json"}


def test_whatever_one_file_does_is_its_own_failure(run: Path, tmp_path: Path) -> None:
    good = write_video(tmp_path / "raw" / "good.mp4")
    (tmp_path / "out" / "blocked.json").mkdir(parents=True)
    items = [
        ReleaseItem(str(tmp_path / "no\0name.mp4"), "no\0name.mp4", "a"),
        ReleaseItem("ftp://nowhere/a.mp4", "a.mp4", "b"),
        ReleaseItem(str(good), "blocked.mp4", "blocked"),
        ReleaseItem("", "locked", "", "", "unreadable", "the folder cannot be read"),
        ReleaseItem(str(good), "good.mp4", "good"),
    ]
    outcomes = {one.shown: one for one in release_orders(run, items, tmp_path / "out")}
    assert {shown: one.error for shown, one in outcomes.items()} == {
        "no\0name.mp4": "failed",
        "a.mp4": "failed",
        "blocked.mp4": "not-written",
        "locked": "unreadable",
        "good.mp4": "",
    }
    assert outcomes["no\0name.mp4"].message == "ValueError: embedded null byte"
    assert files_below(tmp_path / "out") == {"good.mp4", "good.json"}
    ledger = ReleaseLedger(5, 0, tuple(one for one in outcomes.values() if one.error), 1.0, 0)
    assert r"  no\x00name.mp4: failed: ValueError: embedded null byte" in str(ledger).splitlines()


def test_a_damaged_note_or_key_file_is_refused_in_one_line_or_read(run: Path, tmp_path: Path) -> None:
    raw, keys, note = tmp_path / "raw", tmp_path / "keys.json", tmp_path / "out" / CLAIM
    write_video(raw / "a.mp4", frames=1)
    provenance = provenance_of(load_trained(run), SETTINGS)
    release_claim(provenance).make(tmp_path / "out")
    KeyFile(keys).release_items(list_inputs(raw))
    uses = (
        (note, lambda: release_claim(provenance).make(tmp_path / "out")),
        (keys, lambda: KeyFile(keys).release_items(list_inputs(raw))),
    )
    for path, use in uses:
        refused, whole, draw = 0, path.read_bytes(), random.Random(0)
        extremes = [b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", whole[: len(whole) // 2]]
        for content in [*extremes, *(mutated(whole, draw) for _ in range(300))]:
            path.write_bytes(content)
            complaint = complaint_of(use)
            refused += bool(complaint)
            assert not complaint or (str(path.parent) in complaint and "\n" not in complaint)
        assert refused > 150


def test_what_was_amiss_with_a_released_video_is_said_in_a_line(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "camera.h264")
    (outcome,) = release(run, tmp_path / "raw", tmp_path / "out")
    assert outcome.error == ""
    ledger = ReleaseLedger(25, 0, (), 1.0, 0, noted=(outcome,) * 25, passed_over={"hidden": 2})
    lines = str(ledger).splitlines()
    assert lines[:2] == ["25 files in = 25 released + 0 failed", "  passed over: 2 hidden"]
    assert lines[2].startswith("  camera.h264: released; its frames carry no times")
    assert lines[-1] == "  and 5 more released with such notes"
    assert len(lines) == 23
