"""Masked self-attention of STPrivacy (Eqs 8-10), exact, with its gradient through the mask."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from stprivacy.config import MaskGradient


def masked_attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, mask_gradient: MaskGradient = "exact") -> Tensor:
    """Attention among the kept tokens; every token also attends to itself (Eqs 8-10).

    The scale is 1/sqrt(d) of one head, as in the released code (the paper writes 1/sqrt(D)).

    Args: q, k, v: [b h n d]; keep: [b n] in {0, 1}; mask_gradient: "exact" is the derivative of Eq 10, whose weight
    exp(S_ij)/Z_i for a pruned j is unbounded; "bounded" replaces it by exp(S_ij)/(Z_i + exp(S_ij)), the weight that
    j would get if it were restored, and drops the mask gradient of samples with fewer than two tokens left.
    Returns: [b h n d].
    """
    if keep.requires_grad and torch.is_grad_enabled():
        return cast(Tensor, _MaskedAttention.apply(q, k, v, keep, mask_gradient == "bounded"))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_mask(keep).bool().unsqueeze(1))


def _mask(keep: Tensor) -> Tensor:
    """M of Eq 9: [b n] -> [b n n]."""
    mask: Tensor = keep.unsqueeze(-2).repeat(1, keep.shape[-1], 1)
    mask.diagonal(dim1=-2, dim2=-1).fill_(1)
    return mask


def _scores(q: Tensor, k: Tensor) -> Tensor:
    """S of Eq 8 in float32 (float64 stays): [b h n n]."""
    scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores if scores.dtype == torch.float64 else scores.float()


class _MaskedAttention(torch.autograd.Function):
    """Saves q, k, v, keep, log Z and O and recomputes the scores, so that no [b h n n] tensor is kept."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, keep: Tensor, bounded: bool) -> Tensor:
        mask = _mask(keep).unsqueeze(1)
        scores = _scores(q, k)
        row_max = scores.masked_fill(mask == 0, -torch.inf).amax(-1, keepdim=True)  # i = j is never masked
        # A pruned key may lie far above the kept ones; its exp must stay finite to vanish when multiplied by 0.
        weights = scores.sub_(row_max).clamp_(max=80).exp_().mul_(mask)
        total = weights.sum(-1, keepdim=True)
        out = weights.div_(total).to(v.dtype) @ v  # b h n d
        ctx.save_for_backward(q, k, v, keep, row_max + total.log(), out)
        ctx.bounded = bounded
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, keep, log_z, out = ctx.saved_tensors
        mask = _mask(keep).unsqueeze(1)
        gap = _scores(q, k).sub_(log_z)  # log(exp(S_ij) / Z_i): b h n n
        attention = (gap.exp() * mask).masked_fill_(mask == 0, 0.0)
        grad_v = attention.to(v.dtype).transpose(-2, -1) @ grad_out
        # dO_i . V_j - dO_i . O_i: what a unit of attention on j is worth to i.
        worth = (grad_out @ v.transpose(-2, -1) - (grad_out * out).sum(-1, keepdim=True)).to(gap.dtype)
        grad_scores = (attention * worth).to(q.dtype) * q.shape[-1] ** -0.5
        # Of dL/dM_j the kept j has exp(S_ij)/Z_i, which is its attention; a pruned j has that or its bounded form.
        weight = torch.where(mask == 0, gap.sigmoid(), attention) if ctx.bounded else gap.exp_()
        grad_mask = weight.mul_(worth)
        grad_mask.diagonal(dim1=-2, dim2=-1).zero_()  # M_ii is constant (Eq 9)
        grad_keep = grad_mask.sum((1, 2))
        if ctx.bounded:
            grad_keep = grad_keep * (keep.sum(-1, keepdim=True) > 1)
        return grad_scores @ k, grad_scores.transpose(-2, -1) @ q, grad_v, grad_keep.to(keep.dtype), None
