"""The command `stprivacy evaluate` from a checkout; see `python jobs/evaluate.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("evaluate")
