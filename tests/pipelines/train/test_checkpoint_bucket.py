"""A save into an object store that is broken off at any of its requests loses no step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
import torch

from stprivacy.checkpoint import load_latest, save
from stprivacy.storage import location
from tests.support.object_store_fixtures import served_bucket

CHANGING = ("put_object", "copy_object", "delete_object", "delete_objects")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with served_bucket() as uri:
        yield uri


class BrokenOffError(Exception):
    """Stands for a kill: no request follows."""


def save_epoch(folder: Path, number: int, epoch: int) -> None:
    save(folder, number, {"weight": torch.full((4,), float(epoch))}, {"epoch": epoch})


def break_off(patch: pytest.MonkeyPatch, last: int) -> None:
    """Have the request number `last` that changes the store fail, and every later one."""
    call: Any = s3fs.S3FileSystem._call_s3
    requests = 0

    async def counted(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        nonlocal requests
        requests += method in CHANGING
        if method in CHANGING and requests >= last:
            raise BrokenOffError
        return await call(self, method, *arguments, **options)

    patch.setattr(s3fs.S3FileSystem, "_call_s3", counted)


def save_again(folder: Path, patch: pytest.MonkeyPatch, last: int) -> bool:
    """Save step 40 and save it again; whether the second save was broken off."""
    save_epoch(folder, 40, 2)
    try:
        with patch.context() as broken:
            break_off(broken, last)
            save_epoch(folder, 40, 3)
    except BrokenOffError:
        return True
    return False


def test_a_save_of_the_same_step_that_is_broken_off_anywhere_leaves_that_step(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = 1
    while save_again(folder := location(f"{bucket}/again-{last}"), monkeypatch, last):
        found = load_latest(folder, pytest.fail)
        assert found is not None
        assert (found.number, found.state["epoch"]) in ((40, 2), (40, 3))
        last += 1
    assert last > 8


def test_the_next_save_keeps_the_step_that_was_being_replaced(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = location(f"{bucket}/next")
    save_epoch(folder, 20, 1)
    assert save_again(folder, monkeypatch, 6)  # between the manifest's removal and the new one
    save_epoch(folder, 60, 4)
    assert sorted(path.name for path in folder.iterdir()) == [".aside-old-000040", "000060"]
