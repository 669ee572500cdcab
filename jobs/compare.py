"""Every anonymizer against every attacker: python jobs/compare.py --data DIR --out DIR; --list names them."""

from pipelines.cli import run


def main() -> None:
    """Run the comparison."""
    from pipelines.cli.compare import compare_command

    compare_command()


if __name__ == "__main__":
    run(main)
