"""Raw videos in, anonymised videos out: resumable, and every file accounted for."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pipelines import cluster
from pipelines.release.drafts import remove_drafts
from pipelines.release.inputs import Order
from pipelines.release.ledger import ReleaseLedger
from pipelines.release.settings import Crew, ReleaseSettings, claim, provenance_of
from pipelines.release.sidecar import is_done
from pipelines.release.video import Destination
from pipelines.release.work import Outcome, release_videos
from stprivacy.deployed import Deployed
from stprivacy.storage import whole_location
from stprivacy.trained import Trained


def anonymize(
    trained: Trained,
    orders: Sequence[Order],
    out: Path,
    settings: ReleaseSettings,
    *,
    crew: Crew = Crew(),
    previews: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
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

    Raises: ValueError: `out` holds something else, or was begun otherwise.
    """
    settings = replace(settings, keep_ratio=settings.keep_ratio or trained.model.config.keep_ratio)
    Deployed(trained.model, settings.keep_ratio, settings.mask)  # raises where they do not fit
    provenance = provenance_of(trained, settings)
    claim(out, provenance)
    remove_drafts(out)
    missing = _missing(orders, out)
    begun, before = time.monotonic(), len(orders) - len(missing)
    progress(before, 0)
    destination = Destination(whole_location(out), provenance, settings, previews and previews.resolve())
    release = _release_here if len(missing) < 2 and not os.environ.get("RAY_ADDRESS") else _release_through_ray
    outcomes, frames = release(trained, missing, destination, crew, lambda done, read: progress(before + done, read))
    failures = tuple(sorted((one for one in outcomes if one.error), key=lambda one: one.shown))
    assert len(outcomes) == len(missing), f"{len(missing)} files in, {len(outcomes)} accounted for"
    return ReleaseLedger(len(orders), before, failures, time.monotonic() - begun, frames)


def _missing(orders: Sequence[Order], out: Path) -> list[Order]:
    with ThreadPoolExecutor() as pool:  # whose threads digest sources, or wait for an object store
        done = pool.map(lambda order: is_done(order.path, out, order.name), orders)
        return [order for order, is_there in zip(orders, done, strict=True) if not is_there]


_Told = Callable[[int, int], None]


def _release_here(
    trained: Trained, orders: Sequence[Order], destination: Destination, crew: Crew, progress: _Told
) -> tuple[list[Outcome], int]:
    settings, frames = destination.settings, 0

    def report(more_frames: int, _: int) -> None:
        nonlocal frames
        frames += more_frames
        progress(0, frames)

    network = trained.model.to("cuda" if crew.use_gpu else "cpu")
    outcomes = release_videos(orders, Deployed(network, settings.keep_ratio, settings.mask), destination, report)
    progress(len(outcomes), frames)
    return outcomes, frames


def _release_through_ray(
    trained: Trained, orders: Sequence[Order], destination: Destination, crew: Crew, progress: _Told
) -> tuple[list[Outcome], int]:
    cluster.start(verbose=crew.verbose)
    from pipelines.release.through_ray import release_through_ray  # imports Ray Data, which reads what start has set

    return release_through_ray(trained.model, orders, destination, crew, progress)
