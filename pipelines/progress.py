"""What a job is doing, how far it is, how fast it goes and how long it still takes."""

import sys
import time
from collections import deque
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from pipelines.text import duration, redacted

PLAIN_LINE_SECONDS = 10.0
RATE_WINDOW_SECONDS = 60.0


class Task:
    """One piece of work of `total` units; made by `Progress.task`."""

    def __init__(self, owner: "Progress", what: str, total: float, unit: str, start: float) -> None:
        self._owner = owner
        self.what, self.total, self.unit = what, total, unit
        self.done = start
        self.note = ""
        now = time.monotonic()
        self._begun, self._first = now, start
        self._samples = deque([(now, start)])
        self.finished_after: float | None = None

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        """Units done so far (all of them, not the new ones), a short remark, and a new total where it changed.

        Progress that falls back, as after a restart, starts the measured rate afresh.
        """
        now = time.monotonic()
        if done < self.done:
            self._samples = deque([(now, done)])
            self._first, self._begun = done, now
        self.done, self.note = done, note or self.note
        self.total = self.total if total is None else total
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_SECONDS:
            self._samples.popleft()
        self._owner.changed(self)

    def finish(self, note: str = "") -> None:
        """The work is over, whether or not all units were done."""
        if self.finished_after is None:
            self.note = note or self.note
            self.finished_after = time.monotonic() - self._begun
            self._owner.changed(self)

    def rate(self) -> float:
        """Units a second over the last minute, or over the whole work once it is finished; 0 when unknown."""
        if self.finished_after is not None:
            return (self.done - self._first) / max(self.finished_after, 1e-9)
        (begun, first), (now, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - begun) if now > begun else 0.0

    def describe(self) -> str:
        """Everything but the name and the bar: count, rate, time left or taken, remark."""
        parts = [f"{self.done:g}/{self.total:g} {self.unit}"]
        rate = self.rate()
        if rate > 0:
            parts.append(f"{rate:.3g} {self.unit}/s")
        if self.finished_after is not None:
            parts.append(f"took {duration(self.finished_after)}")
        elif rate > 0:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join([*parts, self.note] if self.note else parts)


class _Details(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        return Text(task.fields["owner"].describe())


class Progress:
    """Shows tasks as bars on a terminal, elsewhere as a line at each start and end and one every 10 s between.

    Use as a context manager; `quiet` shows nothing, `stream` is where to write (default: standard error).
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream)
        self._bars = RichProgress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), _Details(), console=self._console
        )
        self._plain = quiet or not self._console.is_terminal
        self._ids: dict[Task, TaskID] = {}
        self._printed: dict[Task, float] = {}

    def __enter__(self) -> "Progress":
        if not self._plain:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for task in self._printed:
            if kind is None:
                task.finish()
        if not self._plain:
            self._bars.stop()

    def task(self, what: str, total: float, unit: str, done: float = 0.0) -> Task:
        """Begin a piece of work: its name, how many units it has, what a unit is, and how many were done before."""
        task = Task(self, what, total, unit, done)
        self._printed[task] = time.monotonic()
        if not self._plain:
            self._ids[task] = self._bars.add_task(what, total=total or None, completed=int(done), owner=task)
        else:
            self._print(f"{what}: {total:g} {unit}" + (f", {done:g} done before" if done else ""))
        return task

    def say(self, message: str) -> None:
        """Show one line that stays, above the bars."""
        if self._quiet:
            return
        message = redacted(message)
        if self._plain:
            self._print(message)
        else:
            self._bars.print(Text(message))

    def changed(self, task: Task) -> None:
        """Called by a task that moved: redraw it, or print a line if the last one is old enough."""
        if not self._plain:
            self._bars.update(self._ids[task], total=task.total or None, completed=task.done)
            return
        now = time.monotonic()
        if task.finished_after is not None or now - self._printed[task] >= PLAIN_LINE_SECONDS:
            self._printed[task] = now
            self._print(f"{task.what}: {task.describe()}")

    def _print(self, line: str) -> None:
        if not self._quiet:
            print(line, file=self._stream, flush=True)
