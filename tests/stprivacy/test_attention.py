"""Eqs 8-10: values against a direct transcription, and every gradient, the mask's included."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stprivacy.config import MaskGradient
from stprivacy.models.attention import masked_attention


def transcribed(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Eqs 8-10, letter by letter, for autograd."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    eye = torch.eye(keep.shape[-1], dtype=keep.dtype)
    mask = (eye + (1 - eye) * keep.unsqueeze(-2)).unsqueeze(1)
    weight = scores.exp() * mask
    return weight / weight.sum(-1, keepdim=True) @ v


def inputs(dtype: torch.dtype = torch.double) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v = (torch.randn(2, 3, 6, 4, dtype=dtype, requires_grad=True) for _ in range(3))
    keep = torch.tensor([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0]], dtype=dtype, requires_grad=True)
    return q, k, v, keep


def test_gradcheck_includes_the_mask() -> None:
    assert torch.autograd.gradcheck(masked_attention, inputs())


def test_equals_the_transcription_forward_and_backward() -> None:
    q, k, v, keep = inputs()
    upstream = torch.randn(2, 3, 6, 4, dtype=torch.double)
    out, expected = masked_attention(q, k, v, keep), transcribed(q, k, v, keep)
    torch.testing.assert_close(out, expected)
    gradients = torch.autograd.grad(out, (q, k, v, keep), upstream)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (q, k, v, keep), upstream))


def test_the_path_without_mask_gradient_gives_the_same_values_and_gradients() -> None:
    q, k, v, keep = inputs()
    upstream = torch.randn(2, 3, 6, 4, dtype=torch.double)
    fast, exact = masked_attention(q, k, v, keep.detach()), masked_attention(q, k, v, keep)
    torch.testing.assert_close(fast, exact)
    torch.testing.assert_close(
        torch.autograd.grad(fast, (q, k, v), upstream), torch.autograd.grad(exact, (q, k, v), upstream)
    )


def test_a_pruned_token_reaches_nobody_but_itself() -> None:
    q, k, v, keep = inputs()
    before = masked_attention(q, k, v, keep)
    changed = v.detach().clone()
    changed[:, :, 1] += 100.0  # pruned in both samples
    after = masked_attention(q, k, changed, keep)
    others = [0, 2, 3, 4, 5]
    torch.testing.assert_close(after[:, :, others], before[:, :, others])
    assert (after[:, :, 1] - before[:, :, 1]).abs().min() > 1.0


def test_all_kept_is_plain_attention() -> None:
    q, k, v, keep = inputs()
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(masked_attention(q, k, v, torch.ones_like(keep).requires_grad_()), plain)


def test_kept_tokens_are_hidden_exactly_when_a_pruned_key_would_dominate() -> None:
    q, k, v, keep = inputs(torch.float32)
    with torch.no_grad():
        k[:, :, 1] *= 500.0  # a pruned key whose exp would overflow next to the others
    out = masked_attention(q, k, v, keep)
    others = [0, 2, 3, 4, 5]
    expected = masked_attention(q.double(), k.double(), v.double(), keep.detach().double())
    torch.testing.assert_close(out[:, :, others], expected[:, :, others].float(), rtol=1e-4, atol=1e-5)


def test_bounded_mask_gradient_is_the_exact_one_for_kept_tokens_and_bounded_for_pruned_ones() -> None:
    q, k, v, keep = inputs()
    with torch.no_grad():
        q *= 6.0
    upstream = torch.randn(2, 3, 6, 4, dtype=torch.double)
    exact, bounded = (
        torch.autograd.grad(masked_attention(q, k, v, keep, mode), (q, k, v, keep), upstream)
        for mode in ("exact", "bounded")
    )
    torch.testing.assert_close(bounded[:3], exact[:3])  # the forward pass and the other gradients are as they were
    kept = keep.detach() == 1
    torch.testing.assert_close(bounded[3][kept], exact[3][kept])
    # Weight at most 1 for each of h heads and n - 1 rows: no more than the sum of |dO.V_j - dO.O|.
    out = masked_attention(q, k, v, keep).detach()
    worth = (upstream @ v.detach().transpose(-2, -1) - (upstream * out).sum(-1, keepdim=True)).abs()
    assert (bounded[3].abs() <= worth.sum((1, 2)) + 1e-9).all()
    assert exact[3][~kept].abs().max() > 10 * bounded[3][~kept].abs().max()


def test_bounded_drops_the_mask_gradient_of_samples_with_fewer_than_two_tokens() -> None:
    q, k, v, _ = inputs()
    keep = torch.tensor([[0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]], dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(masked_attention(q, k, v, keep, "bounded").square().sum(), keep)
    assert (gradient[0] == 0).all()
    assert gradient[1].abs().max() > 0


def relative_errors(
    attention: Callable[..., Tensor], inputs: Sequence[Tensor], upstream: Tensor, dtype: torch.dtype
) -> list[float]:
    """Of the output and of every input's gradient: what it loses in `dtype`, as part of its norm in float64."""

    def passes(kind: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).to(kind).requires_grad_() for x in inputs]  # the same rounded numbers
        out = attention(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, upstream.to(dtype).to(kind))]

    pairs = zip(passes(dtype), passes(torch.double), strict=True)
    return [((ours.double() - exact).norm() / exact.norm()).item() for ours, exact in pairs]


@pytest.mark.parametrize("mask_gradient", ["exact", "bounded"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(2, 3, 64, 16), (1, 2, 196, 64), (2, 2, 33, 8)])
def test_narrow_types_cost_masked_attention_no_more_accuracy_than_plain_attention(
    shape: tuple[int, ...], dtype: torch.dtype, mask_gradient: MaskGradient
) -> None:
    for sharpness in (1.0, 3.0):
        q, k, v, upstream = torch.randn(4, *shape).unbind(0)
        keep = (torch.rand(shape[0], shape[2]) < 0.5).float()
        plain = relative_errors(F.scaled_dot_product_attention, (sharpness * q, k, v), upstream, dtype)
        masked = relative_errors(
            lambda q, k, v, keep: masked_attention(q, k, v, keep, mask_gradient),
            (sharpness * q, k, v, keep),
            upstream,
            dtype,
        )
        for ours, theirs in zip(masked, [*plain, max(plain)], strict=True):  # plain attention has no mask
            assert ours <= 1.25 * theirs
