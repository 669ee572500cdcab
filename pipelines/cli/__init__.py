"""One way to end a command: its errors, its signals and its exit statuses, the same for every job.

Importing this takes no time, so that Ctrl-C while a job's own modules load is met here, too.
"""

import contextlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, cast

from pipelines.text import cause_of, one_line, redacted

FAILED, INTERRUPTED, READER_LEFT, TERMINATED = 1, 130, 141, 143
# Of Python's own exceptions those that only a mistake in this program raises.
_MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, SystemError, TypeError)


class Terminated(KeyboardInterrupt):
    """SIGTERM, from a scheduler or `kill`: ends the work as Ctrl-C does."""


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and end the process.

    The exit status is what `main` returns (nothing: 0); 1 after an error, which is reported in one line on standard
    error; 130 after Ctrl-C and 143 after SIGTERM, also in one line; 141 where the reader of the output has left, as
    `head` does. An embedded Ray ends with the process. Mistakes of this program keep their traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names of files may be any bytes
    try:
        with contextlib.redirect_stdout(_redacting(sys.stdout)), contextlib.redirect_stderr(_redacting(sys.stderr)):
            status = _flushed(main)
    except KeyboardInterrupt as stop:
        _leave(stop)
    except Exception as error:
        status = READER_LEFT if isinstance(error, BrokenPipeError) and _reader_left() else FAILED
        if status == FAILED:
            _say(f"error: {one_line(error)}" if _is_expected(error) else traceback.format_exc().rstrip())
    if not _can_flush():
        os._exit(status)  # Python would complain at its end, and change the status
    _exit_at_once_on_signals(status)
    sys.exit(status)


class _Redacting:
    """A stream that lets no password through, whoever writes: argument parsers and other libraries, too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(redacted(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _redacting(stream: TextIO) -> TextIO:
    return cast(TextIO, _Redacting(stream))


def _flushed(main: Callable[[], int | None]) -> int:
    """The status of `main`, whose output has been written. Raises: OSError: it cannot be written."""
    try:
        status = main() or 0
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def _is_expected(error: Exception) -> bool:
    """Whether input, settings or the machine may have caused it; libraries' own exceptions count as such."""
    cause = cause_of(error)
    return not (isinstance(cause, _MISTAKES) and type(cause).__module__ == "builtins")


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def _leave(stop: KeyboardInterrupt) -> NoReturn:
    """End without waiting for threads that still wait for something, or listening to what they say about it."""
    word, status = ("terminated", TERMINATED) if isinstance(stop, Terminated) else ("interrupted", INTERRUPTED)
    _exit_at_once_on_signals(status)
    _can_flush()
    _say(f"{word}: rerun the command to resume")
    silence = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(silence, output)
    if "ray" in sys.modules:
        from pipelines import cluster

        with contextlib.suppress(Exception):
            cluster.stop()
    os._exit(status)


def _exit_at_once_on_signals(status: int) -> None:
    """Nothing is left to do but to clean up: whoever presses Ctrl-C now does not want to wait for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(status))


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it
        print(redacted(message), file=sys.stderr, flush=True)


def _reader_left() -> bool:
    """Whether it is standard output that is broken, and no other pipe."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _can_flush() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True
