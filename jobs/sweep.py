"""A sweep of trade-offs on Ray Tune: python jobs/sweep.py --data DIR --out DIR; an interrupted one goes on."""

from pipelines.cli import run


def main() -> None:
    """Run the sweep."""
    from pipelines.cli.sweep import sweep_command

    sweep_command()


if __name__ == "__main__":
    run(main)
