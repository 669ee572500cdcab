"""The command `stprivacy sweep` from a checkout; see `python jobs/sweep.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("sweep")
