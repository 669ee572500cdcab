"""The command `stprivacy ingest` from a checkout; see `python jobs/ingest.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("ingest")
