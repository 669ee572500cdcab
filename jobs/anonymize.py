"""The command `stprivacy anonymize` from a checkout; see `python jobs/anonymize.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("anonymize")
