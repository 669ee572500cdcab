"""Files that no video can be made of, and full disks: each is named, none stops the others or leaves a trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bad_corpus import BadFile, write_bad_corpus, write_untimed, write_video
from tests.support.places import ROOT
from tests.support.release_fixtures import files_below, frame_count, reasons, release, sidecar


def test_every_bad_file_is_named_and_every_good_one_is_released(run: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    bad = [*write_bad_corpus(raw), BadFile("untimed.flv", "no-timing")]
    write_untimed(raw / "untimed.flv")
    write_untimed(raw / "timed.flv", keeps_stamps=True)  # tells no frame rate, but when each frame is shown
    good = files_below(raw) - {file.name for file in bad}
    assert good >= {"target.mp4", "timed.flv"}
    found = reasons(release(run, raw, out))
    assert {file.name: file.error for file in bad}.items() <= found.items()
    assert found.keys() == {file.name for file in bad} | good
    assert all(found[name] == "" for name in good)
    assert files_below(out) == {f"{Path(name).stem}{suffix}" for name in good for suffix in (".mp4", ".json")}


def test_a_cut_video_leaves_nothing_though_clips_of_it_were_written(run: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    whole = write_video(raw / "cut.mp4", frames=200, options={"movflags": "faststart"}).read_bytes()
    (raw / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    write_video(raw / "whole.mp4", frames=200)
    assert reasons(release(run, raw, out)) == {"cut.mp4": "truncated", "whole.mp4": ""}
    assert files_below(out) == {"whole.mp4", "whole.json"}


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 9])
def test_videos_shorter_than_a_clip_are_videos(run: Path, tmp_path: Path, frames: int) -> None:
    source = write_video(tmp_path / "raw" / "short.mp4", frames=frames)
    assert reasons(release(run, source, tmp_path / "out")) == {"short.mp4": ""}
    written = -(-frames // 2)
    assert frame_count(tmp_path / "out" / "short.mp4") == written
    told = sidecar(tmp_path / "out", "short")
    assert (told["frames"], len(told["keep"])) == (written, -(-written // 2))
    assert told["seconds"] == pytest.approx(frames / 12, abs=1e-6)


def test_a_source_that_became_bad_takes_its_released_video_along(run: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "raw" / "a.mp4")
    release(run, source, tmp_path / "out")
    source.write_bytes(b"no longer")
    assert reasons(release(run, source, tmp_path / "out")) == {"a.mp4": "unreadable"}
    assert files_below(tmp_path / "out") == set()


_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
from tests.support.release_fixtures import reasons, release
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run, raw, out = map(Path, sys.argv[1:])
for limit in (0, 1000, 20_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    print(reasons(release(run, raw, out / str(limit), quality=0)))
"""


def test_a_disk_that_fills_up_is_named_and_leaves_no_partial_file(run: Path, tmp_path: Path) -> None:
    # A limit on the size of files fails writes as a full disk does, at the same calls.
    raw, out = tmp_path / "raw", tmp_path / "out"
    write_video(raw / "long.mp4", frames=1500)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", _WITH_LITTLE_ROOM, str(run), str(raw), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["{'long.mp4': 'not-written'}"] * 3
    assert files_below(out) == set()


def test_a_folder_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "raw" / "a.mp4")
    (tmp_path / "out").write_text("a file where the folder should be")
    outcomes = release(run, source, tmp_path / "out")
    assert [outcome.error for outcome in outcomes] == ["not-written"]
    assert "a.mp4" in outcomes[0].shown
    assert outcomes[0].message == "cannot be written: File exists"


def test_what_is_no_file_is_named_and_waited_for_by_nobody(run: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    os.mkfifo(raw / "pipe.mp4")
    (raw / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert reasons(release(run, raw, out)) == {"gone.mp4": "missing", "pipe.mp4": "unreadable"}
    assert files_below(out) == set()


def test_names_may_be_as_long_and_as_odd_as_file_systems_allow(run: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    names = ["ü" * 120, "%d-$(x) 'a' \"b\"", "-y", "line\nbreak", "x" * 250]
    for name in names:
        write_video(tmp_path / "v.mp4").rename((raw.mkdir(exist_ok=True) or raw) / f"{name}.mp4")
    assert set(reasons(release(run, raw, out)).values()) == {""}
    assert files_below(out) == {f"{name}{suffix}" for name in names for suffix in (".mp4", ".json")}
    assert json.loads((out / "line\nbreak.json").read_text())["frames"] == 6
