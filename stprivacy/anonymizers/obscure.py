"""The rows "blackening", "strong-blur" and "weak-blur": persons, or whole frames, painted over."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers.identity import whole
from stprivacy.anonymizers.options import Region
from stprivacy.config import ClipConfig
from stprivacy.noise import Noise

Paint = Callable[[Tensor], Tensor]  # of a whole video [b c t h w]


class Obscure(nn.Module):
    """Shows `paint` of the video inside of person boxes, or, with region "frame", everywhere."""

    def __init__(self, clip: ClipConfig, paint: Paint, region: Region = "boxes") -> None:
        super().__init__()
        self.clip, self.paint, self.region = clip, paint, region

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Video [b c t h w] and person [b 1 t h w] in {0, 1} -> the same size, every tubelet kept.

        Raises: ValueError: region "boxes" and no person masks.
        """
        painted = self.paint(video)
        if self.region == "boxes":
            painted = torch.where(_checked(person, video) > 0.5, painted, video)
        return whole(painted, self.clip)


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
