"""The rows "downsample-2x" and "downsample-4x": fewer pixels, shown at the old size."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from stprivacy.anonymized import Anonymized
from stprivacy.anonymizers.identity import whole
from stprivacy.anonymizers.options import ResizeMode
from stprivacy.config import ClipConfig
from stprivacy.noise import Noise


class Downsample(nn.Module):
    """Every frame at 1 / `factor` of its height and width, rounded down, and back up to the input size.

    By default both ways bilinear, as `torch.nn.functional.interpolate` has it: without antialiasing.
    """

    def __init__(self, clip: ClipConfig, factor: int, mode: ResizeMode = "bilinear") -> None:
        super().__init__()
        self.clip, self.factor, self.mode = clip, factor, mode

    def forward(
        self, video: Tensor, keep_ratio: float | None = None, noise: Noise = Noise(), person: Tensor | None = None
    ) -> Anonymized:
        """Video [b c t h w] -> the same size, every tubelet kept; the other arguments change nothing."""
        height, width = video.shape[-2:]
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        small = F.interpolate(frames, (max(height // self.factor, 1), max(width // self.factor, 1)), mode=self.mode)
        frames = F.interpolate(small, (height, width), mode=self.mode)
        return whole(rearrange(frames, "(b t) c h w -> b c t h w", b=len(video)), self.clip)
