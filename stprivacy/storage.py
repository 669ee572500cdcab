"""Folders on local disks and in object stores, by one kind of path.

A local folder is a `pathlib.Path`. A `s3://` or `gs://` URI is a UPath, which has the same methods. What differs is how
a file comes to appear whole: on a disk it is written aside, synced and renamed; in a store, one put is atomic.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from upath import UPath

PARTIAL_SUFFIX = ".partial"
# The package that speaks to each store.
SCHEMES = {"s3": "s3fs", "gs": "gcsfs"}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or a role of the machine",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
}


class StorageError(ValueError):
    """An object store that cannot be used; the message says which, why, and what to do."""


def location(text: str | os.PathLike[str]) -> Path:
    """The folder or file that a user names: a local path, or the URI of an object store.

    Raises: StorageError: an unknown scheme, no bucket, or no package for the store.
    """
    if not isinstance(text, str) or not is_uri(text):
        return cast(Path, text) if isinstance(text, UPath) else Path(text)
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES:
        raise StorageError(f"unknown scheme {scheme}://: give a local folder, s3://BUCKET/... or gs://BUCKET/...")
    if "@" in rest.partition("/")[0]:  # never named in messages, nor kept in the files that name their data
        what = f"{scheme}://USER:PASSWORD@BUCKET"
        raise StorageError(f"{what} is not understood: leave user and password out, and {_CREDENTIALS[scheme]}")
    if not rest.strip("/"):
        raise StorageError(f"{text} names no bucket: give {scheme}://BUCKET/...")
    try:
        # A listing that was kept would hide what other processes write.
        path = UPath(text.rstrip("/"), use_listings_cache=False)
        path.fs  # noqa: B018  # loads the package
    except ImportError as error:
        raise StorageError(f"{text} needs a package that is not installed: pip install {SCHEMES[scheme]}") from error
    except Exception as error:
        raise _unusable(text, scheme, error) from error
    return cast(Path, path)


def is_uri(text: str) -> bool:
    """Whether text names a place in an object store, or in something else with a scheme."""
    return "://" in text


def is_remote(path: Path) -> bool:
    """Whether a path lies in an object store."""
    return isinstance(path, UPath)


def absolute_location(path: Path) -> Path:
    """The path by which every process finds the same place: absolute, or a URI as it is."""
    return path if is_remote(path) else path.resolve()


def checked_location(path: Path) -> Path:
    """The same, of a URI whose bucket has answered. Raises: StorageError: it does not exist or cannot be used."""
    path = absolute_location(path)
    if is_remote(path):
        store: Any = path
        bucket = store.path.partition("/")[0]
        try:
            store.fs.info(bucket)
        except FileNotFoundError as error:
            raise StorageError(f"{path}: there is no bucket {bucket}: create it first") from error
        except Exception as error:  # each store, and each way to be without credentials, has errors of its own
            raise _unusable(str(path), store.protocol, error) from error
    return path


def named_location(path: Path) -> Path:
    """The same, of a data set or run, whose folder Parquet, Ray and MLflow are told of by name.

    Raises: StorageError: that, or a name that is not UTF-8.
    """
    path = checked_location(path)
    if not is_utf8(str(path)):
        raise StorageError(f"{path}: names of data sets and runs must be UTF-8; choose another")
    return path


def is_utf8(name: str) -> bool:
    """Whether a name of a file is text: on Linux, names are bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and its parents; an object store has none to make."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder and those of its parents that are missing; one that is there becomes private, its parents stay."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    for one in (*reversed(missing), folder):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_dir():
        _store(path).rm(_key(path), recursive=True)


