"""The commands as `stprivacy NAME` and as `python jobs/NAME.py`: one table, the same options, the same ends."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from pipelines.cli.main import COMMANDS
from tests.support.places import ROOT

JOB = '''"""The command `stprivacy {name}` from a checkout; see `python jobs/{name}.py --help`."""

from pipelines.cli.main import run_job

if __name__ == "__main__":
    run_job("{name}")
'''


def stprivacy(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli.main", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_command_has_a_job_of_its_name_and_every_job_is_a_command() -> None:
    jobs = {path.stem: path.read_text() for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py"}
    assert jobs == {name: JOB.format(name=name) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_a_function_that_takes_its_arguments(name: str) -> None:
    command = COMMANDS[name]
    inspect.signature(getattr(import_module(command.module), command.function)).bind(*command.arguments)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_help_lists_every_command_with_its_purpose_and_loads_none(word: str) -> None:
    code = f"import sys; sys.argv[1:] = ['{word}']; from pipelines.cli.main import _chosen; _chosen()"
    loaded = "print(*sorted({'tyro', 'torch', 'ray'}.intersection(sys.modules)) or ['none'])"
    done = subprocess.run([sys.executable, "-c", f"{code}; {loaded}"], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines if line.startswith("  ")] == [
        [name, command.purpose] for name, command in COMMANDS.items()
    ]
    assert lines[0] == "usage: stprivacy COMMAND [OPTIONS]"
    assert lines[-1] == "none"
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("words", "fault"),
    [((), "a command is missing"), (("trian", "--help"), "there is no command trian"), (("--out", "x"), "no command")],
)
def test_a_command_that_is_not_there_is_one_line_with_those_that_are(words: tuple[str, ...], fault: str) -> None:
    done = stprivacy(*words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert fault in line
    assert line.endswith(f"; choose from {', '.join(COMMANDS)}")


def test_a_commands_own_help_is_its_jobs_under_its_name() -> None:
    done = stprivacy("adv", "--help")
    job = subprocess.run([sys.executable, "jobs/adv.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == job.returncode == 0
    assert done.stdout.startswith(f"usage: stprivacy adv [-h] [OPTIONS]\n\n{COMMANDS['adv'].purpose}\n")
    assert done.stdout.replace("stprivacy adv", "jobs/adv.py", 1) == job.stdout


def test_commands_end_as_jobs_do() -> None:
    done = stprivacy("export", "--from", "/nowhere", "--out", "x.pt2", "--format", "torch-export")
    assert (done.returncode, done.stderr) == (
        1,
        "error: /nowhere is not a run folder: it has no config.json. Give the --out of an earlier job\n",
    )
    misused = stprivacy("synth")
    assert misused.returncode == 2
    assert "stprivacy synth --help" in misused.stderr
