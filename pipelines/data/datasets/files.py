"""Published annotation files by name, wherever they lie, and video files by what the annotations call them."""

import csv
import filecmp
import io
import json
import os
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.data.manifest import ManifestError
from stprivacy.storage import is_remote

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm")


class Annotations:
    """The files below a folder, by name. Copies of one file are no trouble; different files of one name are."""

    def __init__(self, folder: Path) -> None:
        """Look through the folder, links followed. Raises: ManifestError: there is none."""
        if is_remote(folder):
            raise ManifestError(f"{folder}: copy the annotation files, which are small, to a local folder")
        if not folder.is_dir():
            raise ManifestError(f"{folder} is no folder: --annotations must hold the published annotation files")
        self.folder = folder
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in _walk(folder):
            self._paths[path.name].append(path)

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
            if not filecmp.cmp(paths[0], other, shallow=False):
                raise ManifestError(f"{paths[0]} and {other} have one name and differ: leave one below --annotations")
        return paths[0]


class VideoFiles:
    """Video files below a folder, looked up by the last one or two parts of their path without suffix."""

    def __init__(self, folder: Path, parts: int, ignore_case: bool = False) -> None:
        """Look through the folder, links followed; one that does not exist holds no files."""
        self._folder, self._ignore_case = folder, ignore_case
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in _walk(folder):
            stem, suffix = os.path.splitext(path.name)
            if suffix.lower() in VIDEO_SUFFIXES:
                self._paths[self._key("/".join([*path.parts[-parts:-1], stem]))].append(path)

    def path(self, *names: str) -> str:
        """The file of any of these names (`action/stem`, or a stem alone), or else where the first one should lie.

        Raises: ManifestError: there are several.
        """
        found = [path for name in names for path in self._paths.get(self._key(os.path.splitext(name)[0]), [])]
        if len(found) > 1:
            raise ManifestError(f"{found[0]} and {found[1]} are both taken for {names[0]}: leave one below --videos")
        return str(found[0] if found else self._folder / names[0])

    def _key(self, name: str) -> str:
        return name.casefold() if self._ignore_case else name


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder in order, links followed, each real folder once."""
    if is_remote(folder):
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
        return
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [] if os.path.realpath(root) in seen else sorted(folders)
        if os.path.realpath(root) not in seen:
            yield from (Path(root, name) for name in sorted(names))
        seen.add(os.path.realpath(root))


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not blank, without blanks around them, each after its place `path:number`."""
    for number, line in enumerate(_decoded(path, path.read_bytes()).splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises: ManifestError: it does not."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def read_table(annotations: Annotations, stem: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The rows of STEM.csv or of the CSV in STEM.zip, each after its place `path:number`.

    Raises: ManifestError: neither is there, both are and differ, or a row has other columns than asked for.
    """
    label, content = _csv_content(annotations, stem)
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        for number, row in enumerate(reader, start=1):
            if (number == 1 and tuple(row) != columns) or len(row) not in (0, len(columns)):
                raise ManifestError(f"{label}:{number}: expected columns {','.join(columns)}, got {','.join(row)!r}")
            if number > 1 and row:
                yield f"{label}:{number}", row
    except csv.Error as error:
        raise ManifestError(f"{label}:{reader.line_num}: not CSV: {error}") from error


def _csv_content(annotations: Annotations, stem: str) -> tuple[str, str]:
    found: list[tuple[str, bytes]] = []
    if f"{stem}.csv" in annotations or f"{stem}.zip" not in annotations:
        path = annotations.file(f"{stem}.csv")
        found.append((str(path), path.read_bytes()))
    if f"{stem}.zip" in annotations:
        found.append(_unzipped(annotations.file(f"{stem}.zip"), f"{stem}.csv"))
    if found[0][1] != found[-1][1]:
        raise ManifestError(f"{found[0][0]} and {found[1][0]} differ: leave one below --annotations")
    return found[0][0], _decoded(Path(found[0][0]), found[0][1])


def _unzipped(path: Path, name: str) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.namelist() if member.rpartition("/")[2] == name]
            if len(members) != 1:
                raise ManifestError(f"{path} holds {len(members)} files named {name}, not one")
            return f"{path}/{members[0]}", archive.read(members[0])
    except (zipfile.BadZipFile, OSError) as error:
        raise ManifestError(f"{path} cannot be read as a zip file: {error}") from error


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not text in UTF-8: {error}") from error