@contextmanager
def atomic_file(path: Path, private: bool = False) -> Iterator[Path]:
    """A local file to write, which is then, if nothing failed, found under the name `path`, whole and on disk.

    A reader, or a kill, never meets half of it; of several writers, the last one wins. Missing folders are made. A
    private file is there already, for its owner alone to read from its first byte on, whatever the umask; objects in a
    store are as private as their bucket.
    Raises: OSError: it cannot be put there.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="stprivacy-") as folder:
            yield Path(folder) / path.name
            _store(path).put_file(str(Path(folder) / path.name), _key(path))
        return
    make_folder(path.parent)
    partial = partial_name(path)
    try:
        if private:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            partial.chmod(0o600)  # the umask may have taken too much
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, private: bool = False) -> None:
    """Write a file as `atomic_file` does."""
    if is_remote(path):
        _store(path).pipe_file(_key(path), content)
        return
    with atomic_file(path, private) as partial, open(partial, "r+b" if private else "xb") as file:
        file.write(content)


def sync(path: Path) -> None:
    """Wait until a local file's content, or a folder's entries, are on disk and survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_name(path: Path) -> Path:
    """A hidden name beside a local file for what becomes it when it is whole: no other writer has the same."""
    # A hash, as the name may be as long as names can be, and of any bytes.
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".{digest}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


def remove_partials(folder: Path, below: bool = False) -> None:
    """Remove what killed processes left half-written in a folder that no other process writes to.

    With `below`, in the folders below it, too. In a store nothing is half-written: only with `below`, what others named
    so is looked for there.
    """
    if below or not is_remote(folder):
        for path in (folder.rglob if below else folder.glob)(f".*{PARTIAL_SUFFIX}"):
            path.unlink(missing_ok=True)


def create_new(path: Path, content: bytes) -> bool:
    """Write a small file only if there is none; returns False if there is one, whoever wrote it."""
    try:
        if is_remote(path):
            _store(path).pipe_file(_key(path), content, mode="create")
        else:
            with open(path, "xb") as file:
                file.write(content)
    except FileExistsError:
        return False
    except OSError:
        # Stores word a failed condition each in their own way.
        if path.exists():
            return False
        raise
    return True


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file that has one writer. Objects cannot grow: theirs is read and written anew."""
    if is_remote(path):
        before = path.read_bytes() if path.exists() else b""
        write_whole(path, before + f"{line}\n".encode())
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_ranges(paths: list[Path], starts: list[int], ends: list[int]) -> list[bytes]:
    """Bytes starts[i] to ends[i] of each of the objects in one store, read at the same time."""
    if not paths:
        return []
    parts = _store(paths[0]).cat_ranges([_key(path) for path in paths], starts, ends, on_error="raise")
    return [bytes(part) for part in parts]


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The file or folder on a local disk, under its own name, while it is in use; it must not be changed.

    Raises: FileNotFoundError: there is no such object.
    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="stprivacy-") as folder:
        copy = Path(folder) / path.name
        if path.is_dir():
            _store(path).get(_key(path), str(copy), recursive=True)
        else:
            _store(path).get_file(_key(path), str(copy))
        yield copy


def object_state(path: Path) -> tuple[int, str]:
    """Size in bytes and version of an object.

    Raises: OSError: there is none, or it cannot be seen. StorageError: the store cannot be used.
    """
    try:
        found = _store(path).info(_key(path))
    except OSError:
        raise
    except Exception as error:  # each store has errors of its own
        raise _unusable(str(path), cast(Any, path).protocol, error) from error
    return int(found["size"]), str(found.get("ETag") or found.get("etag") or found.get("mtime", ""))


def filesystem(path: Path) -> Any:
    """The fsspec file system of a path in an object store, and the path in it."""
    return _store(path), _key(path)


def _store(path: Path) -> Any:
    return cast(Any, path).fs


def _key(path: Path) -> str:
    return str(cast(Any, path).path)


def _unusable(place: str, scheme: str, error: Exception) -> StorageError:
    """What an error of a store's own package means to the user."""
    kind, text = type(error).__name__, str(error).strip() or type(error).__name__
    if "Credentials" in kind or "credentials" in text.lower():
        return StorageError(f"{place}: no credentials were found: {_CREDENTIALS[scheme]}")
    if isinstance(error, PermissionError):
        return StorageError(f"{place}: access is denied ({text}): {_CREDENTIALS[scheme]}, one that may use the bucket")
    return StorageError(f"{place} cannot be reached ({kind}: {text})")
