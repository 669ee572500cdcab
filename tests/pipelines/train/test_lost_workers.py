"""What a user reads when workers are lost: how often they really were, and why, as Ray knows it."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import ControllerError

from pipelines.progress import Progress
from pipelines.runs.folder import RunRequest, WorkersLostError
from pipelines.train.launch import launch
from pipelines.train.lost_workers import cause_of_loss, why_unfinished
from tests.support.launch_fixtures import TOY, TOY_CONFIG, plan_fault

# As Ray 2.60 words them, cut where "..." stands.
KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: RayTrainWorker
\tpid: 7194
\tip: 10.0.0.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: ..."""
NODE_LOST = """The actor died unexpectedly before finishing this task.
\tclass_name: RayTrainWorker
\tip: 10.0.0.7
The actor died because its node has died. Node Id: 105d15526f...
\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"""
NO_MEMORY = """3 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, \
ID: 7b6e...) was 5.35GB used / 23.54GB limit (0.227407)
OOM kill reason: Memory usage 5726973952B exceeded threshold of 5687214592B (22.5% of 25276510208B limit)
..."""


class Unhealthy(Exception):
    """How Ray Train wraps the death of a worker."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("A worker health check failed.\nWorker info: ...")
        self.health_check_failure = failure


@pytest.mark.parametrize(
    ("death", "cause"),
    [
        (
            RayActorError("ab", KILLED),
            "worker 1: its process on 10.0.0.7 was killed or crashed; the system kills processes when it runs out of "
            "memory",
        ),
        (RayActorError("ab", NODE_LOST), "worker 1: its node on 10.0.0.7 was lost"),
        (
            OutOfMemoryError(NO_MEMORY),
            "worker 1: out of memory, 5.35GB of 23.54GB were in use on 10.0.0.7, so that Ray ended it; fewer workers "
            "or smaller batches take less",
        ),
    ],
    ids=["killed", "node lost", "out of memory"],
)
def test_the_cause_is_the_death_of_a_worker_and_not_what_the_others_met(death: Exception, cause: str) -> None:
    survivor = RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection closed by peer [10.0.0.7]:7592")
    assert cause_of_loss({0: survivor, 1: Unhealthy(death)}) == cause
    assert cause_of_loss({0: survivor}) == f"worker 0: {survivor}"


def test_each_kind_of_end_is_worded_for_what_it_was() -> None:
    lost = RayActorError("ab", KILLED)
    assert why_unfinished(lost, ["worker 1: before"]).startswith(
        "the process that controls its workers was lost: its process on 10.0.0.7 was killed"
    )
    assert why_unfinished(OutOfMemoryError(NO_MEMORY), []).startswith(
        "the process that controls its workers was lost: out of memory, 5.35GB of 23.54GB"
    )
    started = ControllerError(RuntimeError("The worker group startup timed out\nafter 60 seconds"))
    assert why_unfinished(started, []) == "its workers could not start: after 60 seconds"
    assert why_unfinished(None, []) == "its workers ended early"


def launch_one(folder: Path, executor: str, **options: Any) -> str:
    """Launch a toy run; gives back the message it ends with."""
    with Progress(quiet=True) as progress, pytest.raises(WorkersLostError) as ended:
        launch([RunRequest(folder, TOY_CONFIG, "toy")], num_workers=1, progress=progress, executor=executor, **options)
    return str(ended.value)


@pytest.mark.slow
def test_losses_are_counted_as_they_were_and_the_same_command_continues(ray_cluster: None, tmp_path: Path) -> None:
    said = launch_one(tmp_path, "tests.support.launch_fixtures:die_always", max_failures=1)
    assert said.startswith("toy stopped: its workers were lost 2 times, the last time worker 0: its process on ")
    assert said.endswith(f"; the same command continues from the newest checkpoint in {tmp_path}")
    assert "\n" not in said


@pytest.mark.slow
def test_a_killed_controller_is_not_a_loss_of_workers(ray_cluster: None, tmp_path: Path) -> None:
    plan_fault(tmp_path, "hold", rank=0, step=2)
    killer = threading.Thread(target=kill_controller_of_held_run, args=(tmp_path,))
    killer.start()
    said = launch_one(tmp_path, TOY)
    killer.join()
    assert said.startswith("toy stopped: the process that controls its workers was lost: its process on ")
    assert "were lost" not in said


def kill_controller_of_held_run(folder: Path) -> None:
    while not (folder / "fault-0.done").exists():
        time.sleep(0.1)
    (own,) = [
        process
        for process in psutil.Process().children(recursive=True)
        if "TrainController" in " ".join(process.cmdline())
    ]
    os.kill(own.pid, signal.SIGKILL)
