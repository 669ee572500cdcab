"""What counts as done, and what is told of sources and to whom."""

import json
import os
import random
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bad_corpus import write_video
from release_fixtures import STRIDE, files_below, flip, frame_count, release, release_orders, sidecar, state, write_run

from pipelines.release.anonymize import anonymize
from pipelines.release.attempts import Attempts
from pipelines.release.inputs import list_inputs
from pipelines.release.keys import KeyFile
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.names import Order, plain_names
from pipelines.release.settings import CLAIM, ReleaseSettings, claim, provenance_of
from pipelines.release.sidecar import source_if_done
from stprivacy.output_lock import OutputBusyError, output_lock
from stprivacy.trained import load_trained

SETTINGS = ReleaseSettings(keep_ratio=0.7, stride=STRIDE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def pair(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/a.mp4 and what it was released as, out/a.mp4 and out/a.json."""
    folder = tmp_path_factory.mktemp("pair")
    write_video(folder / "raw" / "a.mp4")
    release(run, folder / "raw", folder / "out")
    return folder


def is_done(folder: Path) -> bool:
    (order,) = plain_names(list_inputs(folder / "raw"))
    return source_if_done(order, folder / "out") is not None


def opaquely(run: Path, folder: Path) -> ReleaseLedger:
    """Release folder/raw, which holds one video, under an opaque name, in this process."""
    with KeyFile(folder / "keys.json") as keys:
        orders = keys.orders(list_inputs(folder / "raw"))
        return anonymize(
            load_trained(run), orders, folder / "out", SETTINGS, learned=lambda one: keys.note(one.shown, one.source)
        )


def keys_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "keys.json").read_text()))


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
    assert source_if_done(Order(str(tmp_path / "a.mp4"), "a.mp4", "a"), pair / "out") is None


def test_a_damaged_video_is_released_again_and_a_whole_one_left(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    orders, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    anonymize(load_trained(run), orders, out, SETTINGS)
    before = state(out)
    assert anonymize(load_trained(run), orders, out, SETTINGS).done_before == 1
    assert state(out) == before
    whole = (out / "a.mp4").read_bytes()
    flip(out / "a.mp4")
    assert anonymize(load_trained(run), orders, out, SETTINGS).done_before == 0
    assert (out / "a.mp4").read_bytes() == whole


def test_an_output_that_another_process_writes_to_is_refused_and_left_as_it_is(run: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    orders, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    with output_lock(out):
        with pytest.raises(OutputBusyError, match=f"written to by process {os.getpid()}"):
            anonymize(load_trained(run), orders, out, SETTINGS)
        assert files_below(out) == {".lock"}
    assert anonymize(load_trained(run), orders, out, SETTINGS).released == 1
    assert files_below(out) == {CLAIM, "a.mp4", "a.json"}


def test_a_folder_whose_first_job_was_killed_at_once_can_be_used(run: Path, tmp_path: Path) -> None:
    provenance = provenance_of(load_trained(run), SETTINGS)
    (tmp_path / ".lock").touch()
    (tmp_path / f".{'0' * 16}.123-01234567.partial").touch()
    claim(tmp_path, provenance)
    (tmp_path / CLAIM).unlink()
    (tmp_path / ".mine.partial").touch()
    with pytest.raises(ValueError, match="not empty and holds no release"):
        claim(tmp_path, provenance)


def test_a_single_file_at_which_a_process_died_is_released_by_workers(
    ray_cluster: None, run: Path, tmp_path: Path
) -> None:
    write_video(tmp_path / "raw" / "a.mp4")
    orders, out = plain_names(list_inputs(tmp_path / "raw")), tmp_path / "out"
    claim(out, provenance_of(load_trained(run), SETTINGS))
    Attempts(out).begin("a", alone=False)
    assert anonymize(load_trained(run), orders, out, SETTINGS).released == 1
    assert files_below(out) == {CLAIM, "a.mp4", "a.json"}


def test_whatever_one_file_does_is_its_own_failure(run: Path, tmp_path: Path) -> None:
    good = write_video(tmp_path / "raw" / "good.mp4")
    (tmp_path / "out" / "blocked.json").mkdir(parents=True)
    orders = [
        Order(str(tmp_path / "no\0name.mp4"), "no\0name.mp4", "a"),
        Order("ftp://nowhere/a.mp4", "a.mp4", "b"),
        Order(str(good), "blocked.mp4", "blocked"),
        Order("", "locked", "", "", "unreadable", "the folder cannot be read"),
        Order(str(good), "good.mp4", "good"),
    ]
    outcomes = {one.shown: one for one in release_orders(run, orders, tmp_path / "out")}
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
    orders = KeyFile(tmp_path / "keys.json").orders(list_inputs(tmp_path / "raw"))
    assert [order.name for order in orders] == sorted(order.name for order in orders)
    assert [order.shown for order in orders] != sorted(order.shown for order in orders)


def test_two_releases_that_share_a_key_file_lose_no_name(tmp_path: Path) -> None:
    for at in range(8):
        (tmp_path / f"raw-{at}").mkdir()
        (tmp_path / f"raw-{at}" / f"{at}.mp4").touch()

    def use(at: int) -> None:
        with KeyFile(tmp_path / "keys.json") as keys:
            (order,) = keys.orders(list_inputs(tmp_path / f"raw-{at}"))
            keys.note(order.shown, {"bytes": at})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert {below: entry["source"] for below, entry in keys_of(tmp_path).items()} == {
        f"{at}.mp4": {"bytes": at} for at in range(8)
    }
    assert files_below(tmp_path) == {"keys.json"} | {f"raw-{at}/{at}.mp4" for at in range(8)}


def mutations(content: bytes, count: int) -> list[bytes]:
    """Copies of a file with flipped, dropped and doubled parts."""
    chance = random.Random(0)
    changed = [b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", content[: len(content) // 2]]
    for _ in range(count):
        at, length = chance.randrange(len(content)), chance.randrange(1, 30)
        part = chance.choice([bytes([content[at] ^ 1 << chance.randrange(8)]), b"", content[at : at + length] * 2])
        changed.append(content[:at] + part + content[at + (length if not part else 1) :])
    return changed


def complaint_of(use: Callable[[], object]) -> str:
    try:
        use()
    except ValueError as error:
        return str(error)
    return ""


def test_a_damaged_note_or_key_file_is_refused_in_one_line_or_read(run: Path, tmp_path: Path) -> None:
    raw, keys, note = tmp_path / "raw", tmp_path / "keys.json", tmp_path / "out" / CLAIM
    write_video(raw / "a.mp4", frames=1)
    provenance = provenance_of(load_trained(run), SETTINGS)
    claim(tmp_path / "out", provenance)
    KeyFile(keys).orders(list_inputs(raw))
    uses = ((note, lambda: claim(tmp_path / "out", provenance)), (keys, lambda: KeyFile(keys).orders(list_inputs(raw))))
    for path, use in uses:
        refused = 0
        for content in mutations(path.read_bytes(), 300):
            path.write_bytes(content)
            complaint = complaint_of(use)
            refused += bool(complaint)
            assert not complaint or (str(path.parent) in complaint and "\n" not in complaint)
        assert refused > 150


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
