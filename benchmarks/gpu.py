"""How close an adversarial step comes to a GPU's bfloat16 matrix multiplication, and what each setting is worth there.

python -m benchmarks.gpu: one GPU, demo and paper size; float32, bfloat16 autocast, and autocast with torch.compile.
The limit is the step's FLOPs at the rate of a large bfloat16 product measured in the same run. Then the paper's
STPrivacy in evaluation at falling keep ratios. Needs PyTorch and nothing of Ray.
"""

import sys
import time

import torch

from benchmarks.timing import AdversarialStep, matmul_rate, median_seconds
from pipelines.recipes import RECIPES
from stprivacy.anonymizers import STPrivacy

REPEATS = 10
CLIPS = {"demo": 32, "paper": 32}
VARIANTS = {
    "float32": {"amp": False, "compiled": False},
    "bfloat16 autocast": {"amp": True, "compiled": False},
    "autocast, compiled": {"amp": True, "compiled": True},
}
KEEP_RATIOS = (1.0, 0.9, 0.7, 0.5)


def main() -> None:
    """Measure and print two tables."""
    device = torch.device("cuda")
    rate = matmul_rate(8192, device, torch.bfloat16, REPEATS)
    date = time.strftime("%Y-%m-%d")
    print(f"{torch.cuda.get_device_name(device)}; torch {torch.__version__}; {date}; median of {REPEATS}")
    print(f"bfloat16 matrix product 8192 x 8192 x 8192: {rate / 1e12:.0f} TFLOP/s\n")
    print("| adversarial step | clips | GFLOP | ms | clips/s | ratio to the limit | first step, s | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    for recipe, clips in CLIPS.items():
        flops = AdversarialStep(recipe, clips, device).count_flops()
        for name, variant in VARIANTS.items():
            torch.cuda.reset_peak_memory_stats()
            step = AdversarialStep(recipe, clips, device, **variant)
            first = median_seconds(step, 1, device, warm_up=0)
            seconds = median_seconds(step, REPEATS, device, warm_up=3)
            print(
                f"| {recipe}, {name} | {clips} | {flops / 1e9:.0f} | {seconds * 1e3:.1f} | {clips / seconds:.0f} "
                f"| {flops / rate / seconds:.3f} | {first:.1f} | {torch.cuda.max_memory_allocated() / 1e9:.1f} |",
                flush=True,
            )
            del step
    print("\n| anonymize, paper size, autocast | clips | ms | clips/s |\n|---|---|---|---|")
    for keep_ratio in KEEP_RATIOS:
        seconds = anonymize_seconds(keep_ratio, CLIPS["paper"], device)
        print(f"| keep ratio {keep_ratio} | {CLIPS['paper']} | {seconds * 1e3:.1f} | {CLIPS['paper'] / seconds:.0f} |")


@torch.no_grad()
def anonymize_seconds(keep_ratio: float, clips: int, device: torch.device) -> float:
    """Median seconds of a forward pass in evaluation."""
    config = RECIPES["paper"]().init.model
    model = STPrivacy(config).to(device).eval()
    video = torch.randn(clips, 3, config.clip.frames, config.clip.height_px, config.clip.width_px, device=device)

    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            model(video, keep_ratio=keep_ratio)

    return median_seconds(forward, REPEATS, device, warm_up=3)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a CUDA GPU, and torch sees none here")
    main()
