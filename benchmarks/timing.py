"""An adversarial step and an evaluation to time, and what they are measured against, on the CPU or a GPU."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipelines.recipes.named import RECIPES
from stprivacy.anonymizers import STPrivacy
from stprivacy.config import ClipConfig
from stprivacy.models.recognizer import Recognizer
from stprivacy.noise import ClipNoise
from stprivacy.phases.adversarial import AdversarialPhase
from stprivacy.phases.context import Batch
from stprivacy.phases.local import LocalContext
from stprivacy.phases.objectives.heads import Head
from stprivacy.phases.objectives.label import LabelObjective

ACTIONS, ATTRIBUTES = 8, 5
KEEP_RATIOS = (1.0, 0.9, 0.7, 0.5)  # of an evaluation


class AdversarialStep:
    """Forward, backward and the optimizer steps of Eq 13's three players on random clips; call it to do one step."""

    def __init__(
        self, recipe: str, clips: int, device: torch.device, *, amp: bool = False, compiled: bool = False
    ) -> None:
        run = RECIPES[recipe]().adversarial
        size = run.model.clip
        anonymizer, action = STPrivacy(run.model), Recognizer(run.recognizer, size, ACTIONS)
        settings, context = replace(run.train, amp=amp, compile=compiled), LocalContext(device)
        head = Head(Recognizer(run.recognizer, size, ATTRIBUTES))
        privacy = LabelObjective({"standard": head}, run.losses, settings, context)
        self.phase = AdversarialPhase(anonymizer, action, privacy, run.losses, settings, context)
        self.batch = Batch(
            random_video(size, clips),
            torch.randint(ACTIONS, (clips,)),
            torch.randint(2, (clips, ATTRIBUTES)).float(),
            torch.arange(clips),
            1.0,
        ).to(device)

    def __call__(self) -> dict[str, Tensor]:
        """One step; returns its loss terms."""
        terms = self.phase.backward(self.batch, ClipNoise(0, 0, self.batch.clip_index.tolist()))
        for learner in self.phase.learners:
            learner.clip_gradient(self.phase.name, 0)
            learner.update(0, 1, 1)
        return terms

    def losses(self) -> tuple[float, float]:
        """One step; returns L_Action and L_Privacy."""
        terms = self()
        return float(terms["loss_action"]), float(terms["loss_privacy"])

    def count_flops(self) -> float:
        """Floating-point operations of a step, by torch's counter; does one."""
        with counting_flops() as counter:
            self()
        return float(counter.get_total_flops())


@contextmanager
def counting_flops() -> Iterator[FlopCounterMode]:
    """Torch's counter, counting what runs in the block."""
    # It passes over a CPU's fused attention, and not over one that is written out.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


def random_video(clip: ClipConfig, clips: int, device: torch.device | None = None) -> Tensor:
    """So many clips of noise [b 3 t h w]."""
    return torch.randn(clips, 3, clip.frames, clip.height_px, clip.width_px, device=device)


def matmul_rate(size: int, device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Floating-point operations a second of a square product of `size`."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    return 2 * size**3 / median_seconds(lambda: a @ b, repeats, device)


def median_seconds(task: Callable[[], object], repeats: int, device: torch.device, warm_up: int = 1) -> float:
    """Median wall seconds of `task`, the device's work included."""
    times = []
    for _ in range(warm_up + repeats):
        _wait(device)
        start = time.perf_counter()
        task()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[warm_up:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
