"""The command `stprivacy export` from a checkout; see `python jobs/export.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("export")
