"""Phase 3, evaluation: recognizers trained from scratch on transformed clips, tested on the test split."""

from pipelines.cli import run


def main() -> None:
    """Run the phase."""
    from pipelines.cli.phases import phase_command

    phase_command("evaluate", __doc__)


if __name__ == "__main__":
    run(main)
