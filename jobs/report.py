"""The command `stprivacy report` from a checkout; see `python jobs/report.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("report")
