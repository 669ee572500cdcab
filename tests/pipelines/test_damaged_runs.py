"""Runs whose folders were damaged after training: every command that starts from them says so before it starts Ray."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launch_fixtures import TINY
from run_fixtures import do_run
from shard_fixtures import write_tiny_dataset

from pipelines import commands
from pipelines.train.runs import RunRequest

JOBS = ("adversarial", "evaluate")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished init run, with checkpoints at steps 1 and 2, and its data set beside it."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_tiny_dataset(folder / "data", videos=12, test_videos=4)
    train = replace(TINY.train, epochs=1, checkpoint_every_steps=1)
    do_run(replace(TINY, data=str(data), train=train), folder / "init")
    return folder / "init"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "init"))


@pytest.fixture
def job(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[RunRequest]]:
    """Parses the command line of a phase that starts from a run; gives back what would be launched."""
    ordered: list[RunRequest] = []

    def take(requests: list[RunRequest], *_: object) -> list[dict[str, Any]]:
        ordered.extend(requests)
        return [{}]

    monkeypatch.setattr(commands, "launch_runs", take)

    def order(phase: Any, source: Path, *words: str) -> list[RunRequest]:
        where = ("--data", str(run.parent / "data"), "--out", str(tmp_path / "out"), "--from", str(source))
        monkeypatch.setattr(sys, "argv", ["job", "--recipe", "demo", *where, *words])
        commands.phase_command(phase, None)
        return ordered

    return order


@pytest.mark.parametrize("phase", JOBS)
def test_final_weights_that_are_damaged_are_refused_before_ray_starts_unless_older_ones_are_asked_for(
    job: Callable[..., list[RunRequest]], copy: Path, phase: str
) -> None:
    (copy / "checkpoints" / "000002" / "state.pt").write_bytes(b"")
    with pytest.raises(
        SystemExit, match=rf"^error: {copy}: its final checkpoint 000002 is damaged \(state.pt has 0 of"
    ):
        job(phase, copy)
    (request,) = job(phase, copy, "--allow-older-weights")
    assert request.config["allow_older_weights"] is True


@pytest.mark.parametrize("phase", JOBS)
def test_a_run_that_is_not_finished_is_refused_before_ray_starts(
    job: Callable[..., list[RunRequest]], copy: Path, phase: str
) -> None:
    (copy / "result.json").unlink()
    with pytest.raises(SystemExit, match=rf"^error: {copy} has no result.json: that run is not finished. Run its job"):
        job(phase, copy)
