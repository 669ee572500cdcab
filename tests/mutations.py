"""Would a test fail if the code were wrong? Breaks hand-picked lines, one at a time, and runs the tests of each.

python -m tests.mutations [--only TEXT] [--limit-seconds 300] [--out tests/mutations.md]: not part of the suite.
It works on a copy of the tree, which is removed at the end; the tree itself is not touched.

tests/mutations.txt holds the mutations: below `== FILE: TESTS`, a line `OLD ==> NEW` each; OLD stands once in FILE. A
line that begins with `!` survived when it was picked: the test that kills it now was written, or made stricter, then.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = ROOT / "tests" / "mutations.txt"
SURVIVED = "**survives**"
NO_TEST_RAN = "**no test ran**"
UNNOTICED = (SURVIVED, NO_TEST_RAN)
# What tests and code import from elsewhere, once for all mutations.
PRELOADED = (
    "torch",
    "torchvision",
    "torchmetrics",
    "einops",
    "pandas",
    "pyarrow.parquet",
    "sklearn.metrics",
    "av",
    "pytest",
)


@dataclass(frozen=True)
class Mutation:
    """One wrong line: `old` becomes `new` in `file`, and one of `tests` should fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survived: bool


class FirstFailure:
    """A pytest plugin that remembers the first test that failed."""

    name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each part of a test."""
        if report.failed and not self.name:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Called by pytest after a file was read."""
        if report.failed and not self.name:
            self.name = f"{report.nodeid}, which cannot be collected"


def read_mutations(text: str) -> Iterator[Mutation]:
    """The mutations of a file like mutations.txt. Raises: ValueError: a line is neither a header nor a mutation."""
    file, tests = "", ()
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("== "):
            file, _, named = line.removeprefix("== ").partition(": ")
            tests = tuple(named.split())
            continue
        old, arrow, new = line.removeprefix("!").partition(" ==> ")
        if not (file and tests and arrow):
            raise ValueError(f"{line!r}: expected `== FILE: TESTS` or `OLD ==> NEW`")
        yield Mutation(file, old, new, tests, line.startswith("!"))


def mutated(mutation: Mutation, source: str) -> tuple[str, int]:
    """The broken source, and the number of the line. Raises: ValueError: `old` does not stand there once."""
    if source.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.file} has {mutation.old!r} {source.count(mutation.old)} times: update mutations.txt"
        )
    before, after = source.split(mutation.old)
    return before + mutation.new + after, before.count("\n") + 1


def outcome(mutation: Mutation, tree: Path, limit_seconds: float) -> tuple[int, str]:
    """The mutation's line in the copied tree, and which test kills it."""
    file = tree / mutation.file
    source = file.read_text()
    broken, line = mutated(mutation, source)
    file.write_text(broken)
    try:
        return line, _first_failure(tree, mutation.tests, limit_seconds)
    finally:
        file.write_text(source)


def _first_failure(tree: Path, tests: Sequence[str], limit_seconds: float) -> str:
    context = get_context("forkserver")  # which has imported `PRELOADED`
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_tests, args=(tree, tests, sender))
    process.start()
    sender.close()
    try:
        return str(receiver.recv()) if receiver.poll(limit_seconds) else f"no end in {limit_seconds:g} s"
    except EOFError:
        return "the test process, which died"
    finally:
        if process.is_alive():
            os.killpg(process.pid or 0, signal.SIGKILL)  # and what the tests have started
        process.join()


def _run_tests(tree: Path, tests: Sequence[str], sender: Connection) -> None:
    os.setsid()
    os.chdir(tree)
    # Bytecode is told apart by second and size alone: a mutation changes neither.
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path or ".").resolve() not in (ROOT, tree))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # this module's own tree, not the broken one
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    first = FirstFailure()
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)], plugins=[first])
    sender.send(SURVIVED if status == 0 else first.name or NO_TEST_RAN)


def _copied_tree(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().splitlines()):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def table(rows: Sequence[tuple[Mutation, int, str]]) -> str:
    """Markdown: every mutation, what became of it when it was picked, and which test kills it now."""
    killed = sum(name not in UNNOTICED for *_, name in rows)
    picked = sum(not mutation.survived for mutation, *_ in rows)
    lines = [
        "# What the tests notice\n",
        f"{len(rows)} lines broken by hand, one at a time, by `python -m tests.mutations`: the tests named for them in",
        f"mutations.txt noticed {picked} when the lines were picked, and notice {killed} now.\n",
        "| line | change | when picked | killed now by |",
        "|---|---|---|---|",
    ]
    for mutation, line, name in rows:
        change = " → ".join(f"`` {text} ``".replace("|", "\\|") for text in (mutation.old, mutation.new))
        was = "survived" if mutation.survived else "killed"
        lines.append(f"| {mutation.file}:{line} | {change} | {was} | {name.removeprefix('tests/')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run them all, or those whose file or line holds a text, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only mutations whose file or change holds this text")
    parser.add_argument("--limit-seconds", type=float, default=300.0, help="for the tests of one mutation")
    parser.add_argument("--out", type=Path, help="where to write the table; default: print it")
    options: Any = parser.parse_args()
    chosen = [x for x in read_mutations(MUTATIONS.read_text()) if options.only in f"{x.file} {x.old} ==> {x.new}"]
    for mutation in chosen:  # before an hour has gone
        mutated(mutation, (ROOT / mutation.file).read_text())
    get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tree = _copied_tree(Path(folder).resolve())
        for mutation in chosen:
            rows.append((mutation, *outcome(mutation, tree, options.limit_seconds)))
            print(f"{mutation.file}:{rows[-1][1]} {mutation.old} ==> {mutation.new}: {rows[-1][2]}", flush=True)
    options.out.write_text(table(rows)) if options.out else print(table(rows))
    sys.exit(any(name in UNNOTICED for *_, name in rows))


if __name__ == "__main__":
    main()
