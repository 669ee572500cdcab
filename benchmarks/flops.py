"""What each part of STPrivacy costs in evaluation: parameters, and forward FLOPs of one clip at falling keep ratios.

python -m benchmarks.flops: counted by torch's FLOP counter in a forward pass; a multiply-add is two FLOPs.
"""

import torch
import tyro

from benchmarks.timing import KEEP_RATIOS, counting_flops
from pipelines.recipes.named import RECIPES
from stprivacy.config import ModelConfig
from stprivacy.models.anonymizer import STPrivacy


def parts_of(config: ModelConfig) -> dict[str, list[str]]:
    """The table's rows, and the submodules of STPrivacy that each consists of."""
    parts = {"embedding and positions": ["embedding", "position"]}
    for stage, depth in enumerate(config.stage_depths):
        layers = [f"stages.{stage}.{layer}" for layer in range(depth)]
        parts[f"stage {stage + 1} with predictor"] = [*layers, f"predictors.{stage}"]
    parts["anonymization"] = [f"anonymization.{layer}" for layer in range(config.anonymizer_depth)]
    parts["norm and head"] = ["norm", "head"]
    return parts


def count_parameters(model: STPrivacy) -> dict[str, int]:
    """Parameters of each part."""
    return {
        part: sum(p.numel() for name in names for p in model.get_submodule(name).parameters())
        for part, names in parts_of(model.config).items()
    }


@torch.no_grad()
def count_flops(model: STPrivacy, keep_ratio: float) -> tuple[dict[str, int], list[int]]:
    """FLOPs of each part for one clip, and the tokens after each stage; `model` is in evaluation."""
    clip = model.config.clip
    video = torch.zeros(1, 3, clip.frames, clip.height_px, clip.width_px)
    with counting_flops() as counter:
        anonymized = model(video, keep_ratio=keep_ratio)
    counts = counter.get_flop_counts()
    flops = {
        part: sum(sum(counts[f"STPrivacy.{name}"].values()) for name in names if f"STPrivacy.{name}" in counts)
        for part, names in parts_of(model.config).items()
    }
    return flops, [int(keep.sum()) for keep in anonymized.stage_keeps]


def main(recipe: str = "paper") -> None:
    """Print a table.

    Args:
        recipe: whose model to count
    """
    config = RECIPES[recipe]().init.model
    model = STPrivacy(config).eval()
    parameters = count_parameters(model)
    columns = [count_flops(model, ratio) for ratio in KEEP_RATIOS]
    print("| part | parameters, M |" + "".join(f" GFLOP, keep ratio {ratio:g} |" for ratio in KEEP_RATIOS))
    print("|---|---|" + "---|" * len(columns))
    for part, count in parameters.items():
        print(f"| {part} | {count / 1e6:.2f} |" + "".join(f" {flops[part] / 1e9:.2f} |" for flops, _ in columns))
    totals = [sum(flops.values()) for flops, _ in columns]
    print(f"| all | {sum(parameters.values()) / 1e6:.2f} |" + "".join(f" {total / 1e9:.2f} |" for total in totals))
    print("| ratio to keep ratio 1 | |" + "".join(f" {total / totals[0]:.2f} |" for total in totals))
    print("| tokens after each stage | |" + "".join(f" {', '.join(map(str, tokens))} |" for _, tokens in columns))


if __name__ == "__main__":
    tyro.cli(main)
