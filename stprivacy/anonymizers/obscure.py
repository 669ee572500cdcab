"""The rows that obscure a video by a fixed rule, which learns nothing, and what they leave open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from stprivacy.anonymizers.identity import Identity
from stprivacy.config import ClipConfig, check_one_of

Region = Literal["boxes", "frame"]
ResizeMode = Literal["bilinear", "bicubic", "nearest", "area"]
Paint = Callable[[Tensor], Tensor]  # of a whole video [b c t h w]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_WINDOWS_PER_SIDE = 16
_WINDOW_FRAMES = 3


@dataclass(frozen=True)
class RivalOptions:
    """Settings of the anonymizers that are not trained.

    region: what is obscured, person boxes or the whole frame; resize_mode: of the downsampling rows, down and up;
    seed: of the weights of the untrained network.
    """

    region: Region = "boxes"
    resize_mode: ResizeMode = "bilinear"
    seed: int = 0

    def __post_init__(self) -> None:
        check_one_of(self, region=Region, resize_mode=ResizeMode)


class Downsample(Identity):
    """Every frame at 1 / `factor` of its height and width, rounded down, and back up to the input size.

    By default both ways bilinear, as `torch.nn.functional.interpolate` has it: without antialiasing.
    """

    def __init__(self, clip: ClipConfig, factor: int, mode: ResizeMode = "bilinear") -> None:
        super().__init__(clip)
        self.factor, self.mode = factor, mode

    def shown(self, video: Tensor, person: Tensor | None) -> Tensor:
        """Video [b c t h w] -> the same size."""
        height, width = video.shape[-2:]
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        small = F.interpolate(frames, (max(height // self.factor, 1), max(width // self.factor, 1)), mode=self.mode)
        frames = F.interpolate(small, (height, width), mode=self.mode)
        return rearrange(frames, "(b t) c h w -> b c t h w", b=len(video))


class CollectiveStyle(Identity):
    """In the style of "Collective Protection" (ICDM 2019), which has no public code or full definition.

    Assumed, none of it taken from its authors: the transformation is fixed and learns nothing, neither from the data
    nor against an adversary; "integrative" means that what several measurements say together stays while none of them
    stays by itself. So the three colour channels become their luma, and every pixel becomes the mean over a box of 3
    frames and of a sixteenth of the frame's shorter side, rounded up to an odd number of at least 3 pixels (7 at
    112 x 112, 5 at 64 x 64); at the borders the outermost pixels and frames are repeated. All persons and backgrounds
    are treated alike: no boxes are needed.
    """

    def shown(self, video: Tensor, person: Tensor | None) -> Tensor:
        """Video [b 3 t h w] -> the same size."""
        luma = (video * video.new_tensor(_LUMA).reshape(1, 3, 1, 1, 1)).sum(1, keepdim=True)
        side = max(min(video.shape[-2:]) // _WINDOWS_PER_SIDE, 2) // 2 * 2 + 1
        around, frames = side // 2, _WINDOW_FRAMES // 2
        padded = F.pad(luma, [around] * 4 + [frames] * 2, mode="replicate")
        mean = F.avg_pool3d(padded, (_WINDOW_FRAMES, side, side), stride=1)
        return mean.expand_as(video).contiguous()


class Obscure(Identity):
    """Shows `paint` of the video inside of person boxes, or, with region "frame", everywhere."""

    def __init__(self, clip: ClipConfig, paint: Paint, region: Region = "boxes") -> None:
        super().__init__(clip)
        self.paint, self.region = paint, region

    def shown(self, video: Tensor, person: Tensor | None) -> Tensor:
        """Video [b c t h w] and person [b 1 t h w] in {0, 1} -> the same size.

        Raises: ValueError: region "boxes" and no person masks.
        """
        painted = self.paint(video)
        if self.region == "boxes":
            painted = torch.where(_checked(person, video) > 0.5, painted, video)
        return painted


def black(video: Tensor) -> Tensor:
    """A black video: -1 in normalised pixels."""
    return torch.full_like(video, -1.0)


def blur(size: int, sigma: float) -> Paint:
    """A Gaussian blur of every frame with a kernel of size x size pixels, mirrored at the border (reflect)."""

    def paint(video: Tensor) -> Tensor:
        height, width = video.shape[-2:]
        if min(height, width) <= size // 2:
            raise ValueError(
                f"a blur of {size} x {size} pixels needs frames larger than {size // 2} pixels, got {height} x {width}"
            )
        kernel = gaussian_kernel(size, sigma)
        down, across = (_along(length, kernel).to(video) for length in (height, width))
        return down.T @ (video @ across)

    return paint


def gaussian_kernel(size: int, sigma: float) -> Tensor:
    """One side of a separable Gaussian kernel, `size` (odd) weights that add up to 1."""
    distance = torch.arange(size) - size // 2
    weights = torch.exp(-distance.square() / (2 * sigma**2))
    return weights / weights.sum()


def _along(length: int, kernel: Tensor) -> Tensor:
    """The blur along one side as a matrix [from to]: a convolution of single planes is many times slower on CPUs."""
    lines = F.pad(torch.eye(length).unsqueeze(1), [len(kernel) // 2] * 2, mode="reflect")
    return F.conv1d(lines, kernel.reshape(1, 1, -1)).squeeze(1)


def _checked(person: Tensor | None, video: Tensor) -> Tensor:
    if person is None:
        raise ValueError(
            'region "boxes" needs masks of the persons: read the data with person_regions=True, after ingest with '
            '--detector hog or --boxes FILE; region "frame" obscures everything and needs none'
        )
    expected = (video.shape[0], 1, *video.shape[2:])
    if tuple(person.shape) != expected:
        raise ValueError(f"person must be [b 1 t h w] = {list(expected)}, got {list(person.shape)}")
    return person
