"""A Ray of four simulated nodes that loses one each in mid-ingest, mid-phase and mid-sweep.

Run it with a folder to work in. Prints the ledgers, and last one line of JSON: what came out with and without the
losses.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from pipelines import cluster
from pipelines.data.decoder import PROCESS_MODULE
from pipelines.data.manifest import Manifest, VideoEntry
from pipelines.data.schema import IngestSettings
from pipelines.progress import Progress
from pipelines.runs.folder import RunRequest, read_json
from pipelines.train.execute import execute
from pipelines.train.launch import launch
from stprivacy.checkpoint import CheckpointStore, load_latest, weights_digest
from stprivacy.plain import to_dict
from tests.support.bad_corpus import write_video
from tests.support.launch_fixtures import TINY, FaultyContext, attempts, plan_fault
from tests.support.nodes_sweep import sweeps
from tests.support.shard_fixtures import write_tiny_dataset

NODES, VIDEOS, BROKEN = 4, 24, 5
FAULT_STEP = 9  # of 12, with checkpoints after every third
SETTINGS = IngestSettings(stride=2, short_side_px=32, shard_videos=2)
# A lost node is noticed in seconds: the default takes half a minute. One that is only slow must not be taken for lost.
DETECTION = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 12}
STORE = {"object_store_memory": 80 << 20}
PATIENCE_SECONDS = 240


def phase_that_says_where(
    config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore
) -> Mapping[str, Any]:
    """The phase with planned faults; RUN/node-RANK names the node of each worker, RUN/attempts counts them."""
    (folder / f"node-{context.rank}").write_text(ray.get_runtime_context().get_node_id())
    with open(folder / "attempts", "a") as file:
        file.write(f"{context.rank}\n")
    return execute(config, folder, FaultyContext(context), store)


class Nodes:
    """A head without CPUs, for the driver, and four nodes of one CPU each."""

    def __init__(self, folder: Path) -> None:
        head = {"num_cpus": 0, "temp_dir": str(folder), "_system_config": DETECTION, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head | STORE)
        os.environ["RAY_ADDRESS"] = self._cluster.address
        cluster.start()  # while there is no other node to connect to: this one stays
        self._nodes = [self._add() for _ in range(NODES)]
        self._cluster.wait_for_nodes()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **STORE)

    def alive(self) -> int:
        """Nodes that Ray counts as alive, the head left out."""
        return sum(node["Alive"] for node in ray.nodes()) - 1

    def lose(self, is_it: Callable[[Any], bool]) -> None:
        """Kill -9 the one node that `is_it`."""
        (lost,) = [node for node in self._nodes if is_it(node)]
        self._nodes.remove(lost)
        self._cluster.remove_node(lost, allow_graceful=False)

    def replace(self) -> None:
        """A new node for a lost one, as an autoscaler brings it."""
        self._nodes.append(self._add())

    def stop(self) -> None:
        """End all of it."""
        cluster.stop()
        self._cluster.shutdown()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives as soon as that is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen in {PATIENCE_SECONDS} s")
        time.sleep(0.05)
    return value


def in_background(work: Callable[[], None]) -> threading.Thread:
    """A thread whose failure ends the program: what waits for it would wait forever."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def write_videos(folder: Path) -> Manifest:
    """Two dozen videos, one of them cut in half."""
    entries = []
    for number in range(VIDEOS):
        path = write_video(folder / f"{number:02d}.mp4", frames=5 + number % 7, seed=number)
        split = "test" if number % 3 == 2 else "train"
        entries.append(VideoEntry(path.name, str(path), ("move",), bytes([number % 2]), (split,)))
    cut = folder / f"{BROKEN:02d}.mp4"
    os.truncate(cut, cut.stat().st_size // 2)
    return Manifest("nodes", ("move",), ("label",), tuple(entries))


def ingested(manifest: Manifest, out: Path) -> dict[str, Any]:
    """Ingest, and what came of it."""
    from pipelines.data.ingest import ingest

    ledger = str(ingest(manifest, out, SETTINGS))
    fingerprint = read_json(out / "dataset.json")["fingerprint"]
    left = [path.name for path in out.rglob("*.partial")]
    return {"ledger": ledger, "fingerprint": fingerprint, "left_over": left}


def ingest_that_loses_a_node(nodes: Nodes, manifest: Manifest, out: Path) -> dict[str, Any]:
    """A process that reads videos stands still: the task that it reads for waits, until its node is killed."""
    found: dict[str, Any] = {}

    def strike() -> None:
        wait_for(lambda: any((out / "videos").glob("[0-9]*.parquet")), "a finished shard")
        decoder = wait_for(a_decoder, "a process that reads videos")
        decoder.suspend()
        task = decoder.parent()
        wait_for(lambda: len(list((out / "videos").glob("[0-9]*.parquet"))) >= 3, "three finished shards")
        found["done_before"] = len(list((out / "videos").glob("[0-9]*.parquet")))
        raylet = task.ppid()
        nodes.lose(lambda node: raylet in pids(node, "raylet"))
        wait_for(lambda: ended(task) and ended(decoder), "the end of the task and of the process that reads for it")

    killer = in_background(strike)
    found |= ingested(manifest, out)
    killer.join()
    wait_for(lambda: nodes.alive() < NODES, "Ray's notice of the loss")  # the work may be done again before that
    return found | {"nodes_left": nodes.alive()}


def a_decoder() -> psutil.Process | None:
    """A process that reads videos for a task of this Ray; they end with their tasks' processes."""
    below = psutil.Process().children(recursive=True)
    return next((one for one in below if PROCESS_MODULE in " ".join(one.cmdline())), None)


def ended(process: psutil.Process) -> bool:
    """Whether it does nothing any more, be it that nobody has asked for its exit status."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids(node: Any, kind: str) -> list[int]:
    """Of a simulated node's processes of one kind."""
    return [info.process.pid for info in node.all_processes[kind]]


def phases(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The same phase twice on four workers, one on each node; the second time, the node of rank 2 is lost."""
    data = write_tiny_dataset(folder / "data", videos=21)
    config = json.loads(json.dumps(to_dict(replace(TINY, data=str(data)))))
    runs = [RunRequest(folder / name, config, name) for name in ("undisturbed", "disturbed")]
    disturbed = runs[1].folder
    plan_fault(disturbed, "hold", rank=2, step=FAULT_STEP)

    def train() -> None:
        with Progress(stream=sys.stdout) as progress:
            launch(
                runs, num_workers=NODES, progress=progress, executor="tests.support.nodes_driver:phase_that_says_where"
            )

    training = in_background(train)  # nodes can be added in the main thread only
    wait_for((disturbed / "fault-2.done").exists, "the step at which the node is to be lost")
    lost = (disturbed / "node-2").read_text()
    nodes.lose(lambda node: node.node_id == lost)
    wait_for(lambda: nodes.alive() == NODES - 1, "Ray's notice of the loss")
    nodes.replace()
    training.join()
    return {run.name: outcome(run.folder) for run in runs}


def sweep_that_loses_a_node(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """Two sweeps, the second one on a node fewer from its middle on."""

    def strike_when(raylet: Callable[[], int]) -> threading.Thread:
        def strike() -> None:
            lost = wait_for(raylet, "a worker of a second trial")
            nodes.lose(lambda node: lost in pids(node, "raylet"))

        return in_background(strike)

    return sweeps(folder, strike_when)


def outcome(folder: Path) -> dict[str, Any]:
    """Digest of the final weights, history and result of a run; where it ran, and how often it was begun."""
    final = load_latest(folder / "checkpoints", print)
    assert final is not None
    return {
        "digest": weights_digest(final.model),
        "steps": final.number,
        "history": (folder / "metrics.jsonl").read_text(),
        "result": read_json(folder / "result.json"),
        "nodes": len({(folder / f"node-{rank}").read_text() for rank in range(NODES)}),
        "attempts": attempts(folder),
    }


def main() -> None:
    """Do it all below the folder that the command line names."""
    folder = Path(sys.argv[1])
    manifest = write_videos(folder / "raw")
    # Sockets have short names: below the folder they might be too long.
    scratch = Path(tempfile.mkdtemp(prefix="ray-"))
    nodes = Nodes(scratch)
    try:
        found = {"whole": ingested(manifest, folder / "whole")}
        found["ingest"] = ingest_that_loses_a_node(nodes, manifest, folder / "out")
        nodes.replace()
        found["phases"] = phases(nodes, folder / "runs")
        found["sweep"] = sweep_that_loses_a_node(nodes, folder / "sweeps")
    finally:
        nodes.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    for name in ("whole", "ingest", "sweep"):
        print(f"{name}:\n{found[name]['ledger']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
