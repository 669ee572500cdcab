"""Phase 2, adversarial learning (Eq 13), from the anonymizer of an init run."""

from pipelines.cli import run


def main() -> None:
    """Run the phase."""
    from pipelines.cli.phases import phase_command

    phase_command("adversarial", __doc__)


if __name__ == "__main__":
    run(main)
