"""Command lines of the phases, up to the moment at which they would start Ray."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import cluster
from pipelines.cli import phases as commands


class StartedError(Exception):
    """Ray would have been started."""


def forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise StartedError where Ray would be started."""

    def start(**_: object) -> None:
        raise StartedError

    monkeypatch.setattr(cluster, "start", start)


def refusal(monkeypatch: pytest.MonkeyPatch, phase: Any, data: Path, out: Path, *words: str) -> str:
    """The line with which a phase's command line ends. Raises: StartedError: it would have started Ray."""
    forbid_ray(monkeypatch)
    arguments = ["--data", str(data), "--out", str(out), "--recipe", "demo", *words]
    monkeypatch.setattr(sys, "argv", ["job", *arguments])
    with pytest.raises(ValueError) as ended:  # noqa: PT011  # whose text tests look at
        commands.phase_command(phase, None)
    return str(ended.value)
