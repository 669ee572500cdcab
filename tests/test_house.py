"""The rules of the house that no linter checks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_every_job_is_short_and_explains_its_options(job: Path) -> None:
    assert len(job.read_text().splitlines()) <= 40
    done = subprocess.run([sys.executable, str(job), "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--out" in done.stdout


def test_every_version_of_the_lock_is_pinned() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in line for line in requirements)
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(requirements)
