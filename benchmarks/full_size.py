"""What a training step costs at the paper's size: VP-HMDB51 from its published lists through phases 1 and 2.

python -m benchmarks.full_size --annotations DIR --out DIR: generated videos under real HMDB51 names are ingested as
`jobs/ingest.py hmdb51 --allow-missing` does, and trained on as the recipe says, but for few steps on small batches, in
float32 and from scratch: the losses say nothing about the method.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.decode import write_clip
from benchmarks.machine import forget_peak, machine_line, resident_kib
from pipelines.cli.ingest import ingest_command
from pipelines.compare import demo
from pipelines.data.datasets import load_manifest
from pipelines.data.index import VideoIndex
from pipelines.data.manifest import Sources, VideoEntry
from pipelines.data.schema import IngestSettings
from pipelines.progress import Progress
from pipelines.recipes.named import RECIPES
from pipelines.recipes.recipe import Recipe
from pipelines.train.context import RayTrainContext
from pipelines.train.execute import Result, execute
from pipelines.train.launch import launch
from stprivacy.checkpoint import CheckpointStore

ODD_LETTERS = "!()#[]&+;~@"  # in names of HMDB51; they have a meaning to shells, globs or URLs
HEAD = "| phase | steps | s a step | clips/s | peak MiB of a worker | loss terms of the last report |"


class StepClock(RayTrainContext):
    """A worker's context that notes when each step ends."""

    def __init__(self, context: RayTrainContext) -> None:
        super().__init__(context.folder, context.launch, context.rank, context.world_size, context.device)
        self.ends: list[float] = []

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        """After every step, on every worker."""
        self.ends.append(time.perf_counter())
        super().progress(phase, step, total_steps, clips)


def measured(config: dict[str, Any], folder: Path, context: RayTrainContext, store: CheckpointStore) -> Result:
    """The product's executor; its result also holds the time of a step and the highest resident size of a worker.

    Timed is from the end of a step to that of the next: the first one, which warms up, is left out.
    """
    forget_peak()  # an earlier phase ran in this process
    clock = StepClock(context)
    result = execute(config, folder, clock, store)
    seconds = statistics.median(end - begun for begun, end in pairwise(clock.ends))
    peaks = context.gather(torch.tensor([resident_kib("VmHWM")]))
    return result | {"seconds_per_step": seconds, "peak_mib": max(map(int, peaks)) / 1024}


def choose(entries: Sequence[VideoEntry], videos: int) -> list[VideoEntry]:
    """The first name with each odd letter, `videos` of split 1's train part over all actions, fewer to test on."""
    chosen = [entry for letter in ODD_LETTERS for entry in [e for e in entries if letter in e.video_id][:1]]
    for part, count in (("train", videos), ("test", 1 + videos // 5)):
        listed = [entry for entry in entries if entry.splits[0] == part]
        chosen += listed[:: max(1, len(listed) // count)][:count]
    return list(dict.fromkeys(chosen))


def prepare(annotations: Path, out: Path, videos: int, settings: IngestSettings) -> Path:
    """Generate the chosen videos and ingest the list; returns the data set, in which each must have become a row."""
    sources = Sources(out / "videos", annotations)
    chosen = choose(load_manifest("hmdb51", sources).entries, videos)
    for number, entry in enumerate(chosen):
        path = out / "videos" / entry.video_id
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames=40 + number % 20, width=320, height=240, seed=number)
    ingest_command("hmdb51", out / "data", sources, settings, allow_missing=True)
    rows = VideoIndex(out / "data").rows
    if {row.video_id for row in rows} != {entry.video_id for entry in chosen}:
        raise RuntimeError(f"{len(chosen)} videos were made, {len(rows)} became rows: see {out}/data/quarantine")
    return out / "data"


def shortened(recipe: Recipe, batch_size: int, **train: int) -> Recipe:
    """Phases 1 and 2 for a machine with neither a GPU nor a network: from scratch, in float32, for few steps."""
    init, adversarial = recipe.init, recipe.adversarial
    short: dict[str, Any] = {"batch_size": batch_size, "amp": False, **train}
    scratch, recognizer = replace(init.model, pretrained=""), replace(adversarial.recognizer, pretrained="")
    return replace(
        recipe,
        init=replace(init, model=scratch, train=replace(init.train, **short)),
        adversarial=replace(
            adversarial, model=scratch, recognizer=recognizer, train=replace(adversarial.train, **short)
        ),
    )


def main(
    annotations: Path, out: Path, recipe: str = "table-1-vp-hmdb51-ours", steps: int = 10, batch_size: int = 2,
    videos: int = 40, workers: int = 1,
) -> None:  # fmt: skip
    """Run both phases and print the table.

    Args:
        annotations: folder of HMDB51's split files and the VP labels
        out: a new folder for videos, data set and runs
        recipe: whose model, losses and ingest settings are taken
        steps: of each phase, 2 or more
        batch_size: clips in a step, over all workers
        videos: how many to train on; a fifth as many to test on, and a few odd names, come on top
        workers: processes that train, one thread each
    """
    if out.exists() or steps < 2:
        sys.exit(f"error: --out must be a new folder and --steps 2 or more, got {out} and {steps}")
    out, base = out.resolve(), RECIPES[recipe]()  # workers start elsewhere
    data = prepare(annotations, out, videos, IngestSettings(stride=base.stride, short_side_px=base.short_side_px))
    base = shortened(base, batch_size, max_steps=steps)
    runs = demo.training_runs(demo.Runs(out), data, base, seed=0)
    with Progress() as progress:
        results = launch(runs, num_workers=workers, progress=progress, executor="benchmarks.full_size:measured")
    print(f"\n{recipe}: batches of {batch_size} x {base.init.model.clip}; {workers} worker(s) of one thread, float32")
    print(f"{machine_line('torch', 'ray', 'av')}\n\n{HEAD}\n|---|---|---|---|---|---|")
    for result in results:
        seconds, mib = result["seconds_per_step"], result["peak_mib"]
        terms = ", ".join(f"{name} {value:.3f}" for name, value in result.items() if name.startswith("loss"))
        print(f"| {result['phase']} | {steps} | {seconds:.3f} | {batch_size / seconds:.3g} | {mib:.0f} | {terms} |")


if __name__ == "__main__":
    tyro.cli(main)
