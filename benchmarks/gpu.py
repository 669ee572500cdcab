"""What a GPU makes of the method: training steps, masked attention, pruned inference, parity, the largest batch.

python benchmarks/gpu.py: one GPU, the paper's size, within 8 minutes on an H100; prints tables, and with --json FILE
writes all of it there too. It needs PyTorch, timm and einops and nothing of Ray, PyAV or MLflow; torch >= 2.11, Python
3.11 or 3.12. `--device cpu --recipe demo --batches 2` tries it out anywhere. Utilisation is the step's FLOPs, as
torch's counter has them in eager mode, at the rate of a large matrix product measured in the same run, of bfloat16 on
a GPU and float32 on a CPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, it finds itself in benchmarks/

from benchmarks.attention import WAYS, forward_and_backward, make_inputs
from benchmarks.timing import KEEP_RATIOS, AdversarialStep, matmul_rate, median_seconds, random_video
from pipelines.recipes.named import RECIPES
from stprivacy.anonymizers import STPrivacy

VARIANTS: dict[str, dict[str, bool]] = {
    "float32": {"amp": False, "compiled": False},
    "bfloat16": {"amp": True, "compiled": False},
    "float32, compiled": {"amp": False, "compiled": True},
    "bfloat16, compiled": {"amp": True, "compiled": True},
}
PARITY_STEPS = 10
Row = dict[str, float | int | str]


@dataclass(frozen=True)
class Plan:
    """What to measure: on which device, whose recipe's sizes, which batches, how often, and where to stop growing."""

    device: torch.device
    recipe: str
    batches: tuple[int, ...]
    repeats: int
    largest: int

    @property
    def matmul_size(self) -> int:
        """Side of the matrix product that sets the limit."""
        return 8192 if self.device.type == "cuda" else 512


def main(plan: Plan) -> dict[str, Any]:
    """Measure everything, printing each table when it is ready."""
    # Many a CPU is slower in bfloat16 than in float32.
    matmul_dtype = torch.bfloat16 if plan.device.type == "cuda" else torch.float32
    rate = matmul_rate(plan.matmul_size, plan.device, matmul_dtype, plan.repeats)
    name = torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "CPU"
    about = {"device": name, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"), "recipe": plan.recipe}
    print(f"{name}; torch {torch.__version__}; {about['date']}; {plan.recipe} size; median of {plan.repeats}")
    print(f"{matmul_dtype} matrix product of {plan.matmul_size}^3: {rate / 1e12:.3g} TFLOP/s")
    tables = {
        "adversarial step": steps(plan, rate),
        "attention": attention(plan),
        "anonymize": inference(plan),
        "losses beside float32": parity(plan),
        "largest batch": largest_batch(plan),
    }
    return about | {"matmul_flops": rate} | {title: show(title, rows) for title, rows in tables.items()}


def show(title: str, rows: Iterator[Row]) -> list[Row]:
    """Print rows as a markdown table while they come; gives them back."""
    seen: list[Row] = []
    for row in rows:
        if not seen:
            print(f"\n| {title} | " + " | ".join(list(row)[1:]) + " |\n" + "|---" * len(row) + "|")
        cells = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values())
        print("| " + " | ".join(cells) + " |", flush=True)
        seen.append(row)
    return seen


def steps(plan: Plan, rate: float) -> Iterator[Row]:
    """Throughput, utilisation and memory of a training step, each batch in the two bfloat16 variants."""
    flops = AdversarialStep(plan.recipe, plan.batches[0], plan.device).count_flops() / plan.batches[0]
    cases = [(plan.batches[0], name) for name in VARIANTS]
    cases += [(clips, name) for clips in plan.batches[1:] for name in ("bfloat16", "bfloat16, compiled")]
    for clips, name in cases:
        with peak_memory(plan.device) as peak:
            step = AdversarialStep(plan.recipe, clips, plan.device, **VARIANTS[name])
            first = median_seconds(step, 1, plan.device, warm_up=0)
            seconds = median_seconds(step, plan.repeats, plan.device, warm_up=2)
        yield {
            "variant": name,
            "clips": clips,
            "ms": seconds * 1e3,
            "clips/s": clips / seconds,
            "GFLOP a clip": flops / 1e9,
            "utilisation": flops * clips / seconds / rate,
            "first step, s": first,
            "peak GB": peak[0] / 1e9,
        }


