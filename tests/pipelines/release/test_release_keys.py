"""What is told of sources, and to whom: opaque names, the key to them, and previews."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.anonymize import anonymize_command
from pipelines.release.anonymize import anonymize
from pipelines.release.inputs import list_inputs
from pipelines.release.keys import KeyFile
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.settings import CLAIM, ReleaseSettings
from stprivacy.deploy.load import load_trained
from tests.support.bad_corpus import write_video
from tests.support.release_fixtures import (
    STRIDE,
    files_below,
    frame_count,
    release,
    sidecar,
)

SETTINGS = ReleaseSettings(keep_ratio=0.7, stride=STRIDE)


def opaquely(run: Path, folder: Path) -> ReleaseLedger:
    """Release folder/raw, which holds one video, under an opaque name, in this process."""
    with KeyFile(folder / "keys.json") as keys:
        items = keys.release_items(list_inputs(folder / "raw"))
        return anonymize(
            load_trained(run), items, folder / "out", SETTINGS, learned=lambda one: keys.note(one.shown, one.source)
        )


def keys_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "keys.json").read_text()))


def test_with_opaque_names_the_sidecar_tells_nothing_of_the_source_and_the_key_file_all(
    run: Path, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "raw" / "anna.mp4")
    assert opaquely(run, tmp_path).released == 1
    entry = keys_of(tmp_path)["anna.mp4"]
    told = sidecar(tmp_path / "out", entry["name"])
    assert "source" not in told
    assert entry["source"]["bytes"] == source.stat().st_size
    text = (tmp_path / "out" / f"{entry['name']}.json").read_text()
    assert entry["source"]["sha256"] not in text
    assert entry["salt"] not in text
    assert opaquely(run, tmp_path).done_before == 1
    write_video(source, frames=20)
    assert opaquely(run, tmp_path).done_before == 0
    assert frame_count(tmp_path / "out" / f"{entry['name']}.mp4") == 10
    assert keys_of(tmp_path)["anna.mp4"]["source"] != entry["source"]


def test_what_a_killed_job_released_under_opaque_names_is_done_and_comes_into_the_key_file(
    run: Path, tmp_path: Path
) -> None:
    write_video(tmp_path / "raw" / "anna.mp4")
    opaquely(run, tmp_path)
    noted = keys_of(tmp_path)
    killed = {below: {name: entry[name] for name in ("name", "salt")} for below, entry in noted.items()}
    (tmp_path / "keys.json").write_text(json.dumps(killed))
    assert opaquely(run, tmp_path).done_before == 1
    assert keys_of(tmp_path) == noted


def test_a_key_file_of_names_alone_is_read_and_completed(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "anna.mp4")
    (tmp_path / "keys.json").write_text(json.dumps({"anna.mp4": "0123456789abcdef", "gone.mp4": "f" * 16}))
    opaquely(run, tmp_path)
    assert files_below(tmp_path / "out") == {CLAIM, "0123456789abcdef.mp4", "0123456789abcdef.json"}
    assert keys_of(tmp_path)["anna.mp4"].keys() == {"name", "salt", "source"}
    assert keys_of(tmp_path)["gone.mp4"]["name"] == "f" * 16


def test_the_order_of_opaque_names_is_not_that_of_the_sources(tmp_path: Path) -> None:
    for at in range(20):
        write_video(tmp_path / "raw" / "v.mp4", frames=1).rename(tmp_path / "raw" / f"{at:02}")
    items = KeyFile(tmp_path / "keys.json").release_items(list_inputs(tmp_path / "raw"))
    assert [item.name for item in items] == sorted(item.name for item in items)
    assert [item.shown for item in items] != sorted(item.shown for item in items)


def test_two_releases_that_share_a_key_file_lose_no_name(tmp_path: Path) -> None:
    for at in range(8):
        (tmp_path / f"raw-{at}").mkdir()
        (tmp_path / f"raw-{at}" / f"{at}.mp4").touch()

    def use(at: int) -> None:
        with KeyFile(tmp_path / "keys.json") as keys:
            (item,) = keys.release_items(list_inputs(tmp_path / f"raw-{at}"))
            keys.note(item.shown, {"bytes": at})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert {below: entry["source"] for below, entry in keys_of(tmp_path).items()} == {
        f"{at}.mp4": {"bytes": at} for at in range(8)
    }
    assert files_below(tmp_path) == {"keys.json"} | {f"raw-{at}/{at}.mp4" for at in range(8)}


def test_the_key_file_is_not_handed_out(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    settings = replace(SETTINGS, opaque_names=True)
    with pytest.raises(ValueError, match=r"--keys .* lies inside of --output"):
        anonymize_command(run, tmp_path / "raw", tmp_path / "out", settings, keys=tmp_path / "out" / "keys.json")
    assert not (tmp_path / "out").exists()


def test_previews_are_for_their_owner_alone_whatever_the_umask(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "sub" / "a.mp4")
    previews = tmp_path / "previews"
    previews.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        assert [one.error for one in release(run, tmp_path / "raw", tmp_path / "out", previews)] == [""]
    finally:
        os.umask(before)
    modes = {str(path.relative_to(previews)): stat.S_IMODE(path.stat().st_mode) for path in previews.rglob("*")}
    named = {f"sub/a.contains-raw-frames{kind}": 0o600 for kind in (".mp4", ".png")}
    assert modes == {"sub": 0o700} | named
