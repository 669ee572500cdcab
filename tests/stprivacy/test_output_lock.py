"""One process at a time writes to an output folder."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stprivacy import output_lock as module
from stprivacy.output_lock import LOCK_NAME, OutputBusyError, output_lock
from stprivacy.storage import StorageError, create_new, location, write_whole
from tests.support.object_store_fixtures import served_bucket

HOLDER = """
import sys, time
from stprivacy.output_lock import output_lock
from stprivacy.storage import location
with output_lock(location(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served_bucket() as uri:
        yield uri


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, bucket: str) -> Path:
    return tmp_path / "out" if request.param == "disk" else location(f"{bucket}/{tmp_path.name}/out")


def hold(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_hears_who_holds_the_folder(folder: Path) -> None:
    holder = hold(folder)
    try:
        with (
            pytest.raises(OutputBusyError, match=rf"process {holder.pid} on .* since 20.*choose another"),
            output_lock(folder),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_process_holds_nothing(folder: Path) -> None:
    holder = hold(folder)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with output_lock(folder):
        pass


def test_the_lock_leaves_nothing_behind(folder: Path) -> None:
    with output_lock(folder):
        (folder / "kept").write_bytes(b"x")
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with output_lock(folder), pytest.raises(OutputBusyError), output_lock(folder):
        pass
    with output_lock(folder):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), output_lock(tmp_path / "out"):
        raise ValueError("refused")
    assert not (tmp_path / "out").exists()


def test_only_one_of_many_gets_in(folder: Path) -> None:
    inside, refused = [], []
    start = threading.Barrier(8)

    def enter(over: threading.Event) -> None:
        start.wait()
        try:
            with output_lock(folder):
                inside.append(1)
                over.wait(30)
        except OutputBusyError:
            refused.append(1)
            if len(refused) == 7:
                over.set()

    over = threading.Event()
    threads = [threading.Thread(target=enter, args=(over,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 7)


def test_a_lease_of_another_host_counts_while_it_is_renewed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXPIRY_SECONDS", 1.5)
    folder = location(f"{bucket}/foreign")
    lease = '{"pid": 7, "host": "elsewhere", "since": "noon", "token": "t", "renewals": %d}'
    write_whole(folder / LOCK_NAME, (lease % 0).encode())
    renewal = threading.Timer(0.5, lambda: write_whole(folder / LOCK_NAME, (lease % 1).encode()))
    renewal.start()
    with pytest.raises(OutputBusyError, match="process 7 on elsewhere, since noon"), output_lock(folder):
        pass
    renewal.join()
    with output_lock(folder):  # which nobody renews any more
        pass


def test_whoever_lost_its_lease_hears_of_it(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.1)
    folder = location(f"{bucket}/stolen")

    def lose() -> None:
        with output_lock(folder):
            thief = '{"pid": 8, "host": "elsewhere", "since": "noon", "token": "u", "renewals": 0}'
            write_whole(folder / LOCK_NAME, thief.encode())
            next(thread for thread in threading.enumerate() if thread.name == "lease").join(5)

    with pytest.raises(OutputBusyError, match="process 8 on elsewhere"):
        lose()


def test_a_place_that_cannot_hold_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/out cannot be written"), output_lock(tmp_path / "file" / "out"):
        pass


def test_writers_of_one_file_do_not_share_a_draft(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [write_whole(tmp_path / "file", bytes([n]) * 9999) for _ in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (tmp_path / "file").read_bytes()
    assert len(content) == 9999
    assert len(set(content)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_created_once(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    assert create_new(folder / "new", b"first")
    assert not create_new(folder / "new", b"second")
    assert (folder / "new").read_bytes() == b"first"
