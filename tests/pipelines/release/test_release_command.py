"""jobs/anonymize.py as its users run it: killed and continued, under opaque names, and given what cannot be."""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.bad_corpus import write_video
from tests.support.command_fixtures import run_command
from tests.support.places import ROOT
from tests.support.release_fixtures import files_below, state


def job(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs" / "anonymize.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=cwd, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


@pytest.mark.slow
def test_a_second_job_is_refused_and_a_killed_one_continues_and_redoes_nothing(run: Path, tmp_path: Path) -> None:
    first = write_video(tmp_path / "raw" / "00.mp4", frames=1200)
    for at in range(1, 6):
        shutil.copy(first, first.with_name(f"{at:02d}.mp4"))
    arguments = ("--from", str(run), "--input", "raw", "--output", "out", "--workers", "2")
    killed = job(*arguments, cwd=tmp_path)
    while not list((tmp_path / "out").glob("[!.]*.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGSTOP)  # it must not be over when the second one comes
    second = job(*arguments, cwd=tmp_path)
    text, _ = second.communicate()
    assert second.returncode == 1
    assert re.search(rf"error: .*out is being written to by process {killed.pid} on ", text.splitlines()[-1])
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    time.sleep(1)  # Ray's processes follow their driver
    finished = {path.stem for path in (tmp_path / "out").glob("[!.]*.json")}
    before = state(tmp_path / "out")
    assert 0 < len(finished) < 6
    again = job(*arguments, cwd=tmp_path)
    text, _ = again.communicate()
    assert again.returncode == 0, text
    assert "6 files in = 6 released + 0 failed" in text
    assert re.search(r"\d+ of them were done before", text)
    assert files_below(tmp_path / "out") == {".release.json"} | {
        f"{at:02d}{suffix}" for at in range(6) for suffix in (".mp4", ".json")
    }
    after = state(tmp_path / "out")
    assert all(after[f"{name}.mp4"] == before[f"{name}.mp4"] for name in finished)


def test_the_job_releases_under_opaque_names_with_previews_and_says_what_failed(
    ray_cluster: None, run: Path, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "raw" / "anna" / "anna-walks.mp4", frames=40)
    (tmp_path / "raw" / "broken-berta.mp4").write_bytes(b"no video")
    arguments = ("--from", str(run), "--input", "raw", "--output", "out", "--opaque-names", "--preview")
    done = run_command("anonymize", *arguments, cwd=tmp_path)
    text = done.text
    assert done.returncode == 1, text
    assert "2 files in = 1 released + 1 failed" in text
    assert "broken-berta.mp4: unreadable" in text
    assert re.search(r"40 source frames in .+ s, \d+ a second", text)
    released = files_below(tmp_path / "out")
    assert all(re.fullmatch(r"[0-9a-f]{16}\.(mp4|json)|\.release\.json", name) for name in released)
    assert len(released) == 3
    for name in released:
        content = (tmp_path / "out" / name).read_bytes().lower()
        assert b"anna" not in content
        assert b"berta" not in content
    keys = json.loads((tmp_path / "out-keys.json").read_text())
    opaque = keys["anna/anna-walks.mp4"]["name"]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert keys["anna/anna-walks.mp4"]["source"] == {"sha256": digest, "bytes": source.stat().st_size}
    assert digest not in (tmp_path / "out" / f"{opaque}.json").read_text()
    assert f": {source.stat().st_size}" not in (tmp_path / "out" / f"{opaque}.json").read_text()
    assert f"{opaque}.mp4" in released
    assert [one["shown"] for one in json.loads((tmp_path / "out-failures.json").read_text())] == ["broken-berta.mp4"]
    for private in ("out-keys.json", "out-failures.json"):
        assert stat.S_IMODE((tmp_path / private).stat().st_mode) == 0o600
    previews = tmp_path / "out-preview-contains-raw-frames"
    assert files_below(previews) == {f"{opaque}.contains-raw-frames{kind}" for kind in (".mp4", ".png")}
    assert stat.S_IMODE(previews.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in previews.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from", "nothing"), "not a run folder"),
        (("--input", "nothing"), "--input takes a video or a folder"),
        (("--output", "raw"), "--output .* is the folder of the raw videos"),
        (("--keep-ratio", "1.7"), r"keep_ratio must be in \(0, 1\], got 1.7"),
        (("--keys", "k.json"), "--keys belongs to --opaque-names"),
        (("--mask", "soft"), "soft"),
        (("--output", "/dev/null/out"), "/dev/null/out cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    run: Path, tmp_path: Path, arguments: tuple[str, str], complaint: str
) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    options = {"--from": str(run), "--input": "raw", "--output": "out"} | {arguments[0]: arguments[1]}
    done = run_command("anonymize", *(word for pair in options.items() for word in pair), cwd=tmp_path)
    assert done.returncode != 0
    assert re.search(complaint, done.text)
    assert "Traceback" not in done.text
    assert not (tmp_path / "out").exists()


def test_where_the_data_set_is_gone_the_stride_must_be_said(run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    moved = tmp_path / "run"
    moved.mkdir()
    for name in ("result.json", "checkpoints"):
        (moved / name).symlink_to(run / name)
    (moved / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}))
    write_video(tmp_path / "raw" / "a.mp4")
    done = run_command("anonymize", "--from", "run", "--input", "raw", "--output", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "--stride is missing" in done.text


def test_names_of_any_bytes_are_released_and_shown_on_one_line_each(
    ray_cluster: None, run: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    names = ["caf\udce9.mp4", "d\udce9/a.mp4", "x" * 251 + ".mp4", "foo.avi", "foo.mp4/a.mp4", "p\x1b[31m.mp4"]
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(write_video(tmp_path / "any.mp4", frames=4), raw / name)
    (raw / "no\nvideo\udcff.mp4").write_bytes(b"no video")
    done = run_command("anonymize", "--from", str(run), "--input", "raw", "--output", "out", cwd=tmp_path)
    text = done.text
    assert done.returncode == 1, text
    assert "7 files in = 6 released + 1 failed" in text
    assert r"  no\nvideo\xff.mp4: unreadable: not a video file" in text
    assert re.search(r"  x{251}\.mp4: released; as x+~[0-9a-f]{16}\.mp4\n", text)
    videos = {name for name in files_below(tmp_path / "out") if name.endswith(".mp4")}
    assert len(videos) == 6
    assert {"caf\udce9.mp4", "d\udce9/a.mp4", "foo.avi.mp4", "foo.mp4/a.mp4", "p\x1b[31m.mp4"} < videos
    failures = json.loads((tmp_path / "out-failures.json").read_text())
    assert [failure["shown"] for failure in failures] == ["no\nvideo\udcff.mp4"]
