"""Phase 2, adversarial learning (Eq 13), from the anonymizer of an init run."""

from pipelines.commands import phase_command

if __name__ == "__main__":
    phase_command("adversarial", __doc__)
