"""From nothing to the table: generate vp-synth, ingest it, run the three phases, report."""

from pipelines.cli import run


def main() -> None:
    """Run the demo."""
    import tyro

    from pipelines.cli.demo import demo_command

    tyro.cli(demo_command)


if __name__ == "__main__":
    run(main)
