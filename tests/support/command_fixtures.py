"""Commands run in this process: what they print and how they end, without seconds of imports and a Ray of their own."""

import contextlib
import io
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from pipelines.cli import run
from pipelines.cli.main import COMMANDS


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that it said: what it printed first, and then its progress and errors."""
        return self.stdout + self.stderr


def run_command(name: str, *words: str, cwd: Path) -> Done:
    """`stprivacy NAME WORDS` in a folder. Where it needs Ray, it takes the embedded one that this process has."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            mock.patch.object(sys, "argv", [f"stprivacy {name}", *words]),
            pytest.raises(SystemExit) as ended,
        ):
            run(COMMANDS[name])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    texts = [stream.buffer.getvalue().decode() for stream in (stdout, stderr)]  # type: ignore[attr-defined]
    return Done(int(ended.value.code or 0), *texts)
