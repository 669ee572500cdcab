"""Raw videos in, anonymised videos out: python jobs/anonymize.py --from RUN --input DIR_OR_FILE --output DIR."""

import sys

import tyro

from pipelines.release.command import anonymize_command

if __name__ == "__main__":
    try:
        ledger = tyro.cli(anonymize_command)
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.exit(1 if ledger.failures else 0)
