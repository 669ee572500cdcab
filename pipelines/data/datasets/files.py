"""Published annotation files by name, wherever they lie, video files by what these call them, and splits."""

import filecmp
import hashlib
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipelines.data.annotation_files import (
    LARGEST_BYTES,
    brief,
    decoded,
    faults_named,
    read_bounded,
    read_csv_rows,
    read_lines,
)
from pipelines.data.manifest import ManifestError
from pipelines.text import printable
from stprivacy.storage import filesystem, is_remote

# Files that may hold a listed video, by the name alone. Not .gif: such a file beside a video is its preview.
VIDEO_SUFFIXES = (
    *(".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".3gp", ".3g2", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".vob", ".flv", ".f4v", ".wmv", ".asf", ".ogv", ".ogg", ".divx", ".ivf", ".nut", ".mxf", ".dv", ".y4m", ".mjpeg"),
    *(".h264", ".264", ".hevc", ".h265", ".265"),
)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that can be read piece by piece
_PIECE_BYTES = 1 << 20
TRAIN_SHARE = 0.6
_SPLIT_OF_CODE = {"0": "unused", "1": "train", "2": "test"}


class Annotations:
    """The files below a folder, by name. Copies of one file are no trouble; different files of one name are."""

    def __init__(self, folder: Path) -> None:
        """Look through the folder, links followed. Raises: ManifestError: there is none, or one cannot be entered."""
        if is_remote(folder):
            raise ManifestError(f"{folder}: copy the annotation files, which are small, to a local folder")
        if not os.path.isdir(folder):
            raise ManifestError(f"{folder} is no folder: --annotations must hold the published annotation files")
        self.folder = folder
        self._paths: dict[str, list[Path]] = defaultdict(list)
        locked: list[str] = []
        for path in _walk(folder, locked):
            self._paths[os.path.basename(path)].append(Path(path))
        if locked:
            raise ManifestError(f"{locked[0]}: it may hold annotation files; make it readable, or move it elsewhere")

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def file(self, name: str) -> Path:
        """The file of this published name. Raises: ManifestError: none, or two that differ."""
        return self._one(name, self._paths.get(name, []))

    def ending(self, end: str) -> list[Path]:
        """The files whose names end so, sorted by name. Raises: ManifestError: none, or two of one name that differ."""
        names = sorted(name for name in self._paths if name.endswith(end) and name != end)
        if not names:
            raise ManifestError(f"neither {self.folder} nor a folder below it holds a file named *{end}")
        return [self.file(name) for name in names]

    def inside(self, parent: str, suffix: str) -> list[Path]:
        """The files of a suffix in every folder named `parent`, sorted by name. Raises: ManifestError: as `ending`."""
        found: dict[str, list[Path]] = defaultdict(list)
        for name, paths in self._paths.items():
            if name.endswith(suffix):
                found[name] += [path for path in paths if path.parent.name == parent]
        files = [self._one(name, found[name]) for name in sorted(found) if found[name]]
        if not files:
            raise ManifestError(f"neither {self.folder} nor a folder below it holds {parent}/*{suffix}")
        return files

    def _one(self, name: str, paths: list[Path]) -> Path:
        if not paths:
            raise ManifestError(f"neither {self.folder} nor a folder below it holds a file named {name}")
        for other in paths[1:]:
            with faults_named(other, "an annotation file"):
                is_copy = filecmp.cmp(paths[0], other, shallow=False)
            if not is_copy:
                raise ManifestError(f"{paths[0]} and {other} have one name and differ: leave one below --annotations")
        return paths[0]


class VideoFiles:
    """Video files below a folder, looked up by the last one or two parts of their path without suffix.

    notes: a line for each folder that could not be entered, whose videos are taken for absent.
    """

    def __init__(self, folder: Path, parts: int, ignore_case: bool = False) -> None:
        """Look through the folder, links followed; one that does not exist holds no files."""
        self._folder = folder
        self._key: Callable[[str], str] = str.casefold if ignore_case else str
        self._paths: dict[str, list[str]] = defaultdict(list)
        locked: list[str] = []
        for path in _walk(folder, locked):
            stem, suffix = os.path.splitext("/".join(path.rsplit("/", parts)[-parts:]))
            if suffix.lower() in VIDEO_SUFFIXES:
                self._paths[self._key(stem)].append(path)
        self.notes = tuple(f"{fault}: the videos below it count as absent" for fault in locked)

    def path(self, *names: str) -> str:
        """The file of any of these names (`action/stem`, or a stem alone), or else where the first one should lie.

        Raises: ManifestError: there are several.
        """
        found = [path for name in names for path in self._paths.get(self._key(os.path.splitext(name)[0]), [])]
        if len(found) > 1 and not is_remote(self._folder):
            found = _different(found)
        if len(found) > 1:
            one, other, name = map(printable, (*found[:2], names[0]))
            raise ManifestError(f"{one} and {other} are both taken for {name}: leave one below --videos")
        return found[0] if found else f"{self._folder}/{names[0]}"


def _different(paths: list[str]) -> list[str]:
    """The first name of each file; links that lead nowhere only if there is nothing else."""
    files: dict[tuple[int, int], str] = {}
    for path in reversed(paths):
        with suppress(OSError):
            state = os.stat(path)
            files[state.st_dev, state.st_ino] = path
    return [path for path in paths if path in files.values()] or paths[:1]


def _walk(folder: Path, locked: list[str]) -> Iterator[str]:
    """All files below a folder in order, links followed, each real folder once; `locked` gets what is closed."""
    if is_remote(folder):
        store, key = filesystem(folder)
        # One listing; to ask of each object whether it is a file would be a request each.
        yield from (store.unstrip_protocol(found) for found in sorted(store.find(key)))
        return

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or error.filename != str(folder):
            locked.append(f"{printable(str(error.filename))} cannot be entered ({error.strerror})")

    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=note):
        folders[:] = [] if os.path.realpath(root) in seen else sorted(folders)
        if os.path.realpath(root) not in seen:
            yield from (os.path.join(root, name) for name in sorted(names))
        seen.add(os.path.realpath(root))


