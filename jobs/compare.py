"""Every anonymizer against every attacker: python jobs/compare.py --data DIR --out DIR; --list names them."""

from pipelines.compare import compare_command

if __name__ == "__main__":
    compare_command()
