"""One row of the paper's Tables 1-5, all phases: python jobs/paper.py ROW --data DIR --out DIR; --list names them."""

from pipelines.cli import run


def main() -> None:
    """Run the row."""
    from pipelines.cli.paper import paper_command

    paper_command()


if __name__ == "__main__":
    run(main)
