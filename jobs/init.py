"""Phase 1, initialization (Eq 12): STPrivacy learns to sparsify and to recognise actions by itself."""

from pipelines.commands import phase_command

if __name__ == "__main__":
    phase_command("init", __doc__)
