"""Where persons are in a clip: boxes of a video's frames through the crop, resize and mirror of its clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stprivacy.config import ClipConfig, TestViewsConfig
from stprivacy.views import Cut, covering_size, crop_offsets


@dataclass(frozen=True)
class Window:
    """The part of a frame that a clip shows, as fractions of the frame's width and height, and whether mirrored."""

    left: float
    top: float
    right: float
    bottom: float
    mirrored: bool = False


def cut_window(cut: Cut, height: int, width: int) -> Window:
    """What a training clip shows of frames of height x width pixels."""
    right, bottom = cut.left + cut.width, cut.top + cut.height
    return Window(cut.left / width, cut.top / height, right / width, bottom / height, cut.mirrored)


def view_windows(height: int, width: int, clip: ClipConfig, views: TestViewsConfig) -> list[Window]:
    """What each test view shows of a video of height x width pixels, in the order of `views.evaluation_views`."""
    whole_height, whole_width = covering_size(height, width, clip)
    tops = crop_offsets(whole_height, clip.height_px, views.crops)
    lefts = crop_offsets(whole_width, clip.width_px, views.crops)
    crops = [
        Window(
            left / whole_width,
            top / whole_height,
            (left + clip.width_px) / whole_width,
            (top + clip.height_px) / whole_height,
        )
        for top, left in zip(tops, lefts, strict=True)
    ]
    return crops * views.clips


def person_mask(boxes: Tensor, window: Window, clip: ClipConfig) -> Tensor:
    """1 for every pixel of a clip whose centre lies in a box of its frame: [1 t h w] float32 in {0, 1}.

    Args: boxes [t k 4]: corners x0, y0, x1, y1 as fractions of the frame; those without extent are none.
    """
    inside_x, inside_y = _inside(boxes, window, clip)
    mask = torch.einsum("tkh,tkw->thw", inside_y.float(), inside_x.float()).clamp_(max=1.0).unsqueeze(0)
    return mask.flip(-1) if window.mirrored else mask


def shows_person(boxes: Tensor, windows: Sequence[Window], clip: ClipConfig) -> bool:
    """Whether the mask of any view is not empty. Args: boxes [v t k 4] of the frames that each view shows."""
    for frames, window in zip(boxes, windows, strict=True):
        inside_x, inside_y = _inside(frames, window, clip)
        if (inside_x.any(-1) & inside_y.any(-1)).any():
            return True
    return False


def _inside(boxes: Tensor, window: Window, clip: ClipConfig) -> tuple[Tensor, Tensor]:
    """Whether each column [t k w] and each row [t k h] of the clip has its centre in each box, not yet mirrored."""
    x0, y0, x1, y1 = boxes.double().unsqueeze(-1).unbind(-2)  # t k 1
    x, y = _centres(window.left, window.right, clip.width_px), _centres(window.top, window.bottom, clip.height_px)
    return (x0 <= x) & (x < x1), (y0 <= y) & (y < y1)


def _centres(first: float, last: float, pixels: int) -> Tensor:
    """Where the centres of a clip's pixels lie in its frame, as fractions."""
    return first + (torch.arange(pixels, dtype=torch.float64) + 0.5) * ((last - first) / pixels)
