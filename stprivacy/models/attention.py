"""Masked self-attention of STPrivacy (Eqs 8-10), exact, with its gradient through the mask."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from stprivacy.config import MaskGradient

# What a score of a pruned key may exceed log Z by: its exp, times anything of normal size, is finite in float32.
_LARGEST_GAP = 60.0
# On a CPU, [n n] tensors of so many bytes stay in its cache; on a GPU, few large kernels are faster.
_CPU_PART_BYTES = 5 * 2**18
_LEAST_PARTS = 4


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
    mask: Tensor = keep.bool().unsqueeze(-2).repeat(1, keep.shape[-1], 1)  # M of Eq 9: b n n
    mask.diagonal(dim1=-2, dim2=-1).fill_(True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1))


class _MaskedAttention(torch.autograd.Function):
    """Saves q, k, v, keep, log Z and O, and recomputes the scores for some heads at a time.

    Up to four [n n] tensors a head are alive then: over all those heads together no more than one [b h n n].
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, keep: Tensor, bounded: bool) -> Tensor:
        outs, log_zs = [], []
        for q_, k_, v_, keep_ in _parts(q * q.shape[-1] ** -0.5, k, v, _per_head(keep, q)):
            scores = _product(q_, k_)  # Eq 8
            own = _diagonal(scores)  # what a token is to itself is never hidden
            hidden = torch.zeros_like(own).masked_fill_(keep_ == 0, -torch.inf).unsqueeze(-2)
            top = (scores + hidden).amax(-1).maximum(own).unsqueeze(-1)
            # A pruned key may lie far above the kept ones; its exp must stay finite to vanish when multiplied by 0.
            weights = _masked(scores.sub_(top).clamp_(max=_LARGEST_GAP).exp_(), keep_)  # M of Eq 9
            total = weights.sum(-1, keepdim=True)
            outs.append((weights.to(v.dtype) @ v_).div_(total))  # Eq 10
            log_zs.append((top + total.log()).squeeze(-1))
        out = rearrange(torch.cat(outs), "(b h) n d -> b h n d", h=q.shape[1])
        ctx.save_for_backward(q, k, v, keep, rearrange(torch.cat(log_zs), "(b h) n -> b h n", h=q.shape[1]), out)
        ctx.bounded = bounded
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, keep, log_z, out = ctx.saved_tensors
        grads = [
            _gradients(*part, bounded=ctx.bounded)
            for part in _parts(q * q.shape[-1] ** -0.5, k, v, _per_head(keep, q), log_z, out, grad_out)
        ]
        grad_q, grad_k, grad_v, grad_mask = (
            rearrange(torch.cat(parts), "(b h) ... -> b h ...", h=q.shape[1]) for parts in zip(*grads, strict=True)
        )
        grad_keep = grad_mask.sum(1)
        if ctx.bounded:
            grad_keep = grad_keep * (keep.sum(-1, keepdim=True) > 1)
        return grad_q * q.shape[-1] ** -0.5, grad_k, grad_v, grad_keep.to(keep.dtype), None


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, keep: Tensor, log_z: Tensor, out: Tensor, grad: Tensor, *, bounded: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients for q (already scaled), k and v [r n d] and for the mask's columns [r n], of r heads."""
    # Of every key, pruned or not: exp(S_ij) / Z_i, and what a unit of attention on j is worth to i.
    weight = _product(q, k).sub_(log_z.unsqueeze(-1)).clamp_(max=_LARGEST_GAP).exp_()
    worth = _product(grad, v).sub_((grad * out).sum(-1, keepdim=True))
    gain = worth.mul_(weight)
    # dL/dM_j sums exp(S_ij) / Z_i * worth over i != j: M_jj is constant (Eq 9).
    grad_mask = gain.sum(-2) - _diagonal(gain)
    if bounded:
        restored = gain / (weight + 1.0)
        grad_mask = torch.where(keep == 0, restored.sum(-2) - _diagonal(restored), grad_mask)
    attention, grad_scores = (_masked(x, keep).to(q.dtype) for x in (weight, gain))
    return grad_scores @ k, grad_scores.transpose(-2, -1) @ q, attention.transpose(-2, -1) @ grad, grad_mask


def _masked(x: Tensor, keep: Tensor) -> Tensor:
    """Multiply x [r n n] by M of Eq 9, in place: column j by keep [r n], the diagonal by 1."""
    own = _diagonal(x).clone()
    _diagonal(x.mul_(keep.unsqueeze(-2))).copy_(own)
    return x


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products of all rows of a with all rows of b, in float32 (float64 stays): [r n d], [r n d] -> [r n n]."""
    product = a @ b.transpose(-2, -1)
    return product if product.dtype == torch.float64 else product.float()


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _per_head(keep: Tensor, q: Tensor) -> Tensor:
    """The mask for every head: [b n] -> [b h n]."""
    return keep.unsqueeze(1).expand(-1, q.shape[1], -1)


def _parts(q: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors [b h ...] as [r ...], some heads at a time."""
    rows, tokens = q.shape[0] * q.shape[1], q.shape[2]
    size = math.ceil(rows / _LEAST_PARTS)
    if q.device.type == "cpu" and not torch.compiler.is_compiling():  # which would unroll the loop
        size = min(size, max(_CPU_PART_BYTES // (4 * tokens**2), 1))
    flat = [x.flatten(0, 1) for x in (q, *others)]
    for first in range(0, rows, size):
        yield tuple(x[first : first + size] for x in flat)
