"""The command `stprivacy paper` from a checkout; see `python jobs/paper.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("paper")
