"""The command line of jobs/ingest.py."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from pipelines import cluster
from pipelines.data.datasets import LOADERS, load_manifest
from pipelines.data.detectors import make_detector
from pipelines.data.manifest import Manifest, Sources, check_present
from pipelines.data.preview import preview, warnings
from pipelines.data.schema import IngestSettings
from pipelines.locations import Location
from pipelines.progress import Progress
from stprivacy.storage import checked_location, named_location


def main() -> None:
    """Parse the command line and ingest."""
    tyro.cli(ingest_command)


def ingest_command(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=", ".join(LOADERS))],
    out: Location | None = None,
    sources: tyro.conf.OmitArgPrefixes[Sources] = Sources(),
    settings: tyro.conf.OmitArgPrefixes[IngestSettings] = IngestSettings(),
    workers: int | None = None,
    allow_missing: bool = False,
    dry_run: bool = False,
    verify: bool = False,
    verbose: bool = False,
) -> None:
    """Ingest a data set; run again, finish an interrupted ingest and leave a finished one untouched.

    Args:
        out: folder to write to; needed unless in a dry run
        workers: videos decoded at a time, by default one a CPU
        allow_missing: quarantine listed videos that are not on disk, instead of stopping (csv: always)
        dry_run: list, check and count; decode nothing, write nothing
        verify: also read every frame that was ingested before, and decode again what is damaged
        verbose: show Ray's own messages

    Raises:
        ValueError: annotations, detector or output folder that cannot be used, videos that are not on disk, or not one
            video that became a row.
    """
    for place in filter(None, (sources.videos, sources.manifest, sources.boxes)):
        checked_location(place)
    out = named_location(out) if out else None
    manifest = load_manifest(dataset, sources)
    if dry_run:
        print(preview(manifest))
        _warn(manifest)
        return
    if out is None:
        raise ValueError("--out is missing: the folder to write to. With --dry-run nothing is written")
    # A list that the user wrote may name what is gone; of a published data set nothing goes missing unnoticed.
    if dataset != "csv" and not allow_missing:
        check_present(manifest)
    _ingest(manifest, out, settings, workers, verify, verbose)


def _ingest(
    manifest: Manifest, out: Path, settings: IngestSettings, workers: int | None, verify: bool, verbose: bool
) -> None:
    if settings.detector != "none":
        make_detector(settings.detector, settings.detector_weights)  # before tasks start: raises where it cannot be
    _warn(manifest)
    cluster.start(verbose=verbose)
    from pipelines.data.ingest import ingest  # imports Ray Data, which reads what the cluster's start has set

    with Progress() as progress:
        task = progress.task("ingest", total=manifest.videos_in, unit="videos")
        ledger = ingest(
            manifest, out, settings, workers=workers, verify=verify, progress=lambda done, _: task.update(done)
        )
    print(ledger)
    if not ledger.rows:
        raise ValueError(
            "no video became a row: the reasons are above, and for each video in --out's quarantine folder"
        )


def _warn(manifest: Manifest) -> None:
    for line in warnings(manifest):
        print(f"warning: {line}", file=sys.stderr)
