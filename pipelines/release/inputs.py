"""Which files are released."""

import os
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipelines.text import printable
from stprivacy.storage import absolute_location, filesystem, is_remote

# What operating systems leave in folders, in lower case; .DS_Store and the like begin with a dot.
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"))
SYSTEM_FOLDERS = frozenset(("$recycle.bin", "system volume information", "lost+found", "@eadir", "__macosx"))
_HIDDEN, _SYSTEM, _AGAIN = "hidden", "left by operating systems", "links to folders that are entered anyway"


@dataclass(frozen=True)
class Found:
    """A file: where it lies, and its path below the input folder; or what cannot be read there, and why."""

    path: str
    below: str
    error: str = ""
    message: str = ""


@dataclass(frozen=True)
class Inputs:
    """Files to release, sorted by their paths; what is passed over, counted by kind; local folders entered."""

    files: tuple[Found, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()


def list_inputs(source: Path) -> Inputs:
    """A file, or every file in a folder and below it, whatever it holds; or all objects below a prefix.

    Linked folders are entered, each folder once, and those that cannot be read are among the files, with an error.
    Passed over are names that begin with a dot and SYSTEM_FILES and SYSTEM_FOLDERS.
    Raises: ValueError: no such file or folder, one that cannot be read, or one without files.
    """
    try:
        # Not resolved: a link is called what its user calls it.
        source = source if is_remote(source) else source.absolute()
        if source.is_file():
            return Inputs((Found(str(source), source.name),))
        if not source.is_dir():
            raise ValueError(
                f"{printable(str(source))}: no such file or folder; --input takes a video or a folder of videos"
            )
        inputs = _objects(source) if is_remote(source) else _Walk(source).inputs()
    except ValueError:
        raise
    except Exception as error:  # each object store has errors of its own
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise ValueError(f"--input {printable(str(source))} cannot be read: {printable(reason)}") from error
    if not inputs.files:
        but = f" (passed over: {passed_over(inputs.passed_over)})" if inputs.passed_over else ""
        raise ValueError(f"{printable(str(source))} holds no files; --input takes a video or a folder of videos{but}")
    return inputs


def passed_over(kinds: Mapping[str, int]) -> str:
    """Counts by kind, in words."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


class _Walk:
    """All below a local folder: real folders first, so that what is found twice has its real path."""

    def __init__(self, source: Path) -> None:
        self._folders, self._linked = deque([(str(source), "")]), deque[tuple[str, str]]()
        self._entered: dict[tuple[int, int], str] = {}
        self._found: list[Found] = []
        self._passed_over = Counter[str]()

    def inputs(self) -> Inputs:
        """Raises: OSError: the folder itself cannot be read."""
        while self._folders or self._linked:
            folder, below = (self._folders or self._linked).popleft()
            try:
                self._enter(folder, below)
            except OSError as error:
                if not below:
                    raise
                reason = f"the folder cannot be read: {error.strerror or error}"
                self._found.append(Found(folder, below, "unreadable", reason))
        entered = frozenset(map(os.path.realpath, self._entered.values()))
        return Inputs(tuple(sorted(self._found, key=lambda one: one.below)), self._passed_over, entered)

    def _enter(self, folder: str, below: str) -> None:
        status = os.stat(folder)
        identity = status.st_dev, status.st_ino
        if identity in self._entered:
            self._passed_over[_AGAIN] += 1
            return
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        self._entered[identity] = folder
        for entry in entries:
            is_folder = _is_folder(entry)
            kind = _kind_passed_over(entry.name, is_folder)
            place = entry.path, f"{below}/{entry.name}" if below else entry.name
            if kind:
                self._passed_over[kind] += 1
            elif is_folder:
                (self._linked if entry.is_symlink() else self._folders).append(place)
            else:
                self._found.append(Found(*place))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere that may be seen: opening it says why
        return False


def _kind_passed_over(name: str, is_folder: bool) -> str:
    if name.startswith("."):
        return _HIDDEN
    return _SYSTEM if name.lower() in (SYSTEM_FOLDERS if is_folder else SYSTEM_FILES) else ""


def _objects(source: Path) -> Inputs:
    store, prefix = filesystem(source)
    scheme = str(source).partition("://")[0]
    found, kinds = [], Counter[str]()
    for key in sorted(store.find(prefix)):
        below = key.removeprefix(prefix).removeprefix("/")
        *folders, name = below.split("/")
        if not name:
            continue  # what consoles of stores create as a folder
        if not {"", ".", ".."}.isdisjoint((*folders, name)):
            message = "a part of its key is empty, . or .., which no file can be called"
            found.append(Found(f"{scheme}://{key}", below, "not-a-name", message))
            continue
        passed = [_kind_passed_over(folder, True) for folder in folders] + [_kind_passed_over(name, False)]
        kind = next(filter(None, passed), "")
        if kind:
            kinds[kind] += 1
        else:
            found.append(Found(f"{scheme}://{key}", below))
    return Inputs(tuple(found), kinds)


def check_apart(source: Path, out: Path) -> None:
    """See that raw videos and released ones do not share a folder. Raises: ValueError: they would."""
    source, out = absolute_location(source), absolute_location(out)
    is_file = source.is_file()
    folder = source.parent if is_file else source
    first, second = (PurePosixPath(str(path).replace("://", "/")) for path in (folder, out))
    shown, asked = printable(str(out)), printable(str(source))
    if first == second:
        raise ValueError(f"--output {shown} is the folder of the raw videos: give another")
    if first in second.parents and not is_file:
        raise ValueError(f"--output {shown} lies inside of --input {asked}, whose files are all taken for raw videos")
    if second in first.parents:
        raise ValueError(f"--input {asked} lies inside of --output {shown}: raw videos do not belong into a release")


def check_links_apart(inputs: Inputs, out: Path) -> None:
    """The same for folders that links in the input folder lead to. Raises: ValueError."""
    out = absolute_location(out)
    for folder in sorted(inputs.folders):
        if Path(folder) in (out, *out.parents) or out in Path(folder).parents:
            raise ValueError(
                f"a link in --input leads to {printable(folder)}, which shares files with --output "
                f"{printable(str(out))}: raw videos do not belong into a release, nor released ones among them"
            )
