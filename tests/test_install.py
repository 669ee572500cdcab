"""What `pip install .` puts in place: every package and its data, and commands that need no checkout."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

BUILT_FROM = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("stprivacy", "pipelines")


def pip(*words: str, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel was installed to, without what it requires."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".", cwd=source)
    (wheel,) = folder.glob("*.whl")
    pip("install", "--no-deps", "--target", str(folder / "site"), str(wheel), cwd=folder)
    return folder / "site"


def files_of(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for name in PACKAGES
        for path in (folder / name).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_an_installation_has_every_file_of_the_packages(installed: Path) -> None:
    found = files_of(installed)
    assert {"stprivacy/py.typed", "pipelines/py.typed", "pipelines/reports/page.html"} <= found
    assert found == files_of(ROOT)


def test_the_installed_command_works_in_any_folder(installed: Path, tmp_path: Path) -> None:
    videos = ("--train-videos", "2", "--test-videos", "1", "--workers", "1", "--quiet")
    done = subprocess.run(
        [sys.executable, str(installed / "bin" / "stprivacy"), "synth", "--out", "synth", *videos],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "synth: 2 train and 1 test videos\n"), done.stderr
    assert len(list((tmp_path / "synth" / "videos").rglob("*.mp4"))) == 3


def test_the_declared_versions_of_python_are_those_that_pip_accepts() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = re.findall(r"Python :: 3\.(\d+)", config["metadata"]["classifiers"])
    low, high = re.findall(r"3\.(\d+)", config["options"]["python_requires"])
    assert [int(minor) for minor in declared] == list(range(int(low), int(high)))
    assert sys.version_info.minor in range(int(low), int(high))
