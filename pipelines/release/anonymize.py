"""Raw videos in, anonymised videos out: resumable, and every file accounted for."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from pipelines import cluster
from pipelines.release.attempts import Attempts
from pipelines.release.drafts import remove_drafts
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.names import Order
from pipelines.release.settings import Crew, ReleaseSettings, claim, provenance_of
from pipelines.release.sidecar import source_if_done
from pipelines.release.video import Destination
from pipelines.release.work import Outcome, refusals, release_videos
from stprivacy.deployed import Deployed
from stprivacy.output_lock import output_lock
from stprivacy.storage import whole_location
from stprivacy.trained import Trained

_Progress = Callable[[int, int], None]
_Learned = Callable[[Outcome], None]


def anonymize(
    trained: Trained,
    orders: Sequence[Order],
    out: Path,
    settings: ReleaseSettings,
    *,
    crew: Crew = Crew(),
    previews: Path | None = None,
    progress: _Progress = lambda *_: None,
    learned: _Learned = lambda _: None,
) -> ReleaseLedger:
    """Release files into `out`, or finish what an interrupted call began.

    Several files go through Ray, which is started, or connected to, if it is not yet. A single one, where there is no
    cluster, is done in this process: starting Ray would take as long as a minute of video.

    Args:
        trained: the network
        orders: files and names
        out: folder, made if needed
        settings: how; `stride` must be given
        crew: what it runs on
        previews: local folder for side-by-side videos, which contain raw frames; by default none are made
        progress: called with the number of files that are done or failed, and of source frames read in this call
        learned: called with what became of each file, those included that were done before

    Raises: ValueError: `out` holds something else, was begun otherwise, or another process writes to it.
    """
    settings = replace(settings, keep_ratio=settings.keep_ratio or trained.model.config.keep_ratio)
    Deployed(trained.model, settings.keep_ratio, settings.mask)  # raises where they do not fit
    destination = Destination(whole_location(out), provenance_of(trained, settings), settings, previews)
    with output_lock(out):
        return _release(trained, orders, destination, crew, progress, learned)


def _release(
    trained: Trained,
    orders: Sequence[Order],
    destination: Destination,
    crew: Crew,
    progress: _Progress,
    learned: _Learned,
) -> ReleaseLedger:
    begun, out = time.monotonic(), destination.out
    claim(out, destination.provenance)
    failed = refusals(orders)
    done, missing = _done_and_missing([order for order in orders if not order.error], out)
    for outcome in done:
        learned(outcome)
    # One at which an earlier process has died goes through Ray, whose workers may die.
    is_suspect = any(Attempts(out).before(order.name) != "none" for order in missing[:1])
    for folder in filter(None, (out, destination.previews)):
        remove_drafts(folder)
    before = len(done) + len(failed)
    progress(before, 0)
    is_here = len(missing) < 2 and not is_suspect and not os.environ.get("RAY_ADDRESS")
    release = _release_here if is_here else _release_through_ray
    outcomes, frames = release(
        trained, missing, destination, crew, lambda files, read: progress(before + files, read), learned
    )
    assert len(outcomes) == len(missing), f"{len(missing)} files in, {len(outcomes)} accounted for"
    outcomes = sorted([*failed, *outcomes], key=lambda one: one.shown)
    failures, noted = (tuple(filter(key, outcomes)) for key in (attrgetter("error"), attrgetter("notes")))
    return ReleaseLedger(len(orders), len(done), failures, time.monotonic() - begun, frames, noted)


def _done_and_missing(orders: Sequence[Order], out: Path) -> tuple[list[Outcome], list[Order]]:
    with ThreadPoolExecutor() as pool:  # whose threads digest files, or wait for an object store
        sources = list(pool.map(lambda order: source_if_done(order, out), orders))
    pairs = list(zip(orders, sources, strict=True))
    done = [Outcome(order.shown, source=source) for order, source in pairs if source]
    return done, [order for order, source in pairs if not source]


def _release_here(
    trained: Trained,
    orders: Sequence[Order],
    destination: Destination,
    crew: Crew,
    progress: _Progress,
    learned: _Learned,
) -> tuple[list[Outcome], int]:
    settings, frames = destination.settings, 0

    def report(more_frames: int, _: int) -> None:
        nonlocal frames
        frames += more_frames
        progress(0, frames)

    network = trained.model.to("cuda" if crew.use_gpu else "cpu")
    outcomes = release_videos(orders, Deployed(network, settings.keep_ratio, settings.mask), destination, report)
    for outcome in outcomes:
        learned(outcome)
    progress(len(outcomes), frames)
    return outcomes, frames


def _release_through_ray(
    trained: Trained,
    orders: Sequence[Order],
    destination: Destination,
    crew: Crew,
    progress: _Progress,
    learned: _Learned,
) -> tuple[list[Outcome], int]:
    cluster.start(verbose=crew.verbose)
    from pipelines.release.through_ray import release_through_ray  # imports Ray Data, which reads what start has set

    return release_through_ray(trained.model, orders, destination, crew, progress, learned)
