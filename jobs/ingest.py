"""Turn videos and annotations into a data set to train on: Parquet shards, quarantine, ledger."""

import sys

import tyro

from pipelines.data.command import ingest_command

if __name__ == "__main__":
    try:
        tyro.cli(ingest_command)
    except ValueError as error:
        sys.exit(f"error: {error}")
