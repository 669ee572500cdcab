"""The row "spact": the UNet of Dave et al., SPAct (CVPR 2022), frame by frame."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stprivacy.anonymizers.frames import FrameAnonymizer, scaled
from stprivacy.config import ModelConfig

DOWN_WIDTHS = (64, 128, 256, 512, 512)
UP_WIDTHS = (256, 128, 64, 64)


class UNet(FrameAnonymizer):
    """Two convolutions at each of five scales, 64-128-256-512-512, and back by bilinear upsampling; sigmoid.

    Frames of any size that 16 divides. `spact_width` scales all widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        down = [scaled(width, config.spact_width) for width in DOWN_WIDTHS]
        super().__init__(config, _UNet(down, [scaled(width, config.spact_width) for width in UP_WIDTHS]), multiple=16)


class _UNet(nn.Module):
    def __init__(self, down: list[int], up: list[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(_two(a, b, b) for a, b in zip([3, *down], down, strict=False))
        # Half as wide between the two convolutions as what comes together before them.
        below = [down[-1], *up[:-1]]
        joined = [a + b for a, b in zip(reversed(down[:-1]), below, strict=True)]
        self.up = nn.ModuleList(_two(width, width // 2, out) for width, out in zip(joined, up, strict=True))
        self.out = nn.Conv2d(up[-1], 3, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [b 3 h w] -> frames in [-1, 1]: the sigmoid's [0, 1] in our normalisation."""
        scales = [self.down[0](frames)]
        for level in list(self.down)[1:]:
            scales.append(level(F.max_pool2d(scales[-1], 2)))
        x = scales.pop()
        for level in self.up:
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = level(torch.cat([scales.pop(), larger], dim=1))
        return 2 * torch.sigmoid(self.out(x)) - 1


def _two(inputs: int, between: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each with batch norm and ReLU."""
    return nn.Sequential(*_one(inputs, between), *_one(between, outputs))


def _one(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
