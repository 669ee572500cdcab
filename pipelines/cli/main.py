"""The commands: `stprivacy NAME`, or `python jobs/NAME.py` from a checkout. One table serves both.

A command's module is imported once it is called, under `run`, so that Ctrl-C or an error meanwhile ends as any other.
"""

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from pipelines.cli import run
from pipelines.text import printable

MISUSED = 2


@dataclass(frozen=True)
class Command:
    """What a command is for, in one line, and the function that parses its command line and does it."""

    purpose: str
    module: str
    function: str = "main"
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> int | None:
        """Do it. Returns: the exit status; None is 0."""
        status: int | None = getattr(import_module(self.module), self.function)(*self.arguments)
        return status


def _phase(phase: str, purpose: str) -> Command:
    return Command(purpose, "pipelines.cli.phases", "phase_command", (phase, purpose))


COMMANDS = {
    "ingest": Command(
        "Turn videos and annotations into a data set to train on: Parquet shards, quarantine, ledger.",
        "pipelines.cli.ingest",
    ),
    "init": _phase(
        "init", "Phase 1, initialization (Eq 12): STPrivacy learns to sparsify and to recognise actions by itself."
    ),
    "adv": _phase("adversarial", "Phase 2, adversarial learning (Eq 13), from the anonymizer of an init run."),
    "evaluate": _phase(
        "evaluate",
        "Phase 3, evaluation: recognizers trained from scratch on transformed clips, tested on the test split.",
    ),
    "compare": Command("Test every anonymizer against every attacker; --list names them.", "pipelines.cli.compare"),
    "sweep": Command("Search the trade-off of action against privacy with Ray Tune.", "pipelines.cli.sweep"),
    "report": Command("Draw pictures and one page of finished evaluations.", "pipelines.cli.report"),
    "anonymize": Command("Release videos: raw ones in, anonymised ones out.", "pipelines.cli.anonymize"),
    "export": Command(
        "Write a trained STPrivacy for other runtimes, as ONNX or as PyTorch's own export, checked on real clips.",
        "pipelines.cli.export",
    ),
    "paper": Command(
        "Run all phases of one row of the paper's Tables 1-5; --list names the rows.", "pipelines.cli.paper"
    ),
    "demo": Command(
        "From nothing to the table: generate vp-synth, ingest it, run the three phases, report.", "pipelines.cli.demo"
    ),
    "synth": Command(
        "Generate vp-synth (--actions a) or vp-synth-b (--actions b): videos, labels, splits and person boxes.",
        "pipelines.cli.synth",
    ),
}


def main() -> NoReturn:
    """Run `stprivacy COMMAND ...` and end the process."""
    run(_chosen)


def run_job(name: str) -> NoReturn:
    """Run the command of jobs/NAME.py and end the process."""
    run(COMMANDS[name])


def _chosen() -> int | None:
    """Run the command that the first word names; its status, 2 where there is no such command."""
    words = sys.argv[1:]
    if words[:1] in (["-h"], ["--help"]):
        _print_usage()
        return None
    if not words or words[0] not in COMMANDS:
        fault = f"there is no command {printable(words[0])}" if words else "a command is missing"
        print(f"error: {fault}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return MISUSED
    sys.argv[:2] = [f"stprivacy {words[0]}"]  # the name in its usage
    return COMMANDS[words[0]]()


def _print_usage() -> None:
    width = max(map(len, COMMANDS))
    print("usage: stprivacy COMMAND [OPTIONS]\n")
    print("Videos that keep the action and lose the person: STPrivacy (ICCV 2023) on Ray.\n\ncommands:")
    for name, command in COMMANDS.items():
        print(f"  {name:<{width}}  {command.purpose}")
    print("\nstprivacy COMMAND --help lists the options of a command.")


if __name__ == "__main__":
    main()
