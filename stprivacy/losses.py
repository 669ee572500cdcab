"""The paper's objectives, one function for each equation."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stprivacy.config import LossConfig, PrivacyLossForm


def sparsification_loss(stage_keeps: Sequence[Tensor], keep_ratio: float) -> Tensor:
    """Squared gap between the kept fraction of every temporal slot and its target keep_ratio^m (Eq 7).

    Args: stage_keeps: the running masks [b l n] in {0, 1} after stages m = 1..M. Returns: the mean over stages, slots
    and batch. Raises: ValueError: no stage.
    """
    if not stage_keeps:
        raise ValueError("stage_keeps must hold the mask of at least one stage")
    gaps = [keep.mean(-1) - keep_ratio**stage for stage, keep in enumerate(stage_keeps, start=1)]  # each b l
    return torch.stack(gaps).square().mean()


def action_loss(logits: Tensor, action: Tensor) -> Tensor:
    """Cross-entropy of logits [b c] against classes [b] int64 (L_Action).

    Where a video can show several actions, action [b c] float in {0, 1}: binary cross-entropy of each class.
    """
    if action.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits.float(), action)
    return F.cross_entropy(logits.float(), action)


def privacy_loss(logits: Tensor, privacy: Tensor, objective: PrivacyLossForm = "linear") -> Tensor:
    """Multi-label binary cross-entropy of logits against labels in {0, 1}, both [b p] or [b t p] (L_Privacy).

    The anonymizer maximises it. "linear" is the paper's and unbounded; "bounded" caps each term at log 2, the loss of
    a recognizer that knows nothing, so that there is nothing to gain from making it confidently wrong.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), privacy, reduction="none")
    return (loss.clamp_max(math.log(2)) if objective == "bounded" else loss).mean()


def labels_for(logits: Tensor, privacy: Tensor) -> Tensor:
    """Labels [b p] or [b t p] as logits [b p] or [b t p] are compared with them: a video's are those of its frames."""
    return privacy.unsqueeze(1).expand_as(logits) if privacy.ndim < logits.ndim else privacy


def uniform_loss(logits: Tensor) -> Tensor:
    """Binary cross-entropy of logits, of any shape, with the uniform prediction .5; log 2 where they are 0 (VITA)."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, 0.5, dtype=torch.float32))


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of two views [b d] of each of b videos (SimCLR's; SPAct's L_B).

    For each of the 2b projections z: -log exp(cos(z, z') / temperature) / sum over all others, z' being the other view
    of its video; the mean over the 2b. Of a single video it is 0.
    """
    z = F.normalize(torch.cat([first, second]).float(), dim=1)  # 2b d
    similarities = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partners = torch.arange(len(z), device=z.device).roll(len(first))
    return F.cross_entropy(similarities.masked_fill(itself, -math.inf), partners)


def initialization_loss(sparsification: Tensor, action: Tensor, weights: LossConfig) -> Tensor:
    """L = L_Spars + L'_Action (Eq 12)."""
    return weights.lambda_sparsification * sparsification + action


def adversarial_loss(sparsification: Tensor, action: Tensor, privacy: Tensor, weights: LossConfig) -> Tensor:
    """L = L_Spars + lambda_Action L_Action - lambda_Privacy L_Privacy (Eq 13)."""
    return (
        weights.lambda_sparsification * sparsification
        + weights.lambda_action * action
        - weights.lambda_privacy * privacy
    )


def reconstruction_loss(video: Tensor, raw: Tensor, keep: Tensor) -> Tensor:
    """Mean squared error over the kept pixels: video, raw [b c t h w], keep [b 1 t h w] in {0, 1}. Not the paper's."""
    gap = (video - raw).square().mean(1, keepdim=True) * keep
    return gap.sum() / keep.sum().clamp_min(1.0)
