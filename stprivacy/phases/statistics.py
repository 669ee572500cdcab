"""What is logged of the masks in each step."""

import torch
from torch import Tensor

from stprivacy.anonymized import Anonymized


def watch_masks(anonymized: Anonymized) -> None:
    """Ask autograd to keep the gradients that reach the stage masks; call before the backward pass."""
    for keep in anonymized.stage_keeps:
        if keep.requires_grad:
            keep.retain_grad()


def mask_statistics(anonymized: Anonymized) -> dict[str, Tensor]:
    """Kept fraction of all tokens after each stage, and the norm of the loss's gradient in the masks."""
    statistics = {
        f"kept_stage_{stage}": keep.detach().mean() for stage, keep in enumerate(anonymized.stage_keeps, start=1)
    }
    gradients = [keep.grad for keep in anonymized.stage_keeps if keep.grad is not None]
    if gradients:
        statistics["mask_gradient_norm"] = torch.stack([grad.float().norm() for grad in gradients]).norm()
    return statistics
