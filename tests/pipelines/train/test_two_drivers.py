"""A second driver on the same output gets one line, and the first is not disturbed."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.runs.claims import claim
from pipelines.runs.folder import RunRequest
from pipelines.train.launch import launch
from pipelines.train.options import LaunchOptions
from pipelines.tune.space import parse_space
from pipelines.tune.sweep import Concurrency, run_sweep
from pipelines.tune.trials import Sweep
from stprivacy.output_lock import OutputBusyError, output_lock
from tests.support.job_fixtures import StartedError, forbid_ray
from tests.support.launch_fixtures import TOY, TOY_CONFIG, attempts, plan_fault
from tests.support.shard_fixtures import write_tiny_dataset

SECOND = """
import sys
from pathlib import Path
from pipelines.progress import Progress
from pipelines.train.launch import launch
from pipelines.runs.folder import RunRequest
import json

with Progress(quiet=True) as progress:
    try:
        launch([RunRequest(Path(sys.argv[1]), json.loads(sys.argv[2]))], num_workers=1, progress=progress)
    except ValueError as error:
        sys.exit(f"error: {error}")
"""


def second_driver(folder: Path, ended: list[subprocess.CompletedProcess[str]]) -> None:
    """Launch the run once more when its worker is in the middle of it, and let that go on."""
    while not (folder / "fault-0.done").exists():
        time.sleep(0.05)
    command = [sys.executable, "-c", SECOND, str(folder), json.dumps(TOY_CONFIG)]
    ended.append(subprocess.run(command, capture_output=True, text=True))
    (folder / "go-on").touch()


def test_a_second_launch_of_a_run_is_refused_and_the_first_ends_undisturbed(ray_cluster: None, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan_fault(folder, "pause", rank=0, step=5)
    ended: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=second_driver, args=(folder, ended))
    thread.start()
    with Progress(quiet=True) as progress:
        (result,) = launch([RunRequest(folder, TOY_CONFIG)], num_workers=1, progress=progress, executor=TOY)
    thread.join()
    (refused,) = ended
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {folder} is being written to by process ")
    assert refused.stderr.count("\n") == 1
    assert json.loads((folder / "result.json").read_text()) == result
    assert attempts(folder) == [0]
    assert not (folder / ".lock").exists()


def test_a_second_sweep_is_refused_before_ray_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_ray(monkeypatch)
    data = write_tiny_dataset(tmp_path / "data", videos=48, test_videos=12)
    sweep = Sweep(data, RECIPES["demo"](), parse_space({"lambda_privacy": ("0.1", "1")}), attackers=("standard",))
    out = tmp_path / "sweep"
    with output_lock(out), pytest.raises(OutputBusyError, match=rf"^{out} is being written to by process \d+"):
        run_sweep(sweep, out, LaunchOptions(), Concurrency(1))
    with pytest.raises(StartedError):
        run_sweep(sweep, out, LaunchOptions(), Concurrency(1))


def test_what_a_killed_writer_left_half_written_is_removed_by_the_next_claim(tmp_path: Path) -> None:
    left = tmp_path / ".0123456789abcdef.4711-00000000.partial"
    left.touch()
    claim(RunRequest(tmp_path, TOY_CONFIG), "a launch")
    assert not left.exists()
