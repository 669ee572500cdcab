"""Local files and folders that their owner alone can read, from their first byte on and whatever the umask."""

import os
from pathlib import Path

from stprivacy.durable import sync_folder
from stprivacy.storage import partial_name


def create_private(path: Path) -> None:
    """Make an empty file. Raises: FileExistsError: there is one, whose mode and readers are not known."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # the umask may have taken too much
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make a folder and those of its parents that are missing; one that is there becomes private, its parents stay."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    for one in (*reversed(missing), folder):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; of several writers, the last one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        create_private(partial)
        with open(partial, "r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
