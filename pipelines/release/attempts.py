"""Files that kill the process that reads them: found out and named, so that they do not stop the others."""

from contextlib import suppress
from pathlib import Path
from typing import Literal

from pipelines.text import name_digest
from stprivacy.storage import PARTIAL_SUFFIX, make_folder, write_whole

Attempt = Literal["none", "together", "alone"]


class Attempts:
    """Notes, hidden in the output folder, of the files that are open now.

    A worker that finds notes of its own files takes the place of one that has died: with one of several files open
    ("together"), each of which may be to blame, or with that one ("alone"), which then is.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def before(self, name: str) -> Attempt:
        """How the file was open when a worker died."""
        for attempt in ("alone", "together"):
            with suppress(OSError):  # where no note can be read, none can be written: `begin` says so
                if self._note(name, attempt).exists():
                    return attempt
        return "none"

    def begin(self, name: str, alone: bool) -> None:
        """The file is about to be opened. Raises: OSError: no note can be written."""
        make_folder(self._out)
        write_whole(self._note(name, "alone" if alone else "together"), b"")

    def end(self, name: str) -> None:
        """The file is closed."""
        for attempt in ("alone", "together"):
            with suppress(OSError):  # whoever wrote no note need not remove one; one that stays is removed by the next
                self._note(name, attempt).unlink(missing_ok=True)

    def _note(self, name: str, attempt: str) -> Path:
        return self._out / f".{name_digest(name)}.{attempt}{PARTIAL_SUFFIX}"
