"""The command `stprivacy adv` from a checkout; see `python jobs/adv.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("adv")
