"""Real workers and drivers are killed in mid-phase: what comes out equals an undisturbed run bit for bit."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.progress import Progress
from pipelines.runs.config import AdversarialRun
from pipelines.runs.folder import PhaseError, RunRequest, read_json
from pipelines.train.launch import launch
from stprivacy.checkpoint import load_latest, weights_digest
from stprivacy.plain import to_dict
from tests.support.launch_fixtures import PHASES, TINY, attempts, later, plan_fault
from tests.support.shard_fixtures import write_tiny_dataset

pytestmark = pytest.mark.slow

# Of 12, 4 in an epoch, with checkpoints after every third: there are two to go back to, and reports after both.
FAULT_STEP = 9

DRIVER = """
import json, sys
from pathlib import Path
from pipelines import cluster
from pipelines.progress import Progress
from pipelines.train.launch import launch
from pipelines.runs.folder import RunRequest

requests = [RunRequest(Path(folder), config) for folder, config in json.loads(sys.argv[1])]
cluster.start(num_cpus=2)
with Progress(quiet=True) as progress:
    launch(requests, num_workers=2, progress=progress, tracker=None, executor=sys.argv[2])
"""


@dataclass(frozen=True)
class Runs:
    """Pairs of an init and an adversarial run, by name, and what the user was told."""

    folder: Path
    screen: io.StringIO = field(default_factory=io.StringIO)

    def requests(self, *names: str) -> list[RunRequest]:
        init = replace(TINY, data=str(self.folder / "data"))
        pairs = []
        for name in names:
            adversarial = later(init, AdversarialRun, from_run=str(self.folder / name / "init"))
            for run in (init, adversarial):
                folder = self.folder / name / run.phase
                # A copied run keeps the configuration of its original.
                config = read_json(folder / "config.json") or json.loads(json.dumps(to_dict(run)))
                pairs.append(RunRequest(folder, config, f"{name} {run.phase}"))
        return pairs

    def do(self, *names: str) -> None:
        with Progress(stream=self.screen) as progress:
            launch(self.requests(*names), num_workers=2, progress=progress, tracker=None, executor=PHASES)

    def copy(self, source: str, name: str) -> Path:
        return Path(shutil.copytree(self.folder / source, self.folder / name))

    def outcome(self, name: str, phase: str) -> tuple[str, str, dict[str, Any]]:
        """Digest of the final weights, history and result."""
        folder = self.folder / name / phase
        final = load_latest(folder / "checkpoints", pytest.fail)
        assert final is not None
        assert final.number == 12
        return weights_digest(final.model), (folder / "metrics.jsonl").read_text(), read_json(folder / "result.json")


@pytest.fixture(scope="module")
def runs(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """An undisturbed pair and disturbed ones, carried to their ends in as few worker groups as that takes."""
    runs = Runs(tmp_path_factory.mktemp("faults"))
    # The last batch of an epoch has three clips: one worker accumulates over two shares of it, the other has one.
    write_tiny_dataset(runs.folder / "data", videos=21)
    _kill_driver(runs, "driver_killed")
    runs.copy("driver_killed", "all_damaged")
    _truncate(_checkpoints(runs.copy("driver_killed", "newest_damaged"))[-1])
    # As a driver leaves it that dies when phase 1 has made its last checkpoint and phase 2 has not begun.
    between = runs.copy("driver_killed", "killed_between_phases")
    (between / "init" / "result.json").unlink()
    shutil.rmtree(between / "adversarial")
    # The other worker is inside a step: Ray dismantles its group there, or it fails before Ray knows of the death.
    plan_fault(runs.folder / "workers_killed" / "init", "kill", rank=1, step=FAULT_STEP)
    plan_fault(runs.folder / "workers_killed" / "init", "outlive", rank=0, step=FAULT_STEP)
    plan_fault(runs.folder / "workers_killed" / "adversarial", "kill", rank=0, step=FAULT_STEP)
    plan_fault(runs.folder / "workers_killed" / "adversarial", "stumble", rank=1, step=FAULT_STEP)
    # An earlier launch was killed before its first checkpoint, while it wrote its second report.
    stale = '{"phase": "init", "step": 4, "loss_action": 0.5}\n{"phase": "in'
    (runs.folder / "workers_killed" / "init" / "metrics.jsonl").write_text(stale)
    runs.do("undisturbed", "workers_killed", "driver_killed", "newest_damaged", "killed_between_phases")
    return runs


def _kill_driver(runs: Runs, name: str) -> None:
    """Have a driver with a Ray of its own train until the middle of phase 2, and kill -9 it there."""
    struck = runs.folder / name / "adversarial" / "fault-0.done"
    plan_fault(struck.parent, "hold", rank=0, step=FAULT_STEP)
    order = [[str(request.folder), request.config] for request in runs.requests(name)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, json.dumps(order), PHASES], start_new_session=True)
    try:
        deadline = time.monotonic() + 600
        while not struck.exists():
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline, "the driver did not come to the step at which it was to be killed"
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.wait()


def _checkpoints(pair: Path) -> list[Path]:
    found = sorted((pair / "adversarial" / "checkpoints").iterdir())
    assert [path.name for path in found] == ["000003", "000006"]
    return found


def _truncate(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)


@pytest.mark.parametrize("phase", ["init", "adversarial"])
@pytest.mark.parametrize("name", ["workers_killed", "driver_killed", "newest_damaged", "killed_between_phases"])
def test_disturbed_run_ends_bit_for_bit_like_the_undisturbed_one(runs: Runs, name: str, phase: str) -> None:
    assert runs.outcome(name, phase) == runs.outcome("undisturbed", phase)


def test_undisturbed_phases_train_and_report_every_epoch_once(runs: Runs) -> None:
    for phase in ("init", "adversarial"):
        _, history, result = runs.outcome("undisturbed", phase)
        reports = [json.loads(line) for line in history.splitlines()]
        assert [(report["phase"], report["step"]) for report in reports] == [(phase, 4), (phase, 8), (phase, 12)]
        assert result["loss_action"] == reports[-1]["loss_action"] != reports[0]["loss_action"]


def test_all_workers_begin_again_once_for_each_fault_and_never_else(runs: Runs) -> None:
    once, twice = [0, 1], [0, 0, 1, 1]
    expected = {"undisturbed": (once, once), "workers_killed": (twice, twice), "driver_killed": (once, twice)}
    for name, pair in expected.items():
        assert tuple(attempts(runs.folder / name / phase) for phase in ("init", "adversarial")) == pair


def test_loss_of_a_worker_is_told_once_for_each_with_its_cause(runs: Runs) -> None:
    screen = runs.screen.getvalue()
    for phase, rank in (("init", 1), ("adversarial", 0)):
        told = rf"workers_killed {phase}: a worker was lost \(worker {rank}: its process on \S+ was killed or crashed; "
        assert len(re.findall(told, screen)) == 1
    assert screen.count("restarted all of them from the newest checkpoint") == 2
    assert screen.count("a worker was lost") == 2


def test_fall_back_from_a_damaged_checkpoint_is_told_once(runs: Runs) -> None:
    screen = runs.screen.getvalue()
    assert screen.count("checkpoint 000006 is damaged (model.safetensors has") == 1
    assert "continuing from 000003" in screen


def test_when_all_checkpoints_are_damaged_one_clear_error_ends_the_run(runs: Runs) -> None:
    for checkpoint in _checkpoints(runs.folder / "all_damaged"):
        _truncate(checkpoint)
    with pytest.raises(
        PhaseError, match=r"adversarial stopped: every checkpoint in .* is damaged .*start over"
    ) as error:
        runs.do("all_damaged")
    assert "\n" not in str(error.value)
    assert attempts(runs.folder / "all_damaged" / "adversarial") == [0, 0, 1, 1]  # the killed driver's, and one more
