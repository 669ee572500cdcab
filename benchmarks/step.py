"""How close an adversarial step comes to what this machine's matrix multiplication would allow.

python -m benchmarks.step: one worker, one thread, demo and paper size. The limit is the step's FLOPs, counted by
torch's FLOP counter, at the rate of a large float32 matrix product measured in the same run.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import machine_line
from pipelines.recipes import RECIPES
from pipelines.runs import RunConfig
from stprivacy.anonymizers import STPrivacy
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext

ACTIONS, ATTRIBUTES = 8, 5


@dataclass(frozen=True)
class Measurement:
    """One size: clips in a batch, floating-point operations and median seconds of a step."""

    name: str
    clips: int
    flops: float
    seconds: float


def main(demo_clips: int = 16, paper_clips: int = 2, repeats: int = 5) -> None:
    """Measure and print a table.

    Args:
        demo_clips: clips in a batch at demo size
        paper_clips: clips in a batch at paper size
        repeats: timed steps after a warm-up; the median counts
    """
    torch.set_num_threads(1)
    rate = matmul_rate(repeats)
    print(f"{machine_line('torch')}; one thread, float32, median of {repeats}")
    print(f"matrix product 1024 x 1024 x 1024: {rate / 1e9:.1f} GFLOP/s\n")
    print("| adversarial step | clips | GFLOP | seconds | seconds at the matmul rate | ratio to the limit |")
    print("|---|---|---|---|---|---|")
    for name, clips in (("demo", demo_clips), ("paper", paper_clips)):
        m = measure(name, clips, repeats)
        limit = m.flops / rate
        print(
            f"| {m.name} | {m.clips} | {m.flops / 1e9:.1f} | {m.seconds:.3f} | {limit:.3f} | {limit / m.seconds:.2f} |"
        )


def measure(recipe: str, clips: int, repeats: int) -> Measurement:
    """Count and time forward, backward and the optimizer steps of Eq 13's three players."""
    run = RECIPES[recipe]().adversarial
    phase = _phase(run)
    size = run.model.clip
    batch = Batch(
        torch.randn(clips, 3, size.frames, size.height_px, size.width_px),
        torch.randint(ACTIONS, (clips,)),
        torch.randint(2, (clips, ATTRIBUTES)).float(),
        torch.arange(clips),
        1.0,
    )

    def step() -> None:
        phase.backward(batch, ClipNoise(0, 0, range(clips)))
        for learner in phase.learners:
            learner.clip_gradient(phase.name, 0)
            learner.update(0, 1, 1)

    with FlopCounterMode(display=False) as counter:
        step()
    return Measurement(recipe, clips, counter.get_total_flops(), median_seconds(step, repeats))


def _phase(run: RunConfig) -> AdversarialPhase:
    players = (
        STPrivacy(run.model),
        Recognizer(run.recognizer, run.model.clip, ACTIONS),
        Recognizer(run.recognizer, run.model.clip, ATTRIBUTES),
    )
    return AdversarialPhase(*players, run.losses, replace(run.train, amp=False), LocalContext())


def matmul_rate(repeats: int) -> float:
    """Floating-point operations a second of a 1024-cubed float32 product."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    a @ b
    return 2 * 1024**3 / median_seconds(lambda: a @ b, repeats * 4)


def median_seconds(task: Callable[[], object], repeats: int) -> float:
    """Median wall seconds of `task`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    tyro.cli(main)
