"""A save is killed at each of its file operations: the newest step that was saved can still be loaded."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from stprivacy.checkpoint import load_latest, save

# Forks a saver for every file operation that a save consists of, and kills it just before that one.
SAVERS = """
import json, os, shutil, sys
from pathlib import Path
import torch
from stprivacy.checkpoint import save

root, saved_again = Path(sys.argv[1]), int(sys.argv[2])
CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree", "open"}
names = []

def changes(event, arguments):
    if event != "open":
        return event in CHANGING
    return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))

def save_until(folder, last):
    calls = 0
    def die(event, arguments):
        nonlocal calls
        if changes(event, arguments):
            calls += 1
            if calls == last:
                os._exit(9)
    sys.addaudithook(die)
    save(folder, saved_again, {"weight": torch.full((4,), 3.0)}, {"epoch": 3})
    os._exit(0)

last = 0
while True:
    last += 1
    folder = root / f"killed-{last:02d}"
    shutil.copytree(root / "before", folder)
    child = os.fork()
    if child == 0:
        save_until(folder, last)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    names.append(str(folder))
print(json.dumps(names))
"""


@dataclass(frozen=True)
class Killed:
    """The folders that killed savers left; two checkpoints, 20 and 40, were there before."""

    folders: tuple[Path, ...]

    def newest(self) -> list[tuple[int, Any]]:
        """Number and state of what each of them loads; damage is not reported."""
        found = [load_latest(folder, pytest.fail) for folder in self.folders]
        return [(checkpoint.number, checkpoint.state["epoch"]) for checkpoint in found if checkpoint]


def kill_savers(root: Path, saved_again: int) -> Killed:
    for number, epoch in ((20, 1), (40, 2)):
        save(root / "before", number, {"weight": torch.full((4,), float(epoch))}, {"epoch": epoch})
    command = [sys.executable, "-c", SAVERS, str(root), str(saved_again)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    folders = tuple(map(Path, json.loads(done.stdout)))
    assert len(folders) > 8
    return Killed(folders)


@pytest.fixture(scope="module")
def saved_again(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Of step 40, which was there."""
    return kill_savers(tmp_path_factory.mktemp("again"), 40)


def test_a_kill_while_a_step_is_saved_again_never_loses_that_step(saved_again: Killed) -> None:
    found = saved_again.newest()
    assert len(found) == len(saved_again.folders)
    assert set(found) == {(40, 2), (40, 3)}


def test_a_kill_while_a_later_step_is_saved_leaves_one_of_the_two(tmp_path: Path) -> None:
    killed = kill_savers(tmp_path, 60)
    assert len(killed.newest()) == len(killed.folders)
    assert set(killed.newest()) == {(40, 2), (60, 3)}


def test_the_next_save_finds_and_keeps_what_the_kill_left(saved_again: Killed) -> None:
    for folder in saved_again.folders:
        save(folder, 60, {"weight": torch.zeros(4)}, {"epoch": 4})
        assert sorted(path.name for path in folder.iterdir()) == ["000040", "000060"]
        (folder / "000060" / "state.pt").unlink()
        loaded = load_latest(folder, lambda message: None)
        assert loaded is not None
        assert loaded.number == 40
