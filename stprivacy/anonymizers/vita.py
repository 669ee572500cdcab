"""The row "vita": ITNet of Wu et al., Privacy-Preserving Deep Action Recognition (TPAMI 2020), frame by frame.

It is the image transformation network of Johnson et al. (ECCV 2016), with instance norm. Where its publications leave
it open: convolutions pad with zeros, and tanh ends in the range of our pixels.
"""

from itertools import pairwise

from torch import Tensor, nn

from stprivacy.anonymizers.frames import FrameAnonymizer, scaled
from stprivacy.config import ModelConfig

WIDTHS = (32, 64, 128)
RESIDUAL_BLOCKS = 5


class ITNet(FrameAnonymizer):
    """conv9-32, conv3-64 /2, conv3-128 /2, five residual blocks of 128, transposed convs to 64 and 32, conv9-3, tanh.

    Frames of any size that 4 divides. `vita_width` scales 32, 64 and 128.
    """

    def __init__(self, config: ModelConfig) -> None:
        widths = [scaled(width, config.vita_width) for width in WIDTHS]
        down = [_block(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False)) for a, b in pairwise(widths)]
        up = [
            _block(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1, bias=False))
            for a, b in pairwise(reversed(widths))
        ]
        network = nn.Sequential(
            _block(nn.Conv2d(3, widths[0], 9, padding=4, bias=False)),
            *down,
            *(_Residual(widths[-1]) for _ in range(RESIDUAL_BLOCKS)),
            *up,
            nn.Conv2d(widths[0], 3, 9, padding=4),
            nn.Tanh(),
        )
        super().__init__(config, network, multiple=4)


class _Residual(nn.Module):
    """Two convolutions of the same width, and what went in; no activation after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.branch = nn.Sequential(_block(first), second, nn.InstanceNorm2d(width, affine=True))

    def forward(self, x: Tensor) -> Tensor:
        """Features [b c h w] -> the same shape."""
        branch: Tensor = self.branch(x)
        return x + branch


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(convolution.out_channels, affine=True), nn.ReLU(inplace=True))
