"""The driver's view of a run that workers do: its progress, its messages, and its metrics on their way to MLflow."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipelines.progress import Progress, Task
from pipelines.runs.folder import CONFIG, MESSAGES, METRICS, PROGRESS, RunRequest, read_json
from pipelines.runs.history import read_history
from pipelines.tracking.run import status_after
from pipelines.tracking.tracker import TrackedRun, Tracker
from stprivacy.run_files import read_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Follower:
    """Follows one run; `look` as often as wanted. On leaving by an error, a tracked run that it broke off is closed."""

    def __init__(self, run: RunRequest, progress: Progress, tracker: Tracker | None, parent: str) -> None:
        self._run, self._progress = run, progress
        self._tracker, self._parent = tracker, parent
        self._tracked: TrackedRun | None = None
        self._messages_seen = len(self._messages())
        self._sent_bytes = 0
        self._closed = False
        self._heartbeat = read_json(run.folder / PROGRESS)  # an earlier launch's
        self._tasks: dict[str, Task] = {}
        self._current: Task | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is None:
            self.look()
        elif self._tracked and not self._closed:
            self._tracked.finish(status_after(kind))

    def look(self) -> None:
        """Show what is new in the run folder and send new metrics on."""
        for message in self._messages()[self._messages_seen :]:
            self._messages_seen += 1
            self._progress.say(message)
        heartbeat = read_json(self._run.folder / PROGRESS)
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self._show(heartbeat)
        if self._current and self._run.finished:
            self._current.finish()
        self._send()

    def _messages(self) -> list[str]:
        log = self._run.folder / MESSAGES
        return log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []

    def _show(self, heartbeat: dict[str, Any]) -> None:
        phase = str(heartbeat["phase"])
        step, total, resumed_at = (float(heartbeat[key]) for key in ("step", "total_steps", "resumed_at"))
        title = self._run.title
        what = title if phase == title.partition(" ")[0] else f"{title}, {phase}"
        if phase not in self._tasks:
            if self._current:
                self._current.finish()
            self._tasks[phase] = self._progress.task(what, total, "steps", done=resumed_at)
        self._current = self._tasks[phase]
        rate = float(heartbeat["clips_per_second"])
        self._current.update(step, note=f"{rate:.3g} clips/s" if rate else "", total=total)

    def _send(self) -> None:
        if self._tracker is None:
            return
        self._tracker.flush()
        if self._closed:
            return
        history = self._run.folder / METRICS
        size = history.stat().st_size if history.exists() else 0
        if size != self._sent_bytes:
            self._sent_bytes = size
            self._open(self._tracker).sync()
        if self._run.finished:
            tracked = self._open(self._tracker)
            tracked.log_file(self._run.folder / CONFIG)
            tracked.log_figure(curves_of(history), "curves.png")
            tracked.log_result(read_result(self._run.folder))
            tracked.log_anonymizer(self._run.folder)
            tracked.finish()
            self._closed = True

    def _open(self, tracker: Tracker) -> TrackedRun:
        if self._tracked is None:
            self._tracked = tracker.run(self._run.folder, self._run.title, self._run.config, self._parent)
            self._tracked.log_datasets(self._run.folder)
        return self._tracked


def curves_of(history: Path) -> "Figure":
    """The training curves of a run's metrics.jsonl."""
    from pipelines.curves import curves_figure  # half a second: only who tracks pays it

    return curves_figure(read_history(history))
