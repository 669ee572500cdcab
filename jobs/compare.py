"""The command `stprivacy compare` from a checkout; see `python jobs/compare.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("compare")
