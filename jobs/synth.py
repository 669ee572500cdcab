"""Generate vp-synth (--actions a) or vp-synth-b (--actions b): videos, labels, splits and person boxes."""

from pipelines.cli import run


def main() -> None:
    """Generate."""
    import tyro

    from pipelines.cli.synth import synth_command

    tyro.cli(synth_command)


if __name__ == "__main__":
    run(main)
