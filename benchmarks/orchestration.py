"""What Ray Train, its daemons and our driver cost the phases: steps a second against the same loop under torchrun.

python -m benchmarks.orchestration: phases 1 and 2 of a recipe on generated clips, two CPU workers (gloo) of one thread
each. Both launchers run the same executor on the same data and must end with the same weights; they take turns, and
Ray is not up while torchrun runs. A turn's rate is that of all steps but each phase's first, checkpoints and reports
included.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import tyro

from benchmarks.full_size import StepClock, shortened
from benchmarks.machine import machine_line
from pipelines import cluster
from pipelines.compare import demo
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.runs.claims import claim
from pipelines.runs.folder import CHECKPOINTS, CONFIG, RESULT, RunRequest, read_json, write_json
from pipelines.train.context import RayTrainContext, configure_process
from pipelines.train.execute import Result, execute
from pipelines.train.launch import launch
from stprivacy.checkpoint import CheckpointStore, load_latest, weights_digest
from tests.support.shard_fixtures import write_tiny_dataset

TARGET = 0.95
LAUNCH = "torchrun"
HEAD = "| phase | torchrun, steps/s | Ray Train, steps/s | ratio (range) | target |"


def measured(config: dict[str, Any], folder: Path, context: RayTrainContext, store: CheckpointStore) -> Result:
    """The product's executor; its result also holds this worker's steps a second."""
    clock = StepClock(context)
    result = execute(config, folder, clock, store)
    return result | {"steps_per_second": (len(clock.ends) - 1) / (clock.ends[-1] - clock.ends[0])}


def torchrun_worker(folders: Sequence[Path]) -> None:
    """One process that torchrun has started: what `pipelines.train.worker` does, without Ray."""
    dist.init_process_group("gloo")
    rank, device = dist.get_rank(), torch.device("cpu")
    configure_process(device, threads=1)
    for folder in folders:
        context = RayTrainContext(folder, LAUNCH, rank, dist.get_world_size(), device)
        store = CheckpointStore(folder / CHECKPOINTS, 2, rank, context.tell)
        result = measured(read_json(folder / CONFIG), folder, context, store)
        if rank == 0:
            write_json(folder / RESULT, result)
        dist.barrier()
    dist.destroy_process_group()


def under_torchrun(runs: Sequence[RunRequest], workers: int) -> list[dict[str, Any]]:
    """Do the runs in order on one group of processes; returns their results."""
    for run in runs:
        claim(run, LAUNCH)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    command += ["-m", "benchmarks.orchestration", *(str(run.folder) for run in runs)]
    subprocess.run(command, cwd=cluster.ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    return [read_json(run.folder / RESULT) for run in runs]


def under_ray(runs: Sequence[RunRequest], workers: int) -> list[dict[str, Any]]:
    """The same through the product's launcher, on a Ray that is up for it alone."""
    cluster.start()
    with Progress(quiet=True) as progress:
        results = launch(runs, num_workers=workers, progress=progress, executor="benchmarks.orchestration:measured")
    cluster.stop()
    return results


def check_same(pair: Sequence[Sequence[RunRequest]]) -> None:
    """Raises: RuntimeError: the launchers ended with different weights."""
    for runs in zip(*pair, strict=True):
        found = [load_latest(run.folder / CHECKPOINTS, print) for run in runs]
        digests = {weights_digest(checkpoint.model) for checkpoint in found if checkpoint}
        if len(digests) != 1 or None in found:
            raise RuntimeError(f"{runs[0].folder} and {runs[1].folder} end with different weights")


def table(turns: Sequence[Sequence[Sequence[dict[str, Any]]]]) -> str:
    """Turns of (torchrun's results, Ray Train's): medians of the rates; median and range of the ratios within turns."""
    lines = [HEAD, "|---|---|---|---|---|"]
    for number, phase in enumerate(("init", "adversarial")):
        pairs = [[float(results[number]["steps_per_second"]) for results in turn] for turn in turns]
        plain, ray = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(with_ray / without for without, with_ray in pairs)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        lines.append(f"| {phase} | {plain:.3g} | {ray:.3g} | {ratio} | ≥ {TARGET:.2f} |")
    return "\n".join(lines)


def main(recipe: str = "demo", steps: int = 120, batch_size: int = 32, workers: int = 2, repeats: int = 3) -> None:
    """Measure and print the table.

    Args:
        recipe: whose model and losses are taken
        steps: of each phase, 2 or more
        batch_size: clips in a step, over all workers
        workers: processes that train, one thread each
        repeats: turns, of which the medians count
    """
    base = shortened(RECIPES[recipe](), batch_size, epochs=steps, max_steps=steps)
    size = base.init.model.clip
    turns = []
    with tempfile.TemporaryDirectory() as name:
        frames, height, width = 2 * size.frames, size.height_px + 8, size.width_px + 8
        data = write_tiny_dataset(Path(name) / "data", 8 * batch_size, 0, frames, height, width)
        for turn in range(repeats):
            folders = [demo.Runs(Path(name) / f"{launcher}-{turn}") for launcher in ("torchrun", "ray")]
            pair = [demo.training_runs(runs, data, base, seed=0) for runs in folders]
            turns.append([under_torchrun(pair[0], workers), under_ray(pair[1], workers)])
            check_same(pair)
    print(f"{recipe}: {steps} steps of {batch_size} x {size}, {workers} workers of one thread, gloo\n")
    print(table(turns))
    print(f"\nMedians of {repeats} turns. {machine_line('torch', 'ray')}")


if __name__ == "__main__":
    if dist.is_torchelastic_launched():
        torchrun_worker([Path(argument) for argument in sys.argv[1:]])
    else:
        tyro.cli(main)
