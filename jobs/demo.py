"""The command `stprivacy demo` from a checkout; see `python jobs/demo.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("demo")
