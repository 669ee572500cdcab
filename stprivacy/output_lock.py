"""One process at a time writes to an output folder; a second one reads who does.

On a local disk, the lock is the kernel's (flock): it ends with the process, however that ends. Object stores, and
file systems without flock, have none: there, a lease names its owner, who renews it; one that stands still has none.
"""

import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stprivacy.storage import StorageError, create_new, is_remote, make_folder, write_whole

LOCK_NAME = ".lock"
RENEW_SECONDS, EXPIRY_SECONDS = 5.0, 30.0
_SETTLE_SECONDS = 1.0  # by when any other that saw the same dead lease has written its own
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class OutputBusyError(ValueError):
    """Another process writes to the folder; the message names it."""


@dataclass(frozen=True)
class _Owner:
    pid: int
    host: str
    since: str
    token: str
    renewals: int = 0

    @staticmethod
    def here() -> "_Owner":
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return _Owner(os.getpid(), socket.gethostname(), since, secrets.token_hex(8))

    def is_dead(self) -> bool:
        """True if it was a process of this host that has ended; of other hosts nothing is known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@contextmanager
def output_lock(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if needed, until the block ends.

    Raises: OutputBusyError: another process, or another block of this one, holds it. StorageError: the folder cannot
        be made or written to.
    """
    made = not is_remote(folder) and not folder.exists()
    try:
        make_folder(folder)
        descriptor = None if is_remote(folder) else _locked_file(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        if descriptor is None:
            with _Lease(folder):
                yield
        else:
            yield
    finally:
        if descriptor is not None:
            (folder / LOCK_NAME).unlink(missing_ok=True)  # before it is let go: see _locked_file
            os.close(descriptor)
        if made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def _locked_file(folder: Path) -> int | None:
    """The descriptor of the locked file; None where the file system has no locks. Raises: OutputBusyError."""
    path = folder / LOCK_NAME
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have removed the file between our opening and our locking it.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, _Owner.here().encoded(), 0)
                return descriptor
            os.close(descriptor)
        except BlockingIOError as error:
            owner = _owner_in(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise _busy(folder, owner) from error
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                return None
            raise


class _Lease:
    """A lease in a store without locks, renewed by a thread.

    Raises on leaving: OutputBusyError: another process took it over, as it was not renewed in time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK_NAME
        self._owner = _Owner.here()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thief: _Owner | None = None

    def __enter__(self) -> "_Lease":
        while not create_new(self._path, self._owner.encoded()):
            self._wait_for_dead()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._thief:
            raise _busy(self._folder, self._thief)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _wait_for_dead(self) -> None:
        """Remove the lease in our way if its owner is dead. Raises: OutputBusyError: it is renewed."""
        first = self._read()
        begun = time.monotonic()
        while first is not None and not first.is_dead() and time.monotonic() - begun < EXPIRY_SECONDS:
            time.sleep(_SETTLE_SECONDS)
            now = self._read()
            if now is None:
                return
            if now != first:
                raise _busy(self._folder, now)
        if self._read() == first:
            with suppress(FileNotFoundError):
                self._path.unlink()

    def _renew(self) -> None:
        renewals = 0
        pause = _SETTLE_SECONDS
        while not self._over.wait(pause):
            pause = RENEW_SECONDS
            with suppress(OSError):  # a store that does not answer now may do so before the lease expires
                found = self._read()
                if found is not None and found.token != self._owner.token:
                    self._thief = found
                    return
                renewals += 1
                write_whole(self._path, replace(self._owner, renewals=renewals).encoded())

    def _read(self) -> _Owner | None:
        try:
            return _owner_in(self._path.read_bytes())
        except FileNotFoundError:
            return None


def _owner_in(content: bytes) -> _Owner:
    try:
        fields: dict[str, Any] = json.loads(content)
        return _Owner(**fields)
    except (ValueError, TypeError):
        return _Owner(0, "", "", content.hex())


def _busy(folder: Path, owner: _Owner) -> OutputBusyError:
    who = f"process {owner.pid} on {owner.host}, since {owner.since}" if owner.pid else "another process"
    return OutputBusyError(
        f"{folder} is being written to by {who}: wait for it, stop it, or choose another output folder"
    )
