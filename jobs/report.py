"""Pictures and one page of finished evaluations: python jobs/report.py --runs DIR --out DIR."""

from pipelines.cli import run


def main() -> None:
    """Write the report."""
    from pipelines.cli.report import report_command

    report_command()


if __name__ == "__main__":
    run(main)
