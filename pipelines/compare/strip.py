"""The strip of raw, sparsified and anonymized frames (Figure 3)."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange, repeat
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

STRIP_ROWS = ("raw", "sparsified", "anonymized")
_BLACK_CAPTION = "Black: abandoned tubelets."
_STRETCHED_CAPTION = (
    "Each anonymized clip is stretched to the full brightness range for display: its brightness and contrast are not "
    "the real ones."
)
_REAL_CAPTION = "Brightness and contrast of the anonymized clips are the real ones."
_FRAME_INCHES = 1.0
_CAPTION_CHARACTERS_PER_INCH = 14

_Image = NDArray[np.float32]


def strip_figure(
    raw: Tensor,
    sparsified: Tensor,
    anonymized: Tensor,
    keep: Tensor,
    *,
    titles: Sequence[str] = (),
    frames: int = 4,
    columns: int = 2,
    stretch: bool = True,
) -> Figure:
    """Raw, sparsified and anonymized frames of several clips, abandoned tubelets black.

    Args:
        raw, sparsified, anonymized: [b 3 t h w], normalised: [-1, 1] is black to white.
        keep: [b l n], 1 where a tubelet was kept, in the order of the tokens. If all are, nothing is sparsified.
        titles: one a clip, such as its action.
        frames: how many of the t frames are shown, evenly spread.
        columns: how many clips stand beside each other.
        stretch: show each anonymized clip from its kept pixels' 1st to 99th percentile; without, as an image like raw.
    Raises: ValueError: shapes that do not fit together.
    """
    _check_strip(raw, sparsified, anonymized, keep, titles)
    shown = torch.linspace(0, raw.shape[2] - 1, min(frames, raw.shape[2])).round().long()
    names = [name for name in STRIP_ROWS if name != "sparsified" or not (keep > 0).all()]
    columns = min(columns, len(raw))
    rows = math.ceil(len(raw) / columns)
    shape = (rows * (len(names) * _FRAME_INCHES * 1.02 + 0.55) + 0.4, columns * len(shown) * _FRAME_INCHES + 1.0)
    figure = Figure(figsize=shape[::-1], layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[len(raw) :]:
        axis.remove()
    for clip, axis in enumerate(axes[: len(raw)]):
        videos = _strip_videos(raw[clip], sparsified[clip], anonymized[clip], keep[clip], stretch)
        chosen = [videos[name][:, shown] for name in names]
        _draw_clip(axis, chosen, shown.tolist(), names if clip % columns == 0 else [""] * len(names))
        share = f"{100 * keep[clip].float().mean():.0f} % of tubelets kept"
        axis.set_title(f"{titles[clip]}, {share}" if titles else share, fontsize=9)
    figure.supxlabel(_caption("sparsified" in names, stretch, width_inches=shape[1]), fontsize=8)
    return figure


def _caption(sparsified: bool, stretch: bool, width_inches: float) -> str:
    """What black and grey mean in the figure, in lines that fit its width."""
    caption = _STRETCHED_CAPTION if stretch else _REAL_CAPTION
    if sparsified:
        caption = f"{_BLACK_CAPTION} {caption}"
    return textwrap.fill(caption, round(width_inches * _CAPTION_CHARACTERS_PER_INCH))


def _strip_videos(
    raw: Tensor, sparsified: Tensor, anonymized: Tensor, keep: Tensor, stretch: bool
) -> dict[str, Tensor]:
    """One clip's three videos [3 t h w] in [0, 1] by the names of STRIP_ROWS, abandoned tubelets black."""
    kept = _kept_pixels(keep, raw.shape[1:])
    output = _stretched(anonymized, kept) if stretch else _grey_levels(anonymized)
    return {"raw": _grey_levels(raw), "sparsified": _grey_levels(sparsified) * kept, "anonymized": output * kept}


def _check_strip(raw: Tensor, sparsified: Tensor, anonymized: Tensor, keep: Tensor, titles: Sequence[str]) -> None:
    shapes = {tuple(video.shape) for video in (raw, sparsified, anonymized)}
    if len(shapes) > 1 or raw.ndim != 5 or raw.shape[1] != 3:
        raise ValueError(f"a strip needs three videos of one shape [b 3 t h w], got {sorted(shapes)}")
    if keep.ndim != 3 or len(keep) != len(raw) or (titles and len(titles) != len(raw)):
        raise ValueError(
            f"{len(raw)} clips need keep [b l n] and as many titles, got {list(keep.shape)}, {len(titles)}"
        )


def _kept_pixels(keep: Tensor, size: Sequence[int]) -> Tensor:
    """[l n] -> [t h w] in {0, 1}: every tubelet's mark on all its pixels; patches are square."""
    frames, height, width = size
    patch = math.isqrt(height * width // keep.shape[1])
    rows, columns = height // patch, width // patch
    if frames % len(keep) or rows * columns != keep.shape[1] or (rows * patch, columns * patch) != (height, width):
        raise ValueError(f"keep {list(keep.shape)} does not cut {frames} x {height} x {width} into square tubelets")
    marks = rearrange((keep > 0).float().cpu(), "l (r c) -> l r c", r=rows)
    return repeat(marks, "l r c -> (l f) (r p) (c q)", f=frames // len(keep), p=patch, q=patch)


def _grey_levels(video: Tensor) -> Tensor:
    return ((video.detach().float().cpu() + 1) / 2).clamp(0, 1)


def _stretched(video: Tensor, kept: Tensor) -> Tensor:
    """One clip [3 t h w] scaled so that its kept pixels fill [0, 1], but for the outer percentiles."""
    video = video.detach().float().cpu()
    values = video[:, kept > 0].numpy()
    if not values.size:
        return torch.zeros_like(video)
    low, high = np.percentile(values, (1, 99)).tolist()
    # A clip of one colour has no range to stretch: it shows as middle grey.
    return ((video - low) / (high - low)).clamp(0, 1) if high > low else torch.full_like(video, 0.5)


def _draw_clip(axis: Axes, videos: Sequence[Tensor], shown: Sequence[int], names: Sequence[str]) -> None:
    """Rows of frames, one for each video [3 frames h w] and its name, as one image with white gaps."""
    height, width = videos[0].shape[-2:]
    gap = max(1, height // 32)
    padded = torch.nn.functional.pad(torch.stack(list(videos)), (0, gap, 0, gap), value=1.0)
    image: _Image = rearrange(padded, "row c f h w -> (row h) (f w) c")[:-gap, :-gap].numpy()
    axis.imshow(image, interpolation="nearest", vmin=0, vmax=1)
    axis.set_xticks([width / 2 + i * (width + gap) for i in range(len(shown))], [f"frame {i + 1}" for i in shown])
    row_centres = [height / 2 + i * (height + gap) for i in range(len(videos))]
    axis.set_yticks(row_centres, list(names))
    axis.tick_params(length=0, labelsize=8)
    axis.spines[:].set_visible(False)
