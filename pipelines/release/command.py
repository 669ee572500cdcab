"""The command line of jobs/anonymize.py."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from pipelines.data.index import read_description
from pipelines.locations import LocalFolder, Location
from pipelines.progress import Progress
from pipelines.release.anonymize import anonymize
from pipelines.release.inputs import Order, check_apart, list_inputs, opaque_names, plain_names
from pipelines.release.ledger import ReleaseLedger, write_failures
from pipelines.release.settings import Crew, ReleaseSettings
from stprivacy.storage import checked_location, is_remote, location, whole_location
from stprivacy.trained import Trained, load_trained


def anonymize_command(
    from_run: Annotated[Location, tyro.conf.arg(name="from")],
    input: Location,
    output: Location,
    settings: tyro.conf.OmitArgPrefixes[ReleaseSettings] = ReleaseSettings(),
    crew: tyro.conf.OmitArgPrefixes[Crew] = Crew(),
    allow_older_weights: bool = False,
    preview: bool = False,
    keys: LocalFolder | None = None,
    quiet: bool = False,
) -> ReleaseLedger:
    """Anonymise videos with a trained network; run again, finish an interrupted release and redo nothing.

    Args:
        from_run: finished init or adversarial run of STPrivacy
        input: a video, or a folder of videos: every file in it and below counts
        output: folder for the released videos and, beside each, a JSON file that tells how it was made
        settings: how videos are released
        crew: what it runs on
        allow_older_weights: release with those of an earlier step where the run's final checkpoint is damaged
        preview: also write raw, sparsified and anonymized side by side to OUTPUT-preview-contains-raw-frames; not of
            files that were done before
        keys: file for the key to opaque names, by default OUTPUT-keys.json
        quiet: show no progress

    Raises:
        ValueError: a run, input or output that cannot be used, or settings that do not fit the network.
    """
    source, out = (checked_location(place) for place in (input, output))
    trained = load_trained(checked_location(from_run), allow_older_weights)
    check_apart(source, out)
    settings = replace(settings, stride=settings.stride or _trained_stride(trained))
    previews = _previews(out) if preview else None
    if keys and not settings.opaque_names:
        raise ValueError("--keys belongs to --opaque-names")
    orders = _orders(source, settings, keys or _beside(out, "-keys.json"))
    ledger = _release(trained, orders, out, settings, crew, previews, quiet)
    _report(ledger, _beside(out, "-failures.json"))
    return ledger


def _report(ledger: ReleaseLedger, failures: Path) -> None:
    print(ledger)
    try:
        write_failures(failures, ledger.failures)
    except OSError as error:  # the disk may be full, which some of the failures then tell
        reason = error.strerror or error
        raise ValueError(f"{failures} cannot be written: {reason}; the failures are those above") from error
    if ledger.failures:
        print(f"The failures are listed in {failures}")


def _previews(out: Path) -> Path:
    if is_remote(out):
        raise ValueError("--preview writes raw frames to local disks only: leave it out, or give a local --output")
    return _beside(out, "-preview-contains-raw-frames")


def _orders(source: Path, settings: ReleaseSettings, keys: Path) -> list[Order]:
    found = list_inputs(source)
    return opaque_names(found, keys) if settings.opaque_names else plain_names(found)


def _release(
    trained: Trained,
    orders: list[Order],
    out: Path,
    settings: ReleaseSettings,
    crew: Crew,
    previews: Path | None,
    quiet: bool,
) -> ReleaseLedger:
    if not crew.verbose:
        # Ray complains, at every start of a pool of workers, of how Ray Data starts them.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with Progress(quiet=quiet) as progress:
        task = progress.task("release", total=len(orders), unit="files")

        def told(done: int, frames: int) -> None:
            task.update(done, f"{frames} source frames")

        return anonymize(trained, orders, out, settings, crew=crew, previews=previews, progress=told)


def _trained_stride(trained: Trained) -> int:
    """Of the data set that a network was trained on, as long as it is where it was."""
    folder = location(trained.data)
    try:
        description = read_description(folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--stride is missing: the data set that the network was trained on is gone from {folder}; give the stride "
            "with which it was ingested"
        ) from error
    return description.stride


def _beside(folder: Path, ending: str) -> Path:
    """A file or folder beside `folder`, its name lengthened; not inside, where it would be handed out."""
    return whole_location(folder).with_name(f"{folder.name}{ending}")
