"""Files that appear under their final names only when they are whole."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stprivacy.durable import sync_folder
from stprivacy.storage import is_remote, local_draft, make_folder

PARTIAL_SUFFIX = ".partial"


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A local file to write, and to sync, what is then, if nothing failed, found under the name `target`.

    Raises: OSError: it cannot be put there.
    """
    if is_remote(target):
        with local_draft(target) as local:
            yield local
        return
    make_folder(target.parent)
    # A hash, as the name may be as long as names can be.
    local = target.with_name(f".{hashlib.blake2b(target.name.encode(), digest_size=8).hexdigest()}{PARTIAL_SUFFIX}")
    try:
        yield local
        local.replace(target)
        sync_folder(target.parent)
    finally:
        local.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """What killed processes left half-written, and their notes, below a folder."""
    for path in folder.rglob(f".*{PARTIAL_SUFFIX}"):
        path.unlink()
