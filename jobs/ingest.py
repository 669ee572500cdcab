"""Turn videos and annotations into a data set to train on: Parquet shards, quarantine, ledger."""

from pipelines.cli import run


def main() -> None:
    """Ingest."""
    import tyro

    from pipelines.cli.ingest import ingest_command

    tyro.cli(ingest_command)


if __name__ == "__main__":
    run(main)
