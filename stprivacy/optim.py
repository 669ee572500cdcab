"""Parameter groups and the learning rate as a pure function of the step."""

import math

import torch
from torch import nn

from stprivacy.config import OptimConfig


def make_optimizer(module: nn.Module, optim: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; vectors and positions are not decayed.

    Groups carry `backbone`: True for all but retain predictors and heads, whose rate OptimConfig may lower.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            backbone = not any(part in ("predictors", "head", "classifier") for part in name.split("."))
            decayed = parameter.ndim > 1 and not name.endswith("position.weight")
            groups.setdefault((backbone, decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "backbone": backbone, "weight_decay": optim.weight_decay if decayed else 0.0}
            for (backbone, decayed), parameters in groups.items()
        ],
        lr=optim.learning_rate,
        fused=True,
    )


def learning_rate(
    optim: OptimConfig, batch_size: int, step: int, total_steps: int, steps_per_epoch: int, held_steps: int = 0
) -> float:
    """The rate at `step`: learning_rate * batch_size / 512 (Section 4.3), linear warm-up, then cosine to 0.

    It is held at its peak until `held_steps` are done.
    """
    peak = optim.learning_rate * batch_size / 512
    warmup = optim.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    begin = max(warmup, held_steps)
    share = (step - begin) / max(total_steps - begin, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


def set_learning_rate(optimizer: torch.optim.Optimizer, optim: OptimConfig, rate: float, epoch: int) -> None:
    """Give each group its rate at this epoch: the backbone's is scaled, and 0 while it is frozen."""
    backbone_scale = 0.0 if epoch < optim.backbone_freeze_epochs else optim.backbone_rate_scale
    for group in optimizer.param_groups:
        group["lr"] = rate * (backbone_scale if group["backbone"] else 1.0)
