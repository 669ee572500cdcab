"""Phase 1, initialization (Eq 12): STPrivacy learns to sparsify and to recognise actions by itself."""

from pipelines.cli import run


def main() -> None:
    """Run the phase."""
    from pipelines.cli.phases import phase_command

    phase_command("init", __doc__)


if __name__ == "__main__":
    run(main)
