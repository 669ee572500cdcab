"""Real workers and drivers are killed in mid-run: what comes out equals an undisturbed run bit for bit."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from launch_fixtures import TOY, TOY_CONFIG, plan_fault

from pipelines.progress import Progress
from pipelines.train.launch import launch
from pipelines.train.runs import PhaseError, RunRequest

DRIVER = """
import json, sys
from pathlib import Path
from pipelines import cluster
from pipelines.progress import Progress
from pipelines.train.launch import launch
from pipelines.train.runs import RunRequest

folder, config, executor = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
cluster.start(num_cpus=2)
with Progress(quiet=True) as progress:
    launch([RunRequest(folder, config)], num_workers=2, progress=progress, tracker=None, executor=executor)
"""


@dataclass(frozen=True)
class Case:
    """A run to disturb: an executor that takes planned faults, its configuration, and the step at which they strike.

    Two checkpoints must lie before `fault_step`.
    """

    executor: str
    config: Mapping[str, Any]
    fault_step: int
    compare: tuple[str, ...] = ("digest",)


@dataclass(frozen=True)
class Runs:
    """Run folders of one case, by name, and what the user was told."""

    case: Case
    folder: Path
    screens: dict[str, str] = field(default_factory=dict)

    def do(self, *names: str) -> None:
        screen = io.StringIO()
        requests = [RunRequest(self.folder / name, dict(self.case.config)) for name in names]
        try:
            with Progress(stream=screen) as progress:
                launch(requests, num_workers=2, progress=progress, tracker=None, executor=self.case.executor)
        finally:
            for name in names:
                self.screens[name] = screen.getvalue()

    def outcome(self, name: str) -> dict[str, Any]:
        result = json.loads((self.folder / name / "result.json").read_text())
        return {key: result[key] for key in self.case.compare}

    def history(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name / "metrics.jsonl").read_text().splitlines()]


CASES = {"toy": Case(TOY, TOY_CONFIG, fault_step=8)}


@pytest.fixture(scope="module", params=CASES)
def runs(request: pytest.FixtureRequest, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """An undisturbed run and disturbed ones, carried to their ends in as few worker groups as that takes."""
    runs = Runs(CASES[request.param], tmp_path_factory.mktemp(request.param))
    _kill_driver(runs, "driver_killed")
    for name in ("newest_damaged", "all_damaged"):
        shutil.copytree(runs.folder / "driver_killed", runs.folder / name)
    checkpoints = _checkpoints(runs, "newest_damaged")
    _truncate(checkpoints[-1])
    plan_fault(runs.folder / "worker_killed", "kill", rank=1, step=runs.case.fault_step)
    runs.do("undisturbed", "driver_killed", "newest_damaged", "worker_killed")
    return runs


def _kill_driver(runs: Runs, name: str) -> None:
    """Have a driver with a Ray of its own train until a step, and kill -9 it there."""
    folder = runs.folder / name
    plan_fault(folder, "hold", rank=0, step=runs.case.fault_step)
    command = [sys.executable, "-c", DRIVER, str(folder), json.dumps(runs.case.config), runs.case.executor]
    driver = subprocess.Popen(command, env=os.environ, start_new_session=True)
    struck = folder / "fault-0.done"
    deadline = time.monotonic() + 120
    while not struck.exists():
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def _checkpoints(runs: Runs, name: str) -> list[Path]:
    found = sorted((runs.folder / name / "checkpoints").iterdir())
    assert len(found) == 2
    return found


def _truncate(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize("disturbed", ["worker_killed", "driver_killed", "newest_damaged"])
def test_disturbed_run_ends_bit_for_bit_like_the_undisturbed_one(runs: Runs, disturbed: str) -> None:
    assert runs.outcome(disturbed) == runs.outcome("undisturbed")
    assert runs.history(disturbed) == runs.history("undisturbed")


def test_faults_struck_in_mid_run(runs: Runs) -> None:
    assert (runs.folder / "worker_killed" / "fault-1.done").exists()
    assert (runs.folder / "driver_killed" / "fault-0.done").exists()


def test_loss_of_a_worker_is_told_once(runs: Runs) -> None:
    assert runs.screens["worker_killed"].count("a worker was lost") == 1


def test_fall_back_from_a_damaged_checkpoint_is_told(runs: Runs) -> None:
    screen = runs.screens["newest_damaged"]
    assert screen.count("is damaged (model.safetensors has") == 1
    assert "continuing from 000003" in screen


def test_when_all_checkpoints_are_damaged_one_clear_error_ends_the_run(runs: Runs) -> None:
    for checkpoint in _checkpoints(runs, "all_damaged"):
        _truncate(checkpoint)
    with pytest.raises(PhaseError, match=r"every checkpoint in .* is damaged .*start over") as error:
        runs.do("all_damaged")
    assert "\n" not in str(error.value)
    assert runs.screens["all_damaged"].count("a worker was lost") == 0


def test_error_of_one_rank_is_not_retried(ray_cluster: None, tmp_path: Path) -> None:
    runs = Runs(CASES["toy"], tmp_path)
    plan_fault(runs.folder / "raising", "raise", rank=1, step=2)
    with pytest.raises(PhaseError, match="raising stopped: the loss is not finite at step 2"):
        runs.do("raising")
    assert runs.screens["raising"].count("a worker was lost") == 0
    assert not (runs.folder / "raising" / "result.json").exists()
