"""Whether dropped tubelets save the time that they should: STPrivacy in evaluation at falling keep ratios.

python -m benchmarks.inference: the paper's size, 8 clips, one thread. Latency and FLOPs relative to keep ratio 1;
the target is a latency ratio of at most 1.15 times the FLOP ratio.
"""

from functools import partial

import torch
import tyro

from benchmarks.machine import machine_line
from benchmarks.timing import KEEP_RATIOS, counting_flops, median_seconds, random_video
from pipelines.recipes.named import RECIPES
from stprivacy.anonymizers import STPrivacy


@torch.no_grad()
def main(clips: int = 8, repeats: int = 5) -> None:
    """Measure and print a table.

    Args:
        clips: clips in a batch
        repeats: timed passes after a warm-up; the median counts
    """
    torch.set_num_threads(1)
    config = RECIPES["paper"]().init.model
    model = STPrivacy(config).eval()
    video = random_video(config.clip, clips)
    print(f"{machine_line('torch')}; one thread, float32, {clips} clips, median of {repeats}\n")
    print("| keep ratio | GFLOP | seconds | FLOP ratio | latency ratio | latency / FLOP ratio |")
    print("|---|---|---|---|---|---|")
    dense_flops = dense_seconds = 0.0
    for keep_ratio in KEEP_RATIOS:
        forward = partial(model, video, keep_ratio=keep_ratio)
        with counting_flops() as counter:
            forward()
        flops, seconds = counter.get_total_flops(), median_seconds(forward, repeats, torch.device("cpu"))
        dense_flops, dense_seconds = dense_flops or flops, dense_seconds or seconds
        ratios = flops / dense_flops, seconds / dense_seconds
        print(
            f"| {keep_ratio} | {flops / 1e9:.0f} | {seconds:.2f} | {ratios[0]:.3f} | {ratios[1]:.3f} "
            f"| {ratios[1] / ratios[0]:.2f} |"
        )


if __name__ == "__main__":
    tyro.cli(main)