def read_table(annotations: Annotations, stem: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The rows of STEM.csv or of the CSV in STEM.zip, each after its place `path:number`.

    Raises: ManifestError: neither is there, both are and differ, or a row has other columns than asked for.
    """
    label, content = _csv_content(annotations, stem)
    for number, (line, row) in enumerate(read_csv_rows(label, decoded(label, content)), start=1):
        if (number == 1 and tuple(row) != columns) or len(row) not in (0, len(columns)):
            raise ManifestError(f"{label}:{line}: expected columns {','.join(columns)}, got {brief(','.join(row))}")
        if number > 1 and row:
            yield f"{label}:{line}", row


def _csv_content(annotations: Annotations, stem: str) -> tuple[str, bytes]:
    found: list[tuple[str, bytes]] = []
    if f"{stem}.csv" in annotations or f"{stem}.zip" not in annotations:
        path = annotations.file(f"{stem}.csv")
        found.append((str(path), read_bounded(path, "a table")))
    if f"{stem}.zip" in annotations:
        found.append(unzipped(annotations.file(f"{stem}.zip"), f"{stem}.csv"))
    if found[0][1] != found[-1][1]:
        raise ManifestError(f"{found[0][0]} and {found[1][0]} differ: leave one below --annotations")
    return found[0]


def unzipped(path: Path, name: str, limit: int = LARGEST_BYTES) -> tuple[str, bytes]:
    """Place and content of the one file of this name in a zip, in whatever folder.

    Raises: ManifestError: it cannot be read, holds none or several of the name, or one of more than `limit` bytes.
    """
    remedy = f"unpack it, and leave {name} in its place"
    with faults_named(path, "a zip file"), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.rpartition("/")[2] == name]
        if len(members) != 1:
            raise ManifestError(f"{path} holds {len(members)} files named {name}, not one")
        label = f"{path}/{printable(members[0].filename)}"
        if members[0].flag_bits & 1:
            raise ManifestError(f"{label} is encrypted: {remedy}")
        if members[0].compress_type not in _ZIP_METHODS:
            raise ManifestError(f"{label} is compressed by a method that is not read here: {remedy}")
        if members[0].file_size > limit:
            raise ManifestError(f"{label} unpacks to more than {limit >> 20} MiB, the limit for a table")
        # Piece by piece: if the archive says too little of the size, no more than one is unpacked.
        with archive.open(members[0]) as file:
            return label, b"".join(iter(lambda: file.read(_PIECE_BYTES), b""))


def split_file_end(number: int) -> str:
    """What follows the action in the name of a file of HMDB51's split of this number."""
    return f"_test_split{number}.txt"


def read_split(files: Sequence[Path], number: int) -> Iterator[tuple[str, str, str, str]]:
    """Place, action, file name and split of each line of HMDB51's `<action>_test_split<number>.txt` files.

    Names are matched exactly: they hold blanks' neighbours such as ! ( ) # [ ] & + ; ~ @.
    Raises: ManifestError: a line that is not `NAME 0|1|2`.
    """
    for file in files:
        for place, line in read_lines(file):
            name, _, code = line.rpartition(" ")
            if not name or code not in _SPLIT_OF_CODE:
                raise ManifestError(f"{place}: expected `NAME 0`, `NAME 1` or `NAME 2`, got {brief(line)}")
            yield place, file.name.removesuffix(split_file_end(number)), name.rstrip(), _SPLIT_OF_CODE[code]


def random_split(video_ids: Sequence[str], seed: int) -> dict[str, str]:
    """60 % train and 40 % test, in the order of a hash of seed and id: the same on every machine.

    The papers that split at random published neither seed nor lists: this is another draw than theirs.
    """
    order = sorted(video_ids, key=lambda video_id: hashlib.sha256(f"{seed}/{video_id}".encode()).digest())
    train = round(TRAIN_SHARE * len(order))
    return {video_id: "train" if place < train else "test" for place, video_id in enumerate(order)}
