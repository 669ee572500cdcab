"""Releases through Ray: every file accounted for, interrupted and continued, in buckets, and on the command line."""

import json
import os
import re
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import ray
import torch

from pipelines.release.attempts import Attempts
from pipelines.release.inputs import list_inputs
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.names import plain_names
from pipelines.release.settings import ReleaseSettings, WorkerOptions
from pipelines.release.sidecar import unpack_keep
from stprivacy.deploy.deployed import Deployed
from stprivacy.deploy.load import load_trained
from stprivacy.storage import location
from stprivacy.video.timed import TimedVideo
from tests.support.bad_corpus import write_video
from tests.support.object_store_fixtures import contents, served_bucket, upload
from tests.support.places import ROOT
from tests.support.release_fixtures import STRIDE, files_below, flip, frame_count, sidecar, state, write_run

SETTINGS = ReleaseSettings(keep_ratio=0.7, stride=STRIDE)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos of several lengths, sizes, rates and folders, and one that was cut."""
    folder = tmp_path_factory.mktemp("raw")
    for at in range(7):
        name = f"{'sub/' if at % 3 == 0 else ''}{at}.mp4"
        write_video(folder / name, frames=9 + 13 * at, size=(64 + 16 * (at % 3), 48), fps=12 + at, seed=at)
    whole = write_video(folder / "cut.mp4", frames=40).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def anonymize(run: Path, source: Path, out: Path, settings: ReleaseSettings = SETTINGS) -> ReleaseLedger:
    from pipelines.release.anonymize import anonymize as through_ray

    items = plain_names(list_inputs(source))
    return through_ray(load_trained(run), items, out, settings, where=WorkerOptions(workers=2))


@pytest.fixture(scope="module")
def released(ray_cluster: None, run: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released") / "out"
    ledger = anonymize(run, raw, out)
    assert str(ledger).splitlines()[:3] == [
        "8 files in = 7 released + 1 failed",
        "  truncated  1",
        "  cut.mp4: truncated: an MP4 file that ends before its index: it was not copied whole",
    ]
    assert ledger.frames == sum(9 + 13 * at for at in range(7))
    return out


def test_every_good_file_becomes_a_video_and_a_sidecar(released: Path, raw: Path) -> None:
    names = {path.removesuffix(".mp4") for path in files_below(raw)} - {"cut"}
    assert files_below(released) == {".release.json"} | {f"{x}{suffix}" for x in names for suffix in (".mp4", ".json")}


def test_no_actor_outlives_a_release(released: Path) -> None:
    actors = ray._private.state.actors().values()
    boards = [actor["State"] for actor in actors if actor["ActorClassName"] == "_Board"]
    assert boards
    assert set(boards) == {"DEAD"}


def test_what_is_released_is_what_the_library_call_gives(released: Path, run: Path, raw: Path) -> None:
    deployed = Deployed(load_trained(run).model, keep_ratio=0.7)
    for name in ("sub/0", "5", "sub/6"):
        with TimedVideo(raw / f"{name}.mp4", stride=STRIDE, height_px=32, width_px=32, limits=SETTINGS.limits) as video:
            frames = torch.from_numpy(np.stack([frame.pixels for frame in video.frames()]))
        expected = deployed(frames)
        assert unpack_keep(sidecar(released, name)["keep"], 4) == expected.keep.int().tolist()
        with av.open(str(released / f"{name}.mp4")) as container:
            shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert shown.shape == expected.frames.shape
        assert np.abs(shown.astype(float) - expected.frames.numpy()).mean() < 20  # H.264 of noise


def test_sidecars_tell_how_and_of_what_and_nothing_that_identifies(released: Path, run: Path, raw: Path) -> None:
    told = sidecar(released, "5")
    trained = load_trained(run)
    assert told["weights_sha256"] == trained.digest
    assert told["data_fingerprint"] == trained.data_fingerprint
    assert told["settings"] == {
        "keep_ratio": 0.7, "mask": "steady", "stride": 2, "size": "network", "quality": 23, "keep_audio": False,
        "opaque_names": False,
    }  # fmt: skip
    assert (told["keep_rows"], told["keep_columns"], told["frames"]) == (2, 2, 37)
    assert told["seconds"] == pytest.approx(74 / 17, abs=1e-4)
    for side, path in (("source", raw / "5.mp4"), ("output", released / "5.mp4")):
        digest = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout.split()[0]
        assert told[side] == {"sha256": digest, "bytes": path.stat().st_size}
    assert told.keys() == {
        *("weights_sha256", "phase", "dataset", "data_fingerprint", "model", "settings", "format_version"),
        *("software", "source", "output", "frames", "seconds", "keep_rows", "keep_columns", "keep", "sidecar_sha256"),
    }
    text = (released / "5.json").read_text() + (released / ".release.json").read_text()
    for secret in (str(run), str(raw), str(ROOT), socket.gethostname(), os.environ.get("USER", "root"), "5.mp4"):
        assert secret not in text
    assert not re.search(r"\b20\d\d-\d\d", text)  # a date


def test_a_finished_release_is_left_as_it_is_and_failures_are_tried_again(released: Path, run: Path, raw: Path) -> None:
    before = state(released)
    ledger = anonymize(run, raw, released)
    assert (ledger.files_in, ledger.done_before, ledger.released) == (8, 7, 7)
    assert [failure.shown for failure in ledger.failures] == ["cut.mp4"]
    assert state(released) == before


@pytest.mark.slow
def test_changed_damaged_and_new_files_are_done_and_no_others(ray_cluster: None, run: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "raw", tmp_path / "out"
    for name in ("same", "changed", "lost", "unmarked", "short", "flipped", "masks", "caf\udce9"):
        write_video(tmp_path / "any.mp4", frames=9).rename((source.mkdir(exist_ok=True) or source) / f"{name}.mp4")
    anonymize(run, source, out)
    before = state(out)
    write_video(source / "changed.mp4", frames=21)
    write_video(source / "new.mp4", frames=9)
    (out / "lost.mp4").unlink()
    (out / "unmarked.json").unlink()
    (out / "short.mp4").write_bytes(b"")
    flip(out / "flipped.mp4")
    flip(out / "masks.json")
    (out / f".{'0' * 16}.partial").write_bytes(b"of a worker that was killed")
    ledger = anonymize(run, source, out)
    assert (ledger.files_in, ledger.done_before, ledger.failures) == (9, 2, ())
    after = state(out)
    same = {".release.json", "same.mp4", "same.json", "caf\udce9.mp4", "caf\udce9.json"}
    assert {name for name, at in before.items() if after.get(name) == at} == same
    assert frame_count(out / "flipped.mp4") == frame_count(out / "caf\udce9.mp4") == 5
    assert json.loads((out / "masks.json").read_text())["keep"] == sidecar(out, "same")["keep"]
    assert sidecar(out, "changed")["frames"] == frame_count(out / "changed.mp4") == 11
    assert after.keys() == before.keys() | {"new.mp4", "new.json"}


def test_videos_of_other_settings_or_networks_do_not_mix(released: Path, run: Path, raw: Path, tmp_path: Path) -> None:
    before = state(released)
    with pytest.raises(ValueError, match=r"a release with other settings \(settings.keep_ratio was 0\.7, now 0\.5\)"):
        anonymize(run, raw, released, replace(SETTINGS, keep_ratio=0.5))
    other = write_run(tmp_path)
    config = json.loads((other / "config.json").read_text())
    torch.manual_seed(1)
    for path in (other / "checkpoints").iterdir():
        _perturb(path)
    assert config["phase"] == "init"
    with pytest.raises(ValueError, match="weights_sha256"):
        anonymize(other, raw, released)
    assert state(released) == before


def _perturb(checkpoint: Path) -> None:
    from stprivacy.checkpoint import load_latest, save

    found = load_latest(checkpoint.parent, pytest.fail)
    assert found is not None
    save(checkpoint.parent, found.number, {name: x + 0.01 for name, x in found.model.items()}, found.state)


def test_a_folder_with_something_else_in_it_is_refused(ray_cluster: None, run: Path, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty and does not hold a release"):
        anonymize(run, raw, tmp_path)
    assert files_below(tmp_path) == {"diary.txt"}


@pytest.mark.parametrize("keep_ratio", [0.3, 1.0])
def test_the_keep_ratio_is_a_knob_of_deployment(
    ray_cluster: None, run: Path, raw: Path, tmp_path: Path, keep_ratio: float
) -> None:
    anonymize(run, raw / "1.mp4", tmp_path / "out", replace(SETTINGS, keep_ratio=keep_ratio))
    keep = unpack_keep(sidecar(tmp_path / "out", "1")["keep"], 4)
    assert {sum(slot) for slot in keep} == {4 if keep_ratio == 1 else 1}


def test_a_release_at_the_sources_size_has_its_size_and_the_same_masks(
    ray_cluster: None, run: Path, raw: Path, released: Path, tmp_path: Path
) -> None:
    anonymize(run, raw / "1.mp4", tmp_path / "out", replace(SETTINGS, size="source"))
    for folder, size, aspect in ((tmp_path / "out", (80, 48), Fraction(1)), (released, (32, 32), Fraction(5, 3))):
        with av.open(str(folder / "1.mp4")) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == size
            assert (stream.sample_aspect_ratio or 1) == aspect
    assert sidecar(tmp_path / "out", "1")["keep"] == sidecar(released, "1")["keep"]


@pytest.mark.slow
def test_buckets_hold_raw_and_released_videos_as_folders_do(
    ray_cluster: None, run: Path, raw: Path, released: Path
) -> None:
    with served_bucket() as bucket:
        source, out = upload(raw, f"{bucket}/raw"), location(f"{bucket}/out")
        ledger = anonymize(run, source, out)
        assert (ledger.released, [failure.error for failure in ledger.failures]) == (7, ["truncated"])
        found = contents(out)
        local = {name: (released / name).read_bytes() for name in files_below(released)}
        assert found.keys() == local.keys()
        for name in found:
            if name.endswith(".json") and name != ".release.json":
                assert json.loads(found[name])["keep"] == json.loads(local[name])["keep"]
        Attempts(out).begin("1", alone=True)  # as a job leaves it that was killed at that file
        (out / "1.json").unlink()
        again = anonymize(run, source, out)
        assert (again.done_before, [failure.shown for failure in again.failures]) == (6, ["cut.mp4"])
        assert contents(out).keys() == local.keys()


@pytest.mark.slow
def test_a_file_that_kills_its_reader_is_named_and_the_others_are_released(
    ray_cluster: None, run: Path, tmp_path: Path
) -> None:
    names = ["a", "b", "killer", "c", "d"]
    for name in names:  # one that is read long enough to be killed at it
        write_video(tmp_path / "raw" / f"{name}.mp4", frames=1500 if name == "killer" else 9)
    over = threading.Event()
    hunter = threading.Thread(target=_kill_readers_of, args=("killer", tmp_path / "out", over))
    hunter.start()
    from pipelines.release.anonymize import anonymize as through_ray

    items = plain_names(list_inputs(tmp_path / "raw"))
    ledger = through_ray(load_trained(run), items, tmp_path / "out", SETTINGS, where=WorkerOptions(workers=1))
    over.set()
    hunter.join()
    assert [(failure.shown, failure.error) for failure in ledger.failures] == [("killer.mp4", "crashed")]
    expected = {f"{name}{suffix}" for name in names if name != "killer" for suffix in (".mp4", ".json")}
    assert files_below(tmp_path / "out") == {".release.json"} | expected


def _kill_readers_of(name: str, out: Path, over: threading.Event) -> None:
    """Kill the worker whenever it has that file open, as a fault in a decoder would."""
    notes = [Attempts(out)._note(name, attempt) for attempt in ("together", "alone")]
    killed = set[Path]()
    while not over.wait(0.001):
        for note in notes:
            if note not in killed and note.exists():
                for process in psutil.Process().children(recursive=True):  # another Ray may be at work here, too
                    with suppress(psutil.NoSuchProcess):
                        if "MapWorker" in " ".join(process.cmdline()):
                            process.kill()
                            killed.add(note)
                            (out / f".{'0' * 16}.1-{'0' * 8}.partial").touch()  # as it leaves what it was writing
