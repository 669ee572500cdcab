"""Turn videos and annotations into a data set to train on: Parquet shards, quarantine, ledger."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from pipelines import cluster
from pipelines.data.datasets import load_manifest
from pipelines.data.manifest import Sources
from pipelines.data.schema import IngestSettings
from pipelines.progress import Progress


def main(
    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="vp-synth or csv")],
    out: Annotated[Path, tyro.conf.arg(help="folder to write to")],
    sources: tyro.conf.OmitArgPrefixes[Sources] = Sources(),
    settings: tyro.conf.OmitArgPrefixes[IngestSettings] = IngestSettings(),
    workers: Annotated[int | None, tyro.conf.arg(help="videos decoded at a time, by default one a CPU")] = None,
    verbose: Annotated[bool, tyro.conf.arg(help="show Ray's own messages")] = False,
) -> None:
    """Ingest a data set; run again, finish an interrupted ingest and leave a finished one untouched."""
    manifest = load_manifest(dataset, sources)
    cluster.start(verbose=verbose)
    from pipelines.data.ingest import ingest  # imports Ray Data, which reads what the cluster's start has set

    with Progress() as progress:
        task = progress.task("ingest", total=manifest.videos_in, unit="videos")
        ledger = ingest(manifest, out, settings, workers=workers, progress=lambda done, _: task.update(done))
    print(ledger)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except ValueError as error:
        sys.exit(f"error: {error}")
