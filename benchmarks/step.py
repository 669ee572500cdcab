"""How close an adversarial step comes to what this machine's matrix multiplication would allow.

python -m benchmarks.step: one worker, one thread, demo and paper size. The limit is the step's FLOPs, counted by
torch's FLOP counter, at the rate of a large float32 matrix product measured in the same run.
"""

import torch
import tyro

from benchmarks.machine import machine_line
from benchmarks.timing import AdversarialStep, matmul_rate, median_seconds


def main(demo_clips: int = 16, paper_clips: int = 2, repeats: int = 5) -> None:
    """Measure and print a table.

    Args:
        demo_clips: clips in a batch at demo size
        paper_clips: clips in a batch at paper size
        repeats: timed steps after a warm-up; the median counts
    """
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    rate = matmul_rate(1024, cpu, torch.float32, repeats * 4)
    print(f"{machine_line('torch')}; one thread, float32, median of {repeats}")
    print(f"matrix product 1024 x 1024 x 1024: {rate / 1e9:.1f} GFLOP/s\n")
    print("| adversarial step | clips | GFLOP | seconds | seconds at the matmul rate | ratio to the limit |")
    print("|---|---|---|---|---|---|")
    for name, clips in (("demo", demo_clips), ("paper", paper_clips)):
        step = AdversarialStep(name, clips, cpu)
        flops = step.count_flops()
        seconds, limit = median_seconds(step, repeats, cpu), flops / rate
        print(f"| {name} | {clips} | {flops / 1e9:.1f} | {seconds:.3f} | {limit:.3f} | {limit / seconds:.2f} |")


if __name__ == "__main__":
    tyro.cli(main)
