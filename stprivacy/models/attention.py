"""Masked self-attention of STPrivacy (Eqs 8-10), exact, with its gradient through the mask."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from stprivacy.config import MaskGradient

# How far a score may lie from log Z or from its row's largest. Above, where only pruned keys are, its exp times
# anything of normal size is still finite in float32; below, it is nothing beside 1, and not yet denormal: that is slow.
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
        out, log_z = _empty_like(v), q.new_empty(q.shape[:-1], dtype=_wide(q))
        hidden = torch.zeros_like(keep, dtype=log_z.dtype).masked_fill_(keep == 0, -torch.inf)
        given = q, k, v, _per_head(keep, q), _per_head(hidden, q)
        for q_, k_, v_, keep_, hidden_, out_, log_z_, scores in _parts(1, given, (out, log_z)):
            _product(q_, k_.mT, out=scores, scale=_scale(q))  # Eq 8
            own = _diagonal(scores).clone()  # what a token is to itself is never hidden
            top = scores.add_(hidden_.unsqueeze(-2)).amax(-1).maximum(own)
            # A pruned key may lie far above the kept ones: it is hidden before exp could overflow, and exactly 0 after.
            weights = scores.sub_(top.unsqueeze(-1)).clamp_(min=-_LARGEST_GAP).exp_().mul_(keep_.unsqueeze(-2))
            _diagonal(weights).copy_((own - top).exp_())  # M of Eq 9
            total = weights.sum(-1, keepdim=True)
            _product(weights, v_, out=out_).div_(total)  # Eq 10
            log_z_.copy_(top + total.squeeze(-1).log())
        ctx.save_for_backward(q, k, v, keep, log_z, out)
        ctx.bounded = bounded
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, keep, log_z, out = ctx.saved_tensors
        grad_q, grad_k, grad_v, grad_mask = (_empty_like(x) for x in (q, k, v, log_z))
        given, wanted = (q, k, v, _per_head(keep, q), log_z, out, grad_out), (grad_q, grad_k, grad_v, grad_mask)
        for part in _parts(3 if ctx.bounded else 2, given, wanted):
            _write_gradients(part[:7], part[7:11], part[11:])
        grad_keep = grad_mask.sum(1)
        if ctx.bounded:
            grad_keep = grad_keep * (keep.sum(-1, keepdim=True) > 1)
        return grad_q, grad_k, grad_v, grad_keep.to(keep.dtype), None


def _write_gradients(given: tuple[Tensor, ...], wanted: tuple[Tensor, ...], buffers: tuple[Tensor, ...]) -> None:
    """Gradients of r heads.

    Args: given: q, k, v [r n d], keep, log Z [r n], O and its gradient [r n d]; wanted: where the gradients for q, k, v
    [r n d] and for the mask's columns [r n] go; buffers: two [r n n], a third for the bounded gradient of the mask.
    """
    (q, k, v, keep, log_z, out, grad), (grad_q, grad_k, grad_v, grad_mask) = given, wanted
    weight, worth, *third = buffers
    # Of every key, pruned or not: exp(S_ij) / Z_i, and what a unit of attention on j is worth to i.
    _product(q, k.mT, out=weight, scale=_scale(q)).sub_(log_z.unsqueeze(-1)).clamp_(-_LARGEST_GAP, _LARGEST_GAP).exp_()
    mean_worth = torch.mul(grad.to(grad_v.dtype), out, out=grad_v).sum(-1, keepdim=True)
    gain = _product(grad, v.mT, out=worth).sub_(mean_worth).mul_(weight)
    # dL/dM_j sums exp(S_ij) / Z_i * worth over i != j: M_jj is constant (Eq 9).
    torch.sum(gain, -2, out=grad_mask).sub_(_diagonal(gain))
    for restored in third:  # bounded
        torch.div(gain, torch.add(weight, 1.0, out=restored), out=restored)
        grad_mask.copy_(torch.where(keep == 0, restored.sum(-2) - _diagonal(restored), grad_mask))
    attention, grad_scores = (_masked(x, keep).to(q.dtype) for x in (weight, gain))
    _product(attention.mT, grad, out=grad_v)
    _product(grad_scores.mT, q, out=grad_k, scale=_scale(q))
    _product(grad_scores, k, out=grad_q, scale=_scale(q))


def _masked(x: Tensor, keep: Tensor) -> Tensor:
    """Multiply x [r n n] by M of Eq 9, in place: column j by keep [r n], the diagonal by 1."""
    own = _diagonal(x).clone()
    _diagonal(x.mul_(keep.unsqueeze(-2))).copy_(own)
    return x


def _product(a: Tensor, b: Tensor, out: Tensor, scale: float = 1.0) -> Tensor:
    """Scaled products of r matrices, [r n m], [r m d] -> [r n d]; sums are made and kept in the type of `out`."""
    if b.dtype == out.dtype:
        return torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)
    return torch.bmm(a.to(b.dtype), b, out.dtype, out=out).mul_(scale)


def _scale(q: Tensor) -> float:
    return float(q.shape[-1] ** -0.5)


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _per_head(keep: Tensor, q: Tensor) -> Tensor:
    """The mask for every head: [b n] -> [b h n]."""
    return keep.unsqueeze(1).expand(-1, q.shape[1], -1)


def _empty_like(x: Tensor) -> Tensor:
    """Contiguous, so that its heads can be written one part after another."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _wide(x: Tensor) -> torch.dtype:
    """The type of scores: float32, or float64 where x is."""
    return torch.promote_types(x.dtype, torch.float32)


def _parts(buffers: int, given: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Tensors [b h ...] as [r ...], some heads at a time, and so many buffers [r n n].

    What is written into parts of `wanted` and the buffers is of the type of scores, and is rounded to that of `wanted`
    once it is done. The buffers are the same memory for every part: fresh memory would cost a CPU as much as the
    products themselves.
    """
    q, wide = given[0], _wide(given[0])
    rows, tokens = q.shape[0] * q.shape[1], q.shape[2]
    size = math.ceil(rows / _LEAST_PARTS)
    if q.device.type == "cpu" and not torch.compiler.is_compiling():  # which would unroll the loop
        size = min(size, max(_CPU_PART_BYTES // (4 * tokens**2), 1))
    room = [q.new_empty(size, tokens, tokens, dtype=wide) for _ in range(buffers)]
    split = [torch.split(x.flatten(0, 1), size) for x in (*given, *wanted)]
    for part in zip(*split, strict=True):
        # A GPU multiplies narrow factors into wide sums; a CPU widens them first.
        read = [x if x.is_cuda else x.to(wide) for x in part[: len(given)]]
        kept = part[len(given) :]
        written = [x if x.dtype == wide else torch.empty_like(x, dtype=wide) for x in kept]
        yield (*read, *written, *(x[: len(part[0])] for x in room))
        for x, value in zip(kept, written, strict=True):
            if x is not value:
                x.copy_(value)
