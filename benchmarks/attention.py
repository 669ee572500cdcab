"""What exact masked attention costs beside plain attention and beside Eqs 8-10 written down letter by letter.

python -m benchmarks.attention: 8 clips, 6 heads, 392 tokens of 64 values, forward and forward + backward, one thread.
Peak memory is what the process grows by, each way in a process of its own.
"""

from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.machine import forget_peak, machine_line, resident_kib
from benchmarks.timing import median_seconds
from stprivacy.models.attention import masked_attention

CLIPS, HEADS, TOKENS, WIDTH = 8, 6, 392, 64
REPEATS = 15
KEPT = 0.5
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def transcription(q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Eqs 8-10 as they stand, for autograd."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # Eq 8
    eye = torch.eye(keep.shape[-1], dtype=keep.dtype, device=keep.device)
    mask = (eye + (1 - eye) * keep.unsqueeze(-2)).unsqueeze(1)  # Eq 9
    weights = (scores - scores.amax(-1, keepdim=True)).exp() * mask
    out: Tensor = weights / weights.sum(-1, keepdim=True) @ v  # Eq 10
    return out


WAYS: dict[str, Attention] = {
    "plain attention, no mask": lambda q, k, v, keep: F.scaled_dot_product_attention(q, k, v),
    "transcription of Eqs 8-10": transcription,
    "masked, exact gradient of the mask": lambda q, k, v, keep: masked_attention(q, k, v, keep, "exact"),
    "masked, bounded gradient of the mask": lambda q, k, v, keep: masked_attention(q, k, v, keep, "bounded"),
    "masked, no gradient of the mask": lambda q, k, v, keep: masked_attention(q, k, v, keep.detach()),
}


def make_inputs(device: torch.device, dtype: torch.dtype, clips: int = CLIPS) -> list[Tensor]:
    """Random q, k, v [b h n d] and keep [b n] that want gradients."""
    shape = (clips, HEADS, TOKENS, WIDTH)
    keep = (torch.rand(clips, TOKENS, device=device) < KEPT).to(dtype)
    return [*(torch.randn(shape, device=device, dtype=dtype).requires_grad_() for _ in range(3)), keep.requires_grad_()]


def forward_and_backward(attention: Attention, inputs: list[Tensor]) -> None:
    """One pass each way."""
    out = attention(*inputs)
    torch.autograd.grad(out, inputs, torch.ones_like(out), allow_unused=True)


def peak_mib(name: str) -> float:
    """Memory that one forward and backward pass needs at its peak, in MiB. For a fresh process, on Linux."""
    torch.set_num_threads(1)
    inputs = make_inputs(torch.device("cpu"), torch.float32)
    forward_and_backward(WAYS[name], [x[:1].detach().requires_grad_() for x in inputs])  # load the kernels
    forget_peak()
    before = resident_kib("VmRSS")
    forward_and_backward(WAYS[name], inputs)
    return (resident_kib("VmHWM") - before) / 1024


def main() -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    inputs = make_inputs(cpu, torch.float32)
    print(f"{machine_line('torch')}; one thread, float32, median of {REPEATS}, in turns")
    print(f"{CLIPS} clips, {HEADS} heads, {TOKENS} tokens of {WIDTH}, {KEPT:.0%} kept\n")
    print(
        "| | forward, ms | forward + backward, ms | of plain | of the transcription | peak MiB | of the transcription |"
    )
    print("|---|---|---|---|---|---|---|")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(REPEATS):  # in turns: what else the machine does falls on all of them
        for name, attention in WAYS.items():
            passes = partial(attention, *inputs), partial(forward_and_backward, attention, inputs)
            forward, both = (median_seconds(run, 1, cpu) for run in passes)
            times[name].append((forward, both))
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = {
            name: (*map(median, zip(*seconds, strict=True)), pool.apply(peak_mib, (name,)))
            for name, seconds in times.items()
        }
    plain, direct = (rows[name] for name in list(WAYS)[:2])
    for name, (forward, both, peak) in rows.items():
        print(
            f"| {name} | {forward * 1e3:.1f} | {both * 1e3:.1f} | {both / plain[1]:.2f} | {both / direct[1]:.2f} "
            f"| {peak:.0f} | {peak / direct[2]:.2f} |"
        )


if __name__ == "__main__":
    main()
