"""Under which names files are released: planned for all before work begins, so that none gets in another's way."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.release.inputs import Inputs
from pipelines.release.settings import CLAIM
from pipelines.text import name_digest
from stprivacy.storage import absolute_location, is_remote

VIDEO, SIDECAR = ".mp4", ".json"
PREVIEW = ".contains-raw-frames"
PREVIEW_FOLDER = "-preview-contains-raw-frames"
_OBJECT_KEY_BYTES = 1024  # the longest in S3 and Google's store
_NAME_BYTES, _PATH_BYTES = 255, 4095  # Linux's, where a file system does not say
_DRAFT_BYTES = 64  # more than any hidden file beside a video has in its name


@dataclass(frozen=True)
class ReleaseItem:
    """A file to release: where it lies, its path below the input folder, and its name below the output folder.

    The video's file is `name` + .mp4, its sidecar's `name` + .json. An opaque name has a `salt`, see keys.py. With an
    `error`, which `message` explains, the file cannot be released, and no name is used.
    """

    path: str
    shown: str
    name: str
    salt: str = ""
    error: str = ""
    message: str = ""

    @property
    def is_renamed(self) -> bool:
        """Whether the name is neither opaque nor the file's own, with or without its suffix."""
        return not self.salt and self.name not in (self.shown, _stem(self.shown))


def plain_names(inputs: Inputs, out: Path | None = None) -> list[ReleaseItem]:
    """Names as in the input folder, without the suffix, or with it where two files would share a name.

    A name that `out` (by default some local folder) has no room for ends with a digest instead.
    """
    room = _Room(out)
    found = [one for one in inputs.files if not one.error]
    belows = [room.text(one.below) for one in found]
    folders = {_same(str(parent)) for below in belows for parent in PurePosixPath(below).parents}
    names = _distinct(belows, folders, room)
    is_free = _free(names, folders)
    items = [
        ReleaseItem(one.path, one.below, name, "", *room.complaint(name, is_free(name)))
        for one, name in zip(found, names, strict=True)
    ]
    return sorted([*items, *refused(inputs)], key=lambda item: item.shown)


def refused(inputs: Inputs) -> list[ReleaseItem]:
    """What could not be read when the input folder was listed."""
    return [ReleaseItem(one.path, one.below, "", "", one.error, one.message) for one in inputs.files if one.error]


def shortened(name: str, most_bytes: int) -> str:
    """A path whose last part is cut to so many bytes, if it is longer, and then ends with a digest of all of it."""
    folder, slash, last = name.rpartition("/")
    if len(_bytes(last)) <= most_bytes:
        return name
    ending = f"~{name_digest(name)}"
    while len(_bytes(last)) + len(ending) > most_bytes:
        last = last[:-1]
    return f"{folder}{slash}{last}{ending}"


def _distinct(belows: Sequence[str], folders: set[str], room: "_Room") -> list[str]:
    """A name for each path; where names clash, or one is a folder's, those concerned have longer ones."""
    names = [room.fitting(_stem(below)) for below in belows]
    # The whole path may be what another file becomes without its suffix.
    for longer_names in (belows, [f"{below}~{name_digest(below)}" for below in belows]):
        is_free = _free(names, folders)
        pairs = zip(names, longer_names, strict=True)
        names = [name if is_free(name) else room.fitting(longer) for name, longer in pairs]
    return names


def _free(names: Sequence[str], folders: set[str]) -> Callable[[str], bool]:
    """Whether no other file has a name, and no folder, nor the release's own note, that of what its video becomes."""
    often = Counter(map(_same, names))
    endings = (VIDEO, SIDECAR, f"{PREVIEW}{VIDEO}", f"{PREVIEW}.png")

    def is_free(name: str) -> bool:
        meets = f"{name}{SIDECAR}" == CLAIM or any(_same(f"{name}{ending}") in folders for ending in endings)
        return often[_same(name)] == 1 and not meets

    return is_free


def _stem(below: str) -> str:
    return below.removesuffix(PurePosixPath(below).suffix)


def _same(name: str) -> str:
    """Equal for names that are one on some file system, where case or the composition of accents does not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class _Room:
    """How long names may be in an output folder, and of which bytes."""

    def __init__(self, out: Path | None) -> None:
        self._is_remote = out is not None and is_remote(out)
        self._name_bytes, self._path_bytes = _NAME_BYTES, _PATH_BYTES
        root = "" if out is None else str(absolute_location(out))
        if self._is_remote:
            self._path_bytes = _OBJECT_KEY_BYTES
            root = root.partition("://")[2].partition("/")[2]
        elif out is not None:
            with suppress(OSError):
                there = next(one for one in (Path(root), *Path(root).parents) if one.exists())
                self._name_bytes = os.pathconf(there, "PC_NAME_MAX")
            root = f"{root}{PREVIEW_FOLDER}"  # so that a name does not depend on whether there are previews
        self._root_bytes = len(_bytes(root))

    def text(self, below: str) -> str:
        """A name as the output takes it: an object's key is UTF-8, and has %e9 for a byte that is not."""
        if not self._is_remote:
            return below
        return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02x}", below)

    def fitting(self, name: str) -> str:
        return shortened(name, self._name_bytes - len(SIDECAR))

    def complaint(self, name: str, is_free: bool) -> tuple[str, str]:
        """Error code and message of a name that cannot be used, or empty ones."""
        if not is_free:
            return "name-taken", "another file would be released under the same name: rename one of them"
        folder, _, last = name.rpartition("/")
        if any(len(_bytes(part)) > self._name_bytes for part in folder.split("/")):
            return "name-too-long", f"--output takes names of {self._name_bytes} bytes, that of a folder is longer"
        longest = max(len(_bytes(last)) + len(f"{PREVIEW}{VIDEO}"), _DRAFT_BYTES)
        if self._root_bytes + len(_bytes(folder)) + 2 + longest > self._path_bytes:
            limit = f"its path would be longer than the {self._path_bytes} bytes that --output has room for"
            return "name-too-long", f"{limit}: release it, or its folder, by itself"
        return "", ""