def attention(plan: Plan) -> Iterator[Row]:
    """Masked attention beside plain attention and the transcription of Eqs 8-10, forward and backward."""
    for dtype in (torch.float32, torch.bfloat16):
        inputs = make_inputs(plan.device, dtype, clips=plan.batches[0])
        for name, way in WAYS.items():
            with peak_memory(plan.device) as peak:
                forward = median_seconds(partial(way, *inputs), plan.repeats, plan.device, warm_up=2)
                both_ways = partial(forward_and_backward, way, inputs)
                both = median_seconds(both_ways, plan.repeats, plan.device, warm_up=2)
            yield {
                "way": f"{name}, {str(dtype).removeprefix('torch.')}",
                "clips": plan.batches[0],
                "forward, ms": forward * 1e3,
                "forward + backward, ms": both * 1e3,
                "peak GB": peak[0] / 1e9,
            }


@torch.no_grad()
def inference(plan: Plan) -> Iterator[Row]:
    """STPrivacy in evaluation, where abandoned tubelets leave the computation."""
    config, clips = RECIPES[plan.recipe]().init.model, plan.batches[0]
    model = STPrivacy(config).to(plan.device).eval()
    video = random_video(config.clip, clips, plan.device)
    for keep_ratio in KEEP_RATIOS:

        def forward(keep_ratio: float = keep_ratio) -> None:
            with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.device.type == "cuda"):
                model(video, keep_ratio=keep_ratio)

        seconds = median_seconds(forward, plan.repeats, plan.device, warm_up=2)
        yield {"keep ratio": keep_ratio, "clips": clips, "ms": seconds * 1e3, "clips/s": clips / seconds}


def parity(plan: Plan) -> Iterator[Row]:
    """Largest relative difference of the losses from those of float32 in eager mode, over ten steps on one batch."""
    losses = {}
    for name, variant in VARIANTS.items():
        torch.manual_seed(0)
        step = AdversarialStep(plan.recipe, plan.batches[0], plan.device, **variant)
        losses[name] = torch.tensor([step.losses() for _ in range(PARITY_STEPS)])
    expected = losses.pop("float32")
    for name, found in losses.items():
        gap = ((found - expected).abs() / expected.abs().clamp_min(0.1)).amax(0)
        yield {"variant": name, "steps": PARITY_STEPS, "L_Action": float(gap[0]), "L_Privacy": float(gap[1])}


def largest_batch(plan: Plan) -> Iterator[Row]:
    """The most clips whose step fits into memory in bfloat16, to an eighth of it, and no more than asked for."""
    fits, clips = 0, plan.batches[0]
    while clips <= plan.largest and _fits(plan, clips):
        fits, clips = clips, clips * 2
    fails = min(clips, plan.largest + 1)
    while fails - fits > max(fits // 8, 1):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if _fits(plan, middle) else (fits, middle)
    yield {
        "variant": "bfloat16",
        "clips": fits,
        "stopped at": "the size asked for" if fails > plan.largest else "memory",
    }


def _fits(plan: Plan, clips: int) -> bool:
    try:
        AdversarialStep(plan.recipe, clips, plan.device, amp=True)()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """A list that holds, once the block has ended, the bytes that the GPU's tensors took at their peak; 0 on a CPU."""
    peak = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    if device.type == "cuda":
        peak[0] = float(torch.cuda.max_memory_allocated(device))


def parse(arguments: list[str] | None = None) -> tuple[Plan, Path | None]:
    """The plan, and where to write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--recipe", default="paper", choices=list(RECIPES), help="whose sizes")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128, 256], help="clips in a step")
    parser.add_argument("--repeats", type=int, default=5, help="timed repetitions; the median counts")
    parser.add_argument("--largest", type=int, default=1024, help="where the search for the largest batch stops")
    parser.add_argument("--json", type=Path, help="write the results there too")
    values = parser.parse_args(arguments)
    if values.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA GPU here; --device cpu --recipe demo --batches 2 tries it out")
    plan = Plan(torch.device(values.device), values.recipe, tuple(values.batches), values.repeats, values.largest)
    return plan, values.json


if __name__ == "__main__":
    chosen, target = parse()
    results = main(chosen)
    if target:
        target.write_text(json.dumps(results, indent=2) + "\n")
