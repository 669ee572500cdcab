"""Files that appear under their final names only when they are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.release.private import create_private
from stprivacy.durable import sync_folder
from stprivacy.storage import PARTIAL_SUFFIX, is_remote, local_draft, make_folder, partial_name


@contextmanager
def draft(target: Path, private: bool = False) -> Iterator[Path]:
    """A local file to write, and to sync, what is then, if nothing failed, found under the name `target`.

    No other draft has its name. A private one, of a local target, is there already, for its owner alone to read.
    Raises: OSError: it cannot be put there.
    """
    if is_remote(target):
        with local_draft(target) as local:
            yield local
        return
    make_folder(target.parent)
    local = partial_name(target)
    try:
        if private:
            create_private(local)
        yield local
        local.replace(target)
        sync_folder(target.parent)
    finally:
        local.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """What killed processes left half-written, and their notes, below a folder that no other process writes to."""
    for path in folder.rglob(f".*{PARTIAL_SUFFIX}"):
        path.unlink(missing_ok=True)
