"""Opaque names, and the private file that is the key to them."""

import errno
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.release.inputs import Inputs
from pipelines.release.names import ReleaseItem, refused
from pipelines.text import json_bytes, printable
from stprivacy.storage import is_remote, write_whole

_ID_BYTES, _SALT_BYTES = 8, 32
_NAME, _SALT = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{64}")
_SAVE_SECONDS = 10.0
_Keys = dict[str, dict[str, Any]]


class KeyFile:
    """For every path below the input folder: its opaque name, a salt, and what the source was once it is released.

    The salt keys the digest of the source in the sidecar, which tells nothing without it. Other releases may use the
    file at the same time. A context manager: on leaving, what `note` was told is in the file.
    """

    def __init__(self, path: Path) -> None:
        """Raises: ValueError: it is to lie in an object store."""
        if is_remote(path):
            raise ValueError(f"{path}: the key file must be readable by you alone: give --keys FILE on a local disk")
        self._path = path
        self._sources: dict[str, dict[str, Any]] = {}
        self._saved_at = time.monotonic()

    def __enter__(self) -> "KeyFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def release_items(self, inputs: Inputs) -> list[ReleaseItem]:
        """Random names, the same ones as before for files that are known; all are in the file before any is used.

        They are sorted by them: the order in which videos are written tells nothing of the sources'.
        Raises: ValueError: the file is no key file, or cannot be written.
        """
        files = [found for found in inputs.files if not found.error]
        with self._changed() as keys:
            for found in files:
                keys.setdefault(found.below, _new(secrets.token_hex(_ID_BYTES)))
        named = [
            ReleaseItem(found.path, found.below, keys[found.below]["name"], keys[found.below]["salt"])
            for found in files
        ]
        return [*sorted(named, key=lambda item: item.name), *refused(inputs)]

    def note(self, shown: str, source: Mapping[str, Any]) -> None:
        """Digest and size of a source whose video is released; they are in the file within seconds."""
        self._sources[shown] = dict(source)
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        if self._sources:
            with self._changed() as keys:
                for shown, source in self._sources.items():
                    keys[shown]["source"] = source
        self._sources, self._saved_at = {}, time.monotonic()

    @contextmanager
    def _changed(self) -> Iterator[_Keys]:
        """The keys, read and written while no other process does."""
        try:
            with self._locked() as content:
                keys = _parsed(content, self._path) if content else {}
                yield keys
                write_whole(self._path, json_bytes(keys), private=True)
        except OSError as error:
            raise ValueError(f"{printable(str(self._path))} cannot be used: {error.strerror or error}") from error

    @contextmanager
    def _locked(self) -> Iterator[bytes]:
        """What is in the file, empty if it is not there, while a lock on it is held."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                _lock(file.fileno())
                if not _is_still(self._path, file.fileno()):
                    continue  # another process has replaced it meanwhile
                yield file.read()
                return


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):  # a file system without locks
            raise


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _new(name: str) -> dict[str, Any]:
    return {"name": name, "salt": secrets.token_hex(_SALT_BYTES)}


def _parsed(content: bytes, path: Path) -> _Keys:
    try:
        keys = {below: _entry(value) for below, value in json.loads(content).items()}
        if len({entry["name"] for entry in keys.values()}) < len(keys):
            raise ValueError("two files have the same name")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{printable(str(path))} is not a key file, or damaged ({printable(str(error))}): give another --keys, or "
            "move it away"
        ) from error
    return keys


def _entry(value: Any) -> dict[str, Any]:
    """One of the file, also as it once was: a name alone. Raises: ValueError, TypeError or KeyError: it is none."""
    entry = _new(value) if isinstance(value, str) else dict(value)
    if not _NAME.fullmatch(entry["name"]) or not _SALT.fullmatch(entry["salt"]):
        raise ValueError("a name is not 16 hexadecimal digits, or a salt not 64")
    return entry
