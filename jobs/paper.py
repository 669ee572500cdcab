"""One row of the paper's Tables 1-5, all phases: python jobs/paper.py ROW --data DIR --out DIR; --list names them."""

from pipelines.rows import row_command

if __name__ == "__main__":
    row_command()
