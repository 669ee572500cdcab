"""Raw videos in, anonymised videos out: python jobs/anonymize.py --from RUN --input DIR_OR_FILE --output DIR."""

from pipelines.cli import run


def main() -> int:
    """Release; the status is 1 if a file could not be released."""
    import tyro

    from pipelines.cli.anonymize import anonymize_command

    return 1 if tyro.cli(anonymize_command).failures else 0


if __name__ == "__main__":
    run(main)
