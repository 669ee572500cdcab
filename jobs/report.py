"""Pictures and one page of finished evaluations: python jobs/report.py --runs DIR --out DIR."""

from pipelines.reports.command import report_command

if __name__ == "__main__":
    report_command()
