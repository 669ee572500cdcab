"""The rules of the house that no linter checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_fixtures import run_command
from tests.support.places import ROOT

JOBS = sorted(path for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py")


def test_stprivacy_imports_without_ray_mlflow_and_arrow() -> None:
    code = """
import importlib, pkgutil, sys
for name in ("ray", "mlflow", "pyarrow", "pipelines"):
    sys.modules[name] = None
import stprivacy
names = [m.name for m in pkgutil.walk_packages(stprivacy.__path__, "stprivacy.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


def test_jobs_start_without_what_takes_seconds_to_import() -> None:
    slow = {"torchvision", "torch._dynamo", "timm", "mlflow"}
    code = f"import sys, pipelines.cli.phases; print({slow}.intersection(sys.modules) or 'none')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "none\n", done.stderr


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_every_job_is_short_and_explains_its_options(job: Path) -> None:
    assert len(job.read_text().splitlines()) <= 15
    done = run_command(job.stem, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout


def test_a_session_without_slow_tests_says_how_many_it_left_out_and_what_runs_them() -> None:
    file = "tests/benchmarks/test_full_size.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "-m", "not slow", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "slow tests left out: 1; make test-slow runs them" in done.stdout


def locked(name: str) -> dict[str, set[str]]:
    """What a lock pins, `name==version`, and the hashes of its files."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", "")
    requirements = [line.split() for line in text.splitlines()]
    assert all("==" in words[0] for words in requirements)
    return {pin: set(hashes) for pin, *hashes in requirements}


def test_every_version_of_the_locks_is_pinned_and_every_file_has_a_hash() -> None:
    runtime, development = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(runtime)
    for hashes in development.values():
        assert hashes
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", one) for one in hashes)
    assert runtime.items() <= development.items()


def test_nodes_install_no_test_tools() -> None:
    names = {pin.partition("==")[0] for pin in locked("requirements.lock")}
    assert not names & {"pytest", "moto", "selenium", "mypy", "ruff", "import-linter", "onnx", "jsonschema-path"}
    assert names < {pin.partition("==")[0] for pin in locked("requirements-dev.lock")}
