"""Raw videos in, anonymised videos out: resumable, and every file accounted for."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines import cluster
from pipelines.release.attempts import Attempts
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.names import ReleaseItem
from pipelines.release.settings import ReleaseSettings, WorkerOptions, provenance_of, release_claim
from pipelines.release.sidecar import source_if_done
from pipelines.release.video import Destination
from pipelines.release.work import Outcome, refusals, release_videos
from stprivacy.deploy.deployed import Deployed
from stprivacy.deploy.load import Trained
from stprivacy.output_lock import output_lock
from stprivacy.storage import absolute_location, remove_partials

_Progress = Callable[[int, int], None]
_Learned = Callable[[Outcome], None]


def anonymize(
    trained: Trained,
    items: Sequence[ReleaseItem],
    out: Path,
    settings: ReleaseSettings,
    *,
    where: WorkerOptions = WorkerOptions(),
    previews: Path | None = None,
    progress: _Progress = lambda *_: None,
    learned: _Learned = lambda _: None,
) -> ReleaseLedger:
    """Release files into `out`, or finish what an interrupted call began.

    Several files go through Ray, which is started, or connected to, if it is not yet. A single one, where there is no
    cluster, is done in this process: starting Ray would take as long as a minute of video.

    Args:
        trained: the network
        items: files and names
        out: folder, made if needed
        settings: how; `stride` must be given
        where: what it runs on
        previews: local folder for side-by-side videos, which contain raw frames; by default none are made
        progress: called with the number of files that are done or failed, and of source frames read in this call
        learned: called with what became of each file, those included that were done before

    Raises: ValueError: `out` holds something else, was begun otherwise, or another process writes to it.
    """
    settings = replace(settings, keep_ratio=settings.keep_ratio or trained.model.config.keep_ratio)
    Deployed(trained.model, settings.keep_ratio, settings.mask)  # raises where they do not fit
    destination = Destination(absolute_location(out), provenance_of(trained, settings), settings, previews)
    with output_lock(out):
        return _Release(trained, destination, where, progress, learned).run(items)


@dataclass(frozen=True)
class _Release:
    """One call to `anonymize`, whose output folder is locked: with what, where to, on what, and who is told."""

    trained: Trained
    destination: Destination
    where: WorkerOptions
    progress: _Progress
    learned: _Learned

    def run(self, items: Sequence[ReleaseItem]) -> ReleaseLedger:
        begun, out = time.monotonic(), self.destination.out
        release_claim(self.destination.provenance).make(out)
        failed = refusals(items)
        done, missing = _done_and_missing([item for item in items if not item.error], out)
        for outcome in done:
            self.learned(outcome)
        # One at which an earlier process has died goes through Ray, whose workers may die.
        is_suspect = any(Attempts(out).before(item.name) != "none" for item in missing[:1])
        self._remove_partials()
        before = len(done) + len(failed)
        self.progress(before, 0)
        is_here = len(missing) < 2 and not is_suspect and not os.environ.get("RAY_ADDRESS")
        release = self._here if is_here else self._through_ray
        outcomes, frames = release(missing, lambda files, read: self.progress(before + files, read))
        self._remove_partials()  # of workers that died at a file
        assert len(outcomes) == len(missing), f"{len(missing)} files in, {len(outcomes)} accounted for"
        outcomes = sorted([*failed, *outcomes], key=lambda one: one.shown)
        failures = tuple(one for one in outcomes if one.error)
        noted = tuple(one for one in outcomes if one.notes)
        return ReleaseLedger(len(items), len(done), failures, time.monotonic() - begun, frames, noted)

    def _remove_partials(self) -> None:
        for folder in filter(None, (self.destination.out, self.destination.previews)):
            remove_partials(folder, below=True)

    def _here(self, items: Sequence[ReleaseItem], progress: _Progress) -> tuple[list[Outcome], int]:
        settings, frames = self.destination.settings, 0

        def report(more_frames: int, _: int) -> None:
            nonlocal frames
            frames += more_frames
            progress(0, frames)

        network = self.trained.model.to("cuda" if self.where.use_gpu else "cpu")
        deployed = Deployed(network, settings.keep_ratio, settings.mask)
        outcomes = release_videos(items, deployed, self.destination, report)
        for outcome in outcomes:
            self.learned(outcome)
        progress(len(outcomes), frames)
        return outcomes, frames

    def _through_ray(self, items: Sequence[ReleaseItem], progress: _Progress) -> tuple[list[Outcome], int]:
        cluster.start(verbose=self.where.verbose)
        from pipelines.release.through_ray import release_through_ray  # imports Ray Data, which reads what start set

        return release_through_ray(self.trained.model, items, self.destination, self.where, progress, self.learned)


def _done_and_missing(items: Sequence[ReleaseItem], out: Path) -> tuple[list[Outcome], list[ReleaseItem]]:
    with ThreadPoolExecutor() as pool:  # whose threads digest files, or wait for an object store
        sources = list(pool.map(lambda item: source_if_done(item, out), items))
    pairs = list(zip(items, sources, strict=True))
    done = [Outcome(item.shown, source=source) for item, source in pairs if source]
    return done, [item for item, source in pairs if not source]
