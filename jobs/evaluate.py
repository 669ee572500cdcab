"""Phase 3, evaluation: recognizers trained from scratch on transformed clips, tested on the test split."""

from pipelines.commands import phase_command

if __name__ == "__main__":
    phase_command("evaluate", __doc__)
