"""The command `stprivacy init` from a checkout; see `python jobs/init.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("init")
