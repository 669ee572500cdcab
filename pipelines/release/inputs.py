"""Which files are released, and under which names."""

import json
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stprivacy.storage import is_remote, whole_location

_ID_BYTES = 8


@dataclass(frozen=True)
class Order:
    """A file to release: where it lies, its path below the input folder, and its name below the output folder.

    The video's file is `name` + .mp4, its sidecar's `name` + .json.
    """

    path: str
    shown: str
    name: str


def list_inputs(source: Path) -> list[tuple[str, str]]:
    """(where it lies, path below the folder) of a file, or of every file below a folder, sorted.

    Files and folders whose name begins with a dot are passed over; all others count, whatever they hold.
    Raises: ValueError: no such file or folder, or one without files.
    """
    source = whole_location(source)
    if source.is_file():
        return [(str(source), source.name)]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder; --input takes a video or a folder of videos")
    found = []
    for path in source.rglob("*"):
        below = str(path).removeprefix(str(source)).strip("/")
        if not any(part.startswith(".") for part in below.split("/")) and not path.is_dir():
            found.append((str(path), below))
    if not found:
        raise ValueError(f"{source} holds no files; --input takes a video or a folder of videos")
    return sorted(found, key=lambda pair: pair[1])


def check_apart(source: Path, out: Path) -> None:
    """See that raw videos and released ones do not share a folder. Raises: ValueError: they would."""
    source, out = whole_location(source), whole_location(out)
    folder = source.parent if source.is_file() else source
    first, second = (PurePosixPath(str(path).replace("://", "/")) for path in (folder, out))
    if first == second:
        raise ValueError(f"--output {out} is the folder of the raw videos: give another")
    if first in second.parents and not source.is_file():
        raise ValueError(f"--output {out} lies inside of --input {source}, whose files are all taken for raw videos")
    if second in first.parents:
        raise ValueError(f"--input {source} lies inside of --output {out}: raw videos do not belong into a release")


def plain_names(found: Sequence[tuple[str, str]]) -> list[Order]:
    """Names as in the input folder, without the suffix, or with it where two files would share a name."""
    stems = [below.removesuffix(PurePosixPath(below).suffix) for _, below in found]
    taken = Counter(stem.lower() for stem in stems)
    names = [stem if taken[stem.lower()] == 1 else below for stem, (_, below) in zip(stems, found, strict=True)]
    # A file may be called what another one becomes.
    again = Counter(name.lower() for name in names)
    names = [name if again[name.lower()] == 1 else below for name, (_, below) in zip(names, found, strict=True)]
    return [Order(path, below, name) for (path, below), name in zip(found, names, strict=True)]


def opaque_names(found: Sequence[tuple[str, str]], keys: Path) -> list[Order]:
    """Random names, the same ones as before for files that `keys` knows; it is written before any name is used.

    Raises: ValueError: the key file is no such file, or is in an object store.
    """
    if is_remote(keys):
        raise ValueError(f"{keys}: the key file must be readable by you alone: give --keys FILE on a local disk")
    known: dict[str, str] = {}
    if keys.exists():
        try:
            known = dict(json.loads(keys.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{keys} is not a key file: give another --keys, or move it away") from error
    for _, below in found:
        known.setdefault(below, secrets.token_hex(_ID_BYTES))
    write_private(keys, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    return [Order(path, below, known[below]) for path, below in found]


def write_private(path: Path, text: str) -> None:
    """Write a local file, whole or not at all, that its owner alone can read from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
