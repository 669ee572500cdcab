"""The command `stprivacy synth` from a checkout; see `python jobs/synth.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("synth")
