"""Wall seconds, or peak memory, of a command with all processes that it starts, however they detach themselves."""

import ctypes
import os
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS, END_SECONDS = 0.2, 30.0
_LIMITING = ("OMP_NUM_THREADS", "RAY_ADDRESS")  # would hold a command's threads back, or send its work elsewhere
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Watched:
    """Wall seconds of a command, slowed by the watching, and the most MiB that its processes held at one time."""

    seconds: float
    peak_mib: float


def timed(command: Sequence[str], log: Path, end_seconds: float = END_SECONDS) -> float:
    """Wall seconds from the start of a command to its exit; what it says goes to the file `log`.

    Raises: RuntimeError: it fails, or has processes that outlive it by more than end_seconds; they are killed.
    """
    started = time.perf_counter()
    with _started(command, log, end_seconds) as process:
        process.wait()
        return time.perf_counter() - started


def watched(command: Sequence[str], log: Path, statuses: Collection[int] = (0,)) -> Watched:
    """The same, with a look at the memory every SAMPLE_SECONDS; `statuses` are those with which it may end.

    Counted is PSS, over the command and all its descendants: their resident pages, with shared memory and mapped
    files, a page that several share counted once. Raises: RuntimeError: see `timed`.
    """
    peak_bytes, started = 0, time.perf_counter()
    others = _children()
    with _started(command, log, END_SECONDS, statuses) as process:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, sum(map(_pss_bytes, _descendants(others))))
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
        return Watched(time.perf_counter() - started, peak_bytes / 2**20)


@contextmanager
def _started(
    command: Sequence[str], log: Path, end_seconds: float, statuses: Collection[int] = (0,)
) -> Iterator["subprocess.Popen[bytes]"]:
    """The command as it runs; at the end it must have succeeded, and soon all its processes be gone."""
    environment = {name: value for name, value in os.environ.items() if name not in _LIMITING}
    others = _children()
    with _adopting_orphans(), log.open("wb") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as process:
            yield process
        _, left = psutil.wait_procs(list(_descendants(others)), timeout=end_seconds)
        for late in left:
            late.kill()
        psutil.wait_procs(left)
    if process.returncode not in statuses:
        last_words = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}; {log} ends: {last_words}")
    if left:
        raise RuntimeError(f"{' '.join(command)} has ended, but not its processes {[child.pid for child in left]}")


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def _descendants(others: Collection[int]) -> Iterator[psutil.Process]:
    """All descendants of this process but its children `others` and theirs."""
    for child in psutil.Process().children():
        if child.pid not in others:
            yield child
            with suppress(psutil.NoSuchProcess):
                yield from child.children(recursive=True)


def _pss_bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):  # it has just ended
        return int(process.memory_full_info().pss)
    return 0


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """A process whose parent ends becomes a child of this one instead of init's: no daemon leaves the tree."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphaned processes")
    try:
        yield
    finally:
        library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
