"""Many videos through one network at a time: clips of several in each batch."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, get_args

from pipelines.release.attempts import Attempt, Attempts
from pipelines.release.encoding import WriteError
from pipelines.release.names import ReleaseItem
from pipelines.release.video import Destination, OpenVideo
from stprivacy.deploy.deployed import Deployed
from stprivacy.deploy.steady_masks import AnonymizedClip, Clip
from stprivacy.video.decoding import VideoError

BATCH_CLIPS = 4
OPEN_VIDEOS = 4  # each has a decoder and an encoder
REPORT_SECONDS = 0.5
_Ended = Exception | None  # of a video that is whole: None
_CRASHED = "the process that read it died, twice, the second time with no other file open"


@dataclass(frozen=True)
class Outcome:
    """What became of a file: released, or not, with a short code and a sentence that say why.

    Of a released one, `notes` are what its user should know, and `source` is the digest and size of what was read.
    """

    shown: str
    error: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)


def release_videos(
    items: Sequence[ReleaseItem], deployed: Deployed, destination: Destination, report: Callable[[int, int], object]
) -> list[Outcome]:
    """Release each file, or name what is wrong with it; a failed one leaves nothing behind and stops no other.

    `report` gets, now and then, how many more source frames were read, and files done with.
    """
    attempts = Attempts(destination.out)
    before = {item.name: attempts.before(item.name) for item in items}
    by_attempt = {kind: [item for item in items if before[item.name] == kind] for kind in get_args(Attempt)}
    outcomes = [Outcome(item.shown, "crashed", _CRASHED) for item in by_attempt["alone"]]
    report(0, len(outcomes))
    outcomes += _Work(by_attempt["none"], deployed, destination, report).run()
    for item in by_attempt["together"]:
        outcomes += _Work([item], deployed, destination, report, alone=True).run()
    for item in by_attempt["alone"]:
        attempts.end(item.name)
    return outcomes


class _Work:
    """Three things at a time: the next batch is read and the last one written while the network is at this one."""

    def __init__(
        self,
        items: Sequence[ReleaseItem],
        deployed: Deployed,
        destination: Destination,
        report: Callable[[int, int], object],
        alone: bool = False,
    ) -> None:
        self._items = deque(items)
        self._attempts, self._alone = Attempts(destination.out), alone
        self._deployed, self._destination, self._report = deployed, destination, report
        self._masks = deployed.masks()
        self._open: dict[str, OpenVideo] = {}
        self._outcomes: list[Outcome] = []
        self._frames_closed = self._frames_told = self._files_told = 0
        self._told_at = time.monotonic()

    def run(self) -> list[Outcome]:
        clips: list[Clip] = []
        done: list[AnonymizedClip] = []
        with ThreadPoolExecutor(2) as pool:
            try:
                self._open_more()
                while self._open:
                    reading = pool.submit(self._read, list(self._open.values()))
                    writing = pool.submit(self._write, done)
                    done = self._masks.push(clips)
                    (clips, broken), written = reading.result(), writing.result()
                    for name, error in (written | broken).items():  # nobody is at any video now
                        self._close(name, error)
                    clips = [clip for clip in clips if clip.video in self._open]
                    self._open_more()
                    self._tell()
            finally:  # interrupted, or by a fault of the program: half-written files go
                pool.shutdown()
                for name in list(self._open):
                    self._close(name, InterruptedError())
        self._tell(whole=True)
        return self._outcomes

    def _open_more(self) -> None:
        while self._items and len(self._open) < OPEN_VIDEOS:
            item = self._items.popleft()
            video = OpenVideo(item, self._deployed, self._destination)
            try:
                self._attempts.begin(item.name, self._alone)
                video.__enter__()
            except Exception as error:
                self._outcomes.append(_failure(item, error))
                self._attempts.end(item.name)
            else:
                self._open[video.name] = video

    def _read(self, videos: Sequence[OpenVideo]) -> tuple[list[Clip], dict[str, _Ended]]:
        """A batch of the next clips, by turns from each video that still has some, and the videos that broke off."""
        clips: list[Clip] = []
        broken: dict[str, _Ended] = {}
        while len(clips) < BATCH_CLIPS:
            waiting = [video for video in videos if not video.all_read and video.name not in broken]
            if not waiting:
                break
            for video in waiting[: BATCH_CLIPS - len(clips)]:
                try:
                    clips.append(video.read())
                except Exception as error:
                    broken[video.name] = error
        return clips, broken

    def _write(self, done: Sequence[AnonymizedClip]) -> dict[str, _Ended]:
        """Write what became of clips; returns the videos that are over, finished or not."""
        over: dict[str, _Ended] = {}
        for clip in done:
            video = self._open.get(str(clip.video))
            if video is None or video.name in over:
                continue  # it failed at an earlier clip
            try:
                if video.take(clip):
                    video.finish()
                    over[video.name] = None
            except Exception as error:
                over[video.name] = error
        return over

    def _close(self, name: str, error: _Ended) -> None:
        video = self._open.pop(name)
        self._frames_closed += video.frames_read
        self._masks.forget(name)
        with suppress(Exception):  # what cannot be tidied up stops no other file
            video.__exit__(type(error) if error else None, error, None)
        self._attempts.end(video.item.name)
        released = Outcome(video.item.shown, notes=video.notes, source=video.source)
        self._outcomes.append(_failure(video.item, error) if error else released)

    def _tell(self, whole: bool = False) -> None:
        if not whole and time.monotonic() - self._told_at < REPORT_SECONDS:
            return
        read = self._frames_closed + sum(video.frames_read for video in self._open.values())
        self._report(read - self._frames_told, len(self._outcomes) - self._files_told)
        self._frames_told, self._files_told, self._told_at = read, len(self._outcomes), time.monotonic()


def refusals(items: Sequence[ReleaseItem]) -> list[Outcome]:
    """Those of files that cannot be released, as is known before work begins."""
    return [Outcome(item.shown, item.error, item.message) for item in items if item.error]


def _failure(item: ReleaseItem, error: Exception) -> Outcome:
    if isinstance(error, VideoError):
        return Outcome(item.shown, error.error, str(error))
    if isinstance(error, WriteError):
        return Outcome(item.shown, "not-written", str(error))
    if isinstance(error, OSError):
        return Outcome(item.shown, "not-written", f"cannot be written: {error.strerror or error}")
    return Outcome(item.shown, "failed", f"{type(error).__name__}: {error}")
